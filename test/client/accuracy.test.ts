import { expect, it } from 'vitest';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { Harness } from '../support/client-harness.js';

const ACCURACY = [
  { pattern: 'views:about', accuracy: 'exact' },
  { pattern: 'views:*', accuracy: 'relaxed' },
  { pattern: 'stock:*', accuracy: 'strict' },
] as const;

/** For each increment of these names whether it asks to be answered from memory. */
async function askedApplied(ack: 'durable' | 'applied' | undefined, ownAck?: 'durable' | 'applied') {
  const world = new Harness({ lanes: 1, partitions: 1 });
  world.server.accuracy = ACCURACY;
  const client = await world.connect(ack ? { ack } : {});
  const names = ['views:/', 'views:about', 'stock:1', 'other'];
  const asked: boolean[] = [];
  for (const name of names) {
    await world.until(client.increment(name, 1, ownAck ? { ack: ownAck } : {}));
    const last = world.server.seen.findLast(({ opcode }) => opcode === Opcode.ADD);
    asked.push(((last?.flags ?? 0) & Flag.APPLIED) !== 0);
  }
  return asked;
}

it('a relaxed name is answered from memory unless the caller or the client says otherwise; a strict one never', async () => {
  expect(await askedApplied(undefined)).toEqual([true, false, false, false]);
  expect(await askedApplied('durable')).toEqual([false, false, false, false]);
  expect(await askedApplied('applied')).toEqual([true, true, false, true]);
  expect(await askedApplied(undefined, 'applied')).toEqual([true, true, false, true]);
  expect(await askedApplied(undefined, 'durable')).toEqual([false, false, false, false]);
});

it('items that are seen or counted once ask as increments of their names do', async () => {
  const world = new Harness({ lanes: 1, partitions: 1 });
  world.server.accuracy = ACCURACY;
  const client = await world.connect();
  world.server.script = ({ opcode }) =>
    opcode === Opcode.SEE || opcode === Opcode.ONCE ? { refuse: 'NOT_TRACKED' } : undefined;
  const asked = async (opcode: number, name: string, call: Promise<unknown>) => {
    await world.until(call.catch(() => {}));
    const flags = world.server.seen.findLast((request) => request.opcode === opcode)?.flags ?? 0;
    return [name, (flags & Flag.APPLIED) !== 0];
  };
  for (const [name, applied] of [
    ['views:/', true],
    ['views:about', false],
    ['stock:1', false],
  ] as const) {
    expect(await asked(Opcode.SEE, name, client.see(name, 'x'))).toEqual([name, applied]);
    expect(await asked(Opcode.ONCE, name, client.incrementOnce(name, 'x'))).toEqual([name, applied]);
  }
});

it('a batch of names of each asks for each as is right for it', async () => {
  const world = new Harness({ lanes: 1, partitions: 1 });
  world.server.accuracy = ACCURACY;
  const client = await world.connect();
  const operations = ['stock:1', 'views:/', 'stock:2'].map((name) => ({ name }));
  expect(await world.until(client.batch(operations))).toMatchObject(operations);
  const flags = world.server.seen.filter(({ opcode }) => opcode === Opcode.ADD).map((request) => request.flags);
  expect(flags.map((each) => (each & Flag.APPLIED) !== 0)).toEqual([false, true, false]);
});

it('increments of a strict name are not summed up', async () => {
  const world = new Harness({ lanes: 1, partitions: 1 });
  world.server.accuracy = ACCURACY;
  const client = await world.connect();
  expect(() => client.counter('stock:1')).toThrow(/INVALID_ARGUMENT.*strict class/);
  expect(() => client.counters(['views:/', 'stock:1'])).toThrow(/strict class/);
  expect(client.counter('views:/').add(1)).toBe(true);
});
