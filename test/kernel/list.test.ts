import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import { ByteWriter, encodeUtf8 } from '../../src/protocol/bytes.js';
import { Kernel } from './fixture.js';

const EVERYTHING = { prefix: new Uint8Array(), cursor: 0, limit: 2 ** 32 - 1 };

/** Scans to the end; `between` is called between two calls. */
function scan(kernel: Kernel, { prefix = '', limit = 1000 } = {}, between: () => void = () => {}) {
  const counters: { name: string; value: bigint }[] = [];
  let calls = 0;
  for (let cursor = 0; calls === 0 || cursor > 0; calls++) {
    if (calls > 0) between();
    const { answer } = kernel.list({ prefix: encodeUtf8(prefix), cursor, limit });
    if (!answer) throw new Error('LIST is refused.');
    expect(answer.counters.length).toBeLessThanOrEqual(limit);
    expect(cursor === 0 || answer.cursor === 0 || answer.cursor > cursor).toBe(true);
    counters.push(...answer.counters);
    cursor = answer.cursor;
  }
  return { counters, calls };
}

function filled(names: readonly string[]): Kernel {
  const kernel = new Kernel();
  kernel.watched = false;
  for (let at = 0; at < names.length; at += 10_000) {
    const operations = names.slice(at, at + 10_000).map((name, i) => ({ key: { name }, delta: BigInt(at + i) }));
    kernel.add({ operations });
  }
  return kernel;
}

describe('LIST', () => {
  test('shows the counters whose names begin with the prefix, with their values', () => {
    const kernel = filled(['likes:1', 'views:1', 'likes', 'like', 'likes:2', 'Likes:1']);
    const named = (prefix: string) => scan(kernel, { prefix }).counters.map(({ name }) => name);
    expect(named('')).toEqual(['likes:1', 'views:1', 'likes', 'like', 'likes:2', 'Likes:1']);
    expect(named('likes')).toEqual(['likes:1', 'likes', 'likes:2']);
    expect(named('likes:12')).toEqual([]);
    expect(kernel.list({ ...EVERYTHING, prefix: encodeUtf8('v') })).toEqual({
      status: OK,
      answer: { cursor: 0, counters: [{ name: 'views:1', value: 1n }] },
    });
    expect(new Kernel().list(EVERYTHING).answer).toEqual({ cursor: 0, counters: [] });
  });

  test('compares prefixes of any length, which may end within a character', () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '€', '𐍈'), minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.uniqueArray(name, { minLength: 1, maxLength: 20 }), fc.nat(), fc.nat(40), (names, at, length) => {
        const prefix = encodeUtf8(names[at % names.length] as string).subarray(0, length);
        const { answer } = filled(names).list({ ...EVERYTHING, prefix });
        const expected = names.filter((name) => Buffer.from(name).indexOf(prefix) === 0);
        expect(answer?.counters.map(({ name }) => name)).toEqual(expected);
      }),
    );
  });

  test('leaves out what was only opened, what was refused and what was deleted', () => {
    const kernel = filled(['a', 'b']);
    kernel.open(['opened']);
    kernel.step('refused', -1n, { min: 0n });
    kernel.remove('a');
    kernel.step('zero', 0n);
    expect(scan(kernel).counters).toEqual([
      { name: 'zero', value: 0n },
      { name: 'b', value: 1n },
    ]);
  });

  test('looks at 4,096 slots at most in a call, and goes on where it stopped', () => {
    const kernel = filled(Array.from({ length: 10_000 }, (_, i) => `n${i}`));
    const at = (cursor: number) => kernel.list({ prefix: encodeUtf8('n9'), cursor, limit: 2000 }).answer;
    expect(kernel.list({ ...EVERYTHING, prefix: encodeUtf8('x') }).answer).toEqual({ cursor: 4096, counters: [] });
    expect(at(4096)?.cursor).toBe(8192);
    expect(at(8192)).toMatchObject({ cursor: 0, counters: { length: 1000 } });
    for (const cursor of [10_000, 10_001, 2 ** 32 - 1]) {
      expect(at(cursor)).toEqual({ cursor: 0, counters: [] });
    }
  });

  test('tells no more names than its limit or 1,024, and 32 KiB at most, but always one', () => {
    const short = filled(Array.from({ length: 3000 }, (_, i) => `${i}`));
    expect(short.list({ ...EVERYTHING, limit: 7 }).answer).toMatchObject({ cursor: 7, counters: { length: 7 } });
    expect(short.list(EVERYTHING).answer).toMatchObject({ cursor: 1024, counters: { length: 1024 } });
    const long = filled(Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(1024, 'x')));
    long.list(EVERYTHING);
    expect(long.partition.answer.length).toBeLessThanOrEqual(32_768 + 10);
    expect(long.partition.answer.length).toBeGreaterThan(30_000);
    expect(scan(long, { limit: 50 }).counters.length).toBe(100);
  });

  test('without a limit, with a prefix longer than a name, numbers beyond 32 bits, or with anything behind it is refused', () => {
    const kernel = new Kernel();
    const body = (prefix: number, ...rest: number[]) => {
      const writer = new ByteWriter();
      writer.varint(prefix);
      writer.bytes(new Uint8Array(prefix).fill(97));
      for (const number of rest) writer.varint(number);
      return writer.copy();
    };
    expect(kernel.partition.list(body(1024, 0, 1))).toBe(OK);
    for (const bad of [
      body(1025, 0, 1),
      body(1, 0, 0),
      body(1, 0),
      body(1, 0, 1, 0),
      body(1, 2 ** 32, 1),
      body(1, 0, 2 ** 32),
      new Uint8Array(),
    ]) {
      expect(kernel.partition.list(bad)).toBe(ERRORS.BAD_REQUEST.status);
      expect(kernel.partition.answer.length).toBe(0);
    }
  });

  test('through a whole scan shows a counter that lives through it once, whatever comes and goes meanwhile', () => {
    const change = fc.record({ number: fc.nat(39), deletes: fc.boolean() });
    const changes = fc.array(fc.array(change, { maxLength: 6 }), { minLength: 20, maxLength: 20 });
    fc.assert(
      fc.property(changes, fc.integer({ min: 1, max: 4 }), (rounds, limit) => {
        const kernel = filled(Array.from({ length: 40 }, (_, i) => `n${i}`));
        for (const i of [3, 4, 20, 21]) kernel.remove(`n${i}`);
        const alive = new Set(scan(kernel).counters.map(({ name }) => name));
        const livedThrough = new Set(alive);
        const everAlive = new Set(alive);
        const turns = rounds[Symbol.iterator]();
        const { counters } = scan(kernel, { limit }, () => {
          for (const { number, deletes } of turns.next().value ?? []) {
            if (deletes) kernel.remove(`n${number}`);
            else kernel.step(`n${number}`, 100n);
            if (deletes) livedThrough.delete(`n${number}`);
            else everAlive.add(`n${number}`);
          }
        });
        const times = new Map<string, number>();
        for (const { name } of counters) times.set(name, (times.get(name) ?? 0) + 1);
        for (const name of livedThrough) expect([name, times.get(name)]).toEqual([name, 1]);
        for (const name of times.keys()) expect(everAlive.has(name)).toBe(true);
      }),
    );
  });
});
