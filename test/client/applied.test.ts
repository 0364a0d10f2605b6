import { describe, expect, it } from 'vitest';
import { Opcode } from '../../src/protocol/opcode.js';
import { Harness, once } from '../support/client-harness.js';
import type { SeenRequest } from '../support/model-server.js';

const isAdd = ({ opcode }: SeenRequest) => opcode === Opcode.ADD;

async function connected() {
  const world = new Harness({ lanes: 1, partitions: 1 });
  const client = await world.connect({ ack: 'applied' });
  const sequences = () => world.server.seen.filter(isAdd).map((request) => request.sequence?.sequence);
  const syncs = () => world.server.seen.filter(({ opcode }) => opcode === Opcode.SYNC).length;
  return { world, client, sequences, syncs };
}

describe("ack: 'applied'", () => {
  it('answers before the flush, and a crash loses nothing all the same', async () => {
    const { world, client, sequences } = await connected();
    world.server.holdsFlushes = true;
    for (const delta of [1, 2, 4]) await world.until(client.increment('x', delta));
    world.server.crash();
    expect(world.server.values.get('x')).toBeUndefined();
    world.server.start();
    await world.advance(1000, 10);
    expect(world.server.values.get('x')).toBe(7n);
    expect(sequences()).toEqual([1, 2, 3, 1, 2, 3]);
    world.server.holdsFlushes = false;
    world.server.scheduleFlush();
    await world.until(client.flush());
    expect(world.server.values.get('x')).toBe(7n);
  });

  it('sends again only what the crash lost, and what was not answered, in one order', async () => {
    const { world, client, sequences } = await connected();
    await world.until(client.increment('x', 1));
    await world.settle();
    world.server.holdsFlushes = true;
    await world.until(client.increment('x', 2));
    world.server.script = once(isAdd, { crash: 'after' });
    const last = client.increment('x', 4);
    await world.settle();
    world.server.start();
    expect(await world.until(last)).toBe(7n);
    expect(sequences()).toEqual([1, 2, 3, 2, 3]);
  });

  it('resends nothing where only the connection was lost', async () => {
    const { world, client, sequences } = await connected();
    world.server.holdsFlushes = true;
    await world.until(client.increment('x', 1));
    world.server.dropConnections();
    await world.advance(1000, 10);
    expect(sequences()).toEqual([1]);
    expect(client.statistics.reconnections).toBe(1);
  });

  it('forgets a batch once it is known to be flushed, which it asks for when idle', async () => {
    const { world, client, sequences, syncs } = await connected();
    await world.until(client.increment('x', 1));
    await world.settle();
    expect(syncs()).toBe(1);
    // a server that then lost it would be another server
    world.server.dropConnections();
    await world.advance(1000, 10);
    expect(sequences()).toEqual([1]);
    await world.advance(60_000, 100);
    expect(syncs()).toBe(1);
  });

  it('learns from any answer what is flushed', async () => {
    const { world, client, syncs } = await connected();
    world.server.holdsFlushes = true;
    const durable = client.increment('x', 1, { ack: 'durable' });
    await world.until(client.increment('x', 1));
    world.server.holdsFlushes = false;
    world.server.flush();
    expect(await world.until(durable)).toBe(1n);
    await world.until(client.flush());
    expect(syncs()).toBe(0);
  });

  it('flush waits until it is durable', async () => {
    const { world, client } = await connected();
    world.server.holdsFlushes = true;
    client.counter('x').add(3);
    let isFlushed = false;
    const flushed = client.flush().then(() => {
      isFlushed = true;
    });
    await world.settle();
    expect(world.server.values.get('x')).toBe(3n);
    expect(isFlushed).toBe(false);
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.until(flushed);
  });

  it('reports to flush what was acknowledged, then undone by a crash, then refused', async () => {
    const { world, client } = await connected();
    await world.until(client.increment('x', 9, { ack: 'durable' }));
    world.server.holdsFlushes = true;
    await world.until(client.increment('x', 1, { max: 10 }));
    world.server.crash();
    for (const partition of world.server.partitions) partition.values.set('x', 10n);
    world.server.start();
    world.server.holdsFlushes = false;
    expect(await world.failure(client.flush())).toMatchObject({
      failed: [{ name: 'x', delta: 1n, code: 'OUT_OF_BOUNDS', outcome: 'refused' }],
    });
    await world.until(client.flush());
  });

  it('takes a server that lost a durable batch for another one', async () => {
    const { world, client } = await connected();
    await world.until(client.increment('x', 1, { ack: 'durable' }));
    await world.until(client.flush());
    const producer = world.server.partitions[0]?.producer(`id ${new Uint8Array(16).fill(1).join()}`);
    if (producer) producer.next = 1;
    world.server.dropConnections();
    expect(await world.failure(client.increment('x'))).toMatchObject({ code: 'PRODUCER_UNKNOWN' });
  });
});
