import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Client } from '../../src/client/client.js';
import type { TallystickError } from '../../src/errors.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { decodeAdd } from '../../src/protocol/request.js';
import { Harness } from '../support/client-harness.js';

/** What is called in one turn, of few names: more than are written together. */
const names = fc.constantFrom('a', 'b', 'c');
const step = fc.integer({ min: -9, max: 9 });
const calls = fc.oneof(
  { weight: 30, arbitrary: fc.record({ kind: fc.constant('increment' as const), name: names, step }) },
  fc.record({ kind: fc.constant('bounded' as const), name: names, step }),
  fc.record({ kind: fc.constant('set' as const), name: names, step }),
  fc.record({ kind: fc.constant('delete' as const), name: names }),
  fc.record({ kind: fc.constant('batch' as const), name: names, step }),
  fc.record({ kind: fc.constant('to' as const), name: names, step }),
  fc.record({ kind: fc.constant('wrong' as const) }),
);
type CallOfTurn = typeof calls extends fc.Arbitrary<infer C> ? C : never;

const codeOf = ({ code }: TallystickError) => code;

async function make(client: Client, call: CallOfTurn): Promise<unknown> {
  if (call.kind === 'wrong') return client.increment('').catch(codeOf);
  const { name } = call;
  if (call.kind === 'increment') return client.increment(name, call.step);
  if (call.kind === 'bounded') return client.increment(name, call.step, { max: 3 }).catch(codeOf);
  if (call.kind === 'set') return (await client.set(name, call.step, { reason: 'test' })).previous;
  if (call.kind === 'delete') return (await client.delete(name, { reason: 'test' })).previous;
  const operations = [
    { name, delta: call.step },
    { name, delta: 1 },
  ];
  if (call.kind === 'batch') return (await client.batch(operations)).map(({ value }) => value);
  return (await client.batchTo(client.partitionOf(name), operations)).map(
    (result) => 'value' in result && result.value,
  );
}

/** The same, one call after the other. */
function expected(values: Map<string, bigint>, call: CallOfTurn): unknown {
  if (call.kind === 'wrong') return 'NAME_INVALID';
  const before = values.get(call.name) ?? 0n;
  if (call.kind === 'delete') {
    values.delete(call.name);
    return before;
  }
  const given = BigInt(call.step);
  if (call.kind === 'bounded' && before + given > 3n) return 'OUT_OF_BOUNDS';
  const more = call.kind === 'batch' || call.kind === 'to' ? 1n : 0n;
  const after = (call.kind === 'set' ? 0n : before) + given + more;
  values.set(call.name, after);
  if (call.kind === 'set') return before;
  return more > 0n ? [after - more, after] : after;
}

describe('increments of one turn', () => {
  it('are applied in the order of all calls of their names', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(calls, { maxLength: 200, size: 'max' }),
        fc.constantFrom(1, 4),
        async (turn, partitions) => {
          const world = new Harness({ lanes: 1, partitions });
          const client = await world.connect();
          const values = new Map<string, bigint>();
          const results = Promise.all(turn.map((call) => make(client, call)));
          expect(await world.until(results)).toEqual(turn.map((call) => expected(values, call)));
          expect(world.server.values).toEqual(values);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('are flushed by what flushes in the same turn, and by the end', async () => {
    const world = new Harness({ lanes: 2, partitions: 4 });
    const client = await world.connect();
    const ends: string[] = [];
    const first = ['a', 'b', 'c'].map((name) => client.increment(name));
    for (const each of first) each.then(() => ends.push('counted'));
    await world.until(client.flush().then(() => ends.push('flushed')));
    expect(ends).toEqual(['counted', 'counted', 'counted', 'flushed']);
    const last = client.increment('last');
    await world.until(client.close());
    expect(await last).toBe(1n);
    expect(await Promise.all(first)).toEqual(first.map(() => 1n));
  });

  it('go out in portions where there are many, and together where there are few', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const client = await world.connect();
    const sizes: number[] = [];
    world.server.script = (request) => {
      if (request.opcode === Opcode.ADD) sizes.push(decodeAdd(request.body, request.flags).operations.length);
      return undefined;
    };
    const call = (count: number) => Promise.all(Array.from({ length: count }, () => client.increment('n')));
    await world.until(call(511));
    expect([sizes.splice(0), world.network.flushes]).toEqual([[511], 0]);
    const values = await world.until(call(1_200));
    // What is beyond two portions waits for an answer
    expect([sizes, world.network.flushes]).toEqual([[512, 512, 176], 2]);
    expect(values).toEqual(Array.from({ length: 1_200 }, (_, i) => BigInt(512 + i)));
  });

  it('fail with the client, whatever part of the turn they were called in', async () => {
    const world = new Harness({ lanes: 1, partitions: 2 });
    const client = await world.connect();
    world.server.script = ({ opcode }) => (opcode === Opcode.ADD ? { refuse: 'PRODUCER_FENCED' } : undefined);
    const fates: string[] = [];
    const call = () =>
      client.increment('n').catch(({ code, outcome }: TallystickError) => fates.push(`${code} ${outcome}`));
    const all = [call()];
    while (fates.length === 0) {
      all.push(call());
      world.clock.settle();
      await Promise.resolve();
      await new Promise(setImmediate);
    }
    all.push(call());
    await world.until(Promise.all(all));
    expect(fates.length).toBe(all.length);
    expect(fates.every((fate) => /^(PRODUCER_FENCED (unknown|refused)|CLOSED refused)$/.test(fate))).toBe(true);
  });
});
