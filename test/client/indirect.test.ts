import { describe, expect, it, vi } from 'vitest';
import { decodeHelloRequest } from '../../src/protocol/control.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { Harness, once } from '../support/client-harness.js';
import type { SeenRequest } from '../support/model-server.js';

const isAdd = ({ opcode }: SeenRequest) => opcode === Opcode.ADD;
const isHello = ({ opcode }: SeenRequest) => opcode === Opcode.HELLO;
const NAMES = Array.from({ length: 30 }, (_, i) => `n${i}`);
const operations = NAMES.map((name) => ({ name }));

function worldOf(lanes = 3): { world: Harness; dialled: () => string[] } {
  const world = new Harness({ lanes, partitions: 2 * lanes });
  const open = vi.spyOn(world.network, 'open');
  return { world, dialled: () => open.mock.calls.map(([{ host, port }]) => `${host}:${port}`) };
}

describe('a client that is not direct', () => {
  it('reaches all partitions over one connection to the address that it was given', async () => {
    const { world, dialled } = worldOf();
    const client = await world.until(world.connecting({ direct: false }, 'tallystick://somewhere:7401'));
    expect(client.partitions).toBe(6);
    await world.until(client.batch(operations));
    const counter = client.counter('n1');
    for (let i = 0; i < 10; i++) counter.add(1);
    await world.until(client.flush());
    const values = await world.until(client.read(NAMES));
    expect(values.map(({ value }) => value)).toEqual(NAMES.map((name) => (name === 'n1' ? 11n : 1n)));
    expect(new Set(world.server.seen.map(({ lane }) => lane))).toEqual(new Set([1]));
    expect(new Set(world.server.seen.filter(isAdd).map(({ partition }) => partition)).size).toBe(6);
    const position = await world.until(client.sync());
    expect(NAMES.every((name) => position.sequenceOf(client.partitionOf(name)) !== undefined)).toBe(true);
    expect((await world.until(client.stats())).map(({ lane }) => lane)).toEqual([0, 1, 2]);
    await world.until(client.close());
    expect(dialled()).toEqual(['somewhere:7401']);
  });

  it('comes back to that address, resumes in all partitions, and counts once what it sends again', async () => {
    const { world, dialled } = worldOf();
    const client = await world.until(world.connecting({ direct: false }, 'tallystick://somewhere:7401'));
    world.server.script = once(isAdd, { drop: 'after' });
    await world.until(client.batch(operations));
    world.server.script = once(isAdd, { crash: 'after' });
    const batch = client.batch(operations);
    await world.settle();
    world.server.start();
    await world.until(batch);
    expect([...world.server.values.values()]).toEqual(NAMES.map(() => 2n));
    expect(client.statistics).toMatchObject({ reconnections: 2 });
    const [first, ...resumed] = world.server.seen.filter(isHello).map(({ body }) => decodeHelloRequest(body));
    expect(first).toMatchObject({ direct: false, producer: {} });
    expect(first?.resume).toBeUndefined();
    expect(resumed.map(({ direct, resume }) => [direct, resume?.map(({ partition }) => partition)])).toEqual(
      [1, 2].map(() => [false, [0, 1, 2, 3, 4, 5]]),
    );
    expect(new Set(dialled())).toEqual(new Set(['somewhere:7401']));
  });

  it('goes on through another address where it has several, whichever lane that is', async () => {
    const { world, dialled } = worldOf();
    const urls = ['model:7400', 'model:7402'];
    const client = await world.until(world.connecting({ direct: false }, urls));
    await world.until(client.increment('a'));
    // from here on the first port is closed
    const { addresses } = world.server;
    world.server.addresses = addresses.map((address, lane) => (lane === 0 ? { ...address, port: 1 } : address));
    world.server.script = once(isAdd, { drop: 'after' });
    expect(await world.until(client.increment('a'))).toBe(2n);
    expect(world.server.seen.filter(isAdd).map(({ lane }) => lane)).toEqual([0, 0, 2]);
    expect(dialled()).toContain('model:7402');
  });

  it('learns what its producer had come to in all partitions', async () => {
    const { world } = worldOf();
    const cursor = Uint8Array.of(7);
    const first = await world.connect({ producer: 'p' });
    for (let partition = 0; partition < 6; partition++) await world.until(first.batchTo(partition, [], { cursor }));
    const second = await world.connect({ producer: 'p', direct: false });
    expect([...second.cursors.keys()].sort()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await world.failure(first.increment('a'))).toMatchObject({ code: 'PRODUCER_FENCED' });
  });
});
