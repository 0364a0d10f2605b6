import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { UNCHANGED } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { partitionOf } from '../../src/protocol/partition-hash.js';
import type { Extension } from '../../src/protocol/request.js';
import { configuration, idOf, Kernel, NOBODY, START } from './fixture.js';

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;
const utf8 = (text: string) => new TextEncoder().encode(text);

/** The body of an ADD of 1 to each of these names, which need not be names. */
function addRaw(names: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter();
  writer.varint(names.length);
  for (const name of names) {
    writer.varint(name.length * 4);
    writer.bytes(name);
    writer.zigzag(1);
  }
  return writer.copy();
}

const addBytes = (kernel: Kernel, ...names: Uint8Array[]) => kernel.call(Opcode.ADD, 0, NOBODY, START, addRaw(names));

/** A number below 128 as a varint of so many bytes: a form that is not the shortest is legal. */
function padded(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => (i === 0 ? value : 0) | (i < bytes - 1 ? 0x80 : 0));
}

describe('A step', () => {
  test('goes to the ends of 64 bits and not past them, either way', () => {
    const kernel = new Kernel();
    const steps: [name: string, delta: bigint, status: number, value: bigint][] = [
      ['up', MAX, OK, MAX],
      ['up', 1n, ERRORS.OVERFLOW.status, MAX],
      ['up', MAX, ERRORS.OVERFLOW.status, MAX],
      ['up', MIN, OK, -1n],
      ['up', MIN, ERRORS.OVERFLOW.status, -1n],
      ['down', MIN, OK, MIN],
      ['down', -1n, ERRORS.OVERFLOW.status, MIN],
      ['down', MIN, ERRORS.OVERFLOW.status, MIN],
      ['down', 0n, OK, MIN],
      ['down', MAX, OK, -1n],
    ];
    for (const [name, delta, status, value] of steps) expect(kernel.step(name, delta)).toEqual({ status, value });
    // also where nobody asks for values
    const last: [name: string, delta: bigint][] = [
      ['up', MAX],
      ['up', 2n],
      ['down', MIN],
    ];
    const { answer } = kernel.add({ operations: last.map(([name, delta]) => ({ key: { name }, delta })) });
    expect(answer?.refused).toEqual([1, 2].map((index) => ({ index, status: ERRORS.OVERFLOW.status })));
    expect([kernel.value('up'), kernel.value('down')]).toEqual([MAX - 1n, -1n]);
  });

  test('is found by a head and a generation of every length that a varint may have', () => {
    const kernel = new Kernel();
    const [opened] = kernel.open(['it']).answer ?? [];
    const slot = (opened as { slot: number }).slot;
    let value = 0n;
    for (let bytes = 1; bytes <= 10; bytes++) {
      const byName = [1, ...padded(2 << 2, bytes), ...Buffer.from('it'), 2];
      const byId = [1, ...padded((slot << 2) | 1, bytes), ...padded(0, bytes), 2];
      for (const body of [byName, byId]) {
        expect(kernel.call(Opcode.ADD, 0, NOBODY, START, Uint8Array.from(body)), `${bytes} bytes`).toBe(OK);
        expect(kernel.value('it')).toBe(++value);
      }
    }
  });

  test('is found by an id whose head takes several bytes', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    const names = Array.from({ length: 5_000 }, (_, i) => `n${i}`);
    const ids = kernel.open(names).answer ?? [];
    for (const i of [0, 31, 32, 4_095, 4_096, 4_999]) {
      const { slot, generation } = ids[i] as { slot: number; generation: number };
      expect(slot).toBe(i);
      // The first step makes it exist, from which on steps by id alone take another way
      for (const value of [7n, 14n]) {
        expect(kernel.add({ operations: [{ key: { slot, generation }, delta: 7n }] }).answer?.refused).toEqual([]);
        expect(kernel.value(names[i] as string)).toBe(value);
      }
    }
  });

  test('stays within the bounds that it was given, both included', () => {
    const kernel = new Kernel();
    const outside = ERRORS.OUT_OF_BOUNDS.status;
    const steps: [delta: bigint, bounds: Extension, status: number, value: bigint][] = [
      [-1n, { min: 0n }, outside, 0n],
      [10n, { max: 9n }, outside, 0n],
      [10n, { max: 10n }, OK, 10n],
      [-10n, { min: 0n, max: 10n }, OK, 0n],
      [1n, { min: 5n }, outside, 0n],
      [1n, { min: 5n, max: -5n }, outside, 0n],
      [-7n, { min: -7n, max: -7n }, OK, -7n],
      [MAX, { min: MIN, max: MAX }, OK, MAX - 7n],
      [MAX, { min: MIN, max: MAX }, ERRORS.OVERFLOW.status, MAX - 7n],
    ];
    for (const [delta, bounds, status, value] of steps)
      expect(kernel.step('stock', delta, bounds)).toEqual({ status, value });
  });

  test('of an absent counter that is refused leaves it absent, and no name behind', () => {
    const kernel = new Kernel();
    expect(kernel.step('stock', -1n, { min: 0n }).status).toBe(ERRORS.OUT_OF_BOUNDS.status);
    expect(kernel.get([{ name: 'stock' }]).answer).toEqual([{ status: ABSENT }]);
    expect(kernel.partition.statistics).toMatchObject({ names: 0, counters: 0, applied: 0, refused: 1, sequence: 2 });
  });

  test('of zero makes the counter exist', () => {
    const kernel = new Kernel();
    expect(kernel.step('seen', 0n)).toEqual({ status: OK, value: 0n });
    expect(kernel.value('seen')).toBe(0n);
  });

  test('sees what the steps before it in the batch did', () => {
    const kernel = new Kernel();
    const operations = [5n, -3n, 10n].map((delta) => ({ key: { name: 'a' }, delta, min: 0n }));
    expect(kernel.add({ operations }, Flag.VALUES).answer).toEqual({ refused: [], values: [5n, 2n, 12n] });
    expect(kernel.partition.statistics).toMatchObject({ names: 1, counters: 1, applied: 3 });
  });

  test('by an id that was never given, or of another generation, is refused alone', () => {
    const kernel = new Kernel();
    expect(kernel.open(['a']).answer).toEqual([{ status: OK, slot: 0, generation: 0 }]);
    const keys = [
      { slot: 0, generation: 0 },
      { slot: 0, generation: 1 },
      { slot: 1, generation: 0 },
      { slot: 2 ** 32 - 1, generation: 2 ** 32 - 1 },
      { slot: 0, generation: 65_536 },
    ];
    const { answer } = kernel.add({ operations: keys.map((key) => ({ key, delta: 1n })) }, Flag.VALUES);
    const refused = [1, 2, 3, 4].map((index) => ({ index, status: ERRORS.ID_UNKNOWN.status }));
    expect(answer).toEqual({ refused, values: [1n, 0n, 0n, 0n, 0n] });
    const unknown = { status: ERRORS.ID_UNKNOWN.status };
    expect(kernel.get(keys).answer).toEqual([{ status: OK, value: 1n }, unknown, unknown, unknown, unknown]);
  });
});

describe('An atomic batch', () => {
  test('is applied whole or not at all', () => {
    const kernel = new Kernel();
    kernel.step('stock', 3n);
    const take = (delta: bigint) => [
      { key: { name: 'sold' }, delta: -delta },
      { key: { name: 'stock' }, delta, min: 0n },
      { key: { name: 'log' }, delta: 1n },
    ];
    expect(kernel.add({ operations: take(-2n) }, Flag.ATOMIC | Flag.VALUES).answer).toEqual({
      refused: [],
      values: [2n, 1n, 1n],
    });
    expect(kernel.add({ operations: take(-2n) }, Flag.ATOMIC | Flag.VALUES).answer).toEqual({
      refused: [
        { index: 0, status: ERRORS.ATOMIC_ABORTED.status },
        { index: 1, status: ERRORS.OUT_OF_BOUNDS.status },
        { index: 2, status: ERRORS.ATOMIC_ABORTED.status },
      ],
      values: [2n, 1n, 1n],
    });
    expect(['sold', 'stock', 'log'].map((name) => kernel.value(name))).toEqual([2n, 1n, 1n]);
  });

  test('takes back several steps of one counter in the right order, through both ends of 64 bits', () => {
    const kernel = new Kernel();
    kernel.step('a', 7n);
    const deltas = [MAX - 7n, MIN, 1n, MAX, 1n, 0n];
    const { answer } = kernel.add({ operations: deltas.map((delta) => ({ key: { name: 'a' }, delta })) }, Flag.ATOMIC);
    expect(answer?.refused[4]).toEqual({ index: 4, status: ERRORS.OVERFLOW.status });
    expect(kernel.value('a')).toBe(7n);
  });

  test('that is refused leaves counters that were only opened absent, and new names unknown', () => {
    const kernel = new Kernel();
    kernel.open(['opened']);
    const operations = ['opened', 'fresh', 'opened', 'fresh'].map((name) => ({ key: { name }, delta: 1n, max: 1n }));
    expect(kernel.add({ operations }, Flag.ATOMIC).answer?.refused.length).toBe(4);
    expect(kernel.get([{ name: 'opened' }, { name: 'fresh' }]).answer).toEqual([
      { status: ABSENT },
      { status: ABSENT },
    ]);
    expect(kernel.partition.statistics).toMatchObject({ counters: 0, names: 1 });
    expect(kernel.open(['other']).answer).toEqual([{ status: OK, slot: 1, generation: 0 }]);
  });
});

describe('SET', () => {
  const set = (kernel: Kernel, value: bigint, expected?: bigint) =>
    kernel.set({ key: { name: 'a' }, value, reason: 'because', ...(expected !== undefined && { expect: expected }) })
      .answer;

  test('answers the value before, and reports the delta that it caused', () => {
    const kernel = new Kernel();
    expect(set(kernel, 5n)).toEqual({ status: OK, previous: 0n });
    expect(kernel.partition.effect).toBe(5n);
    expect(set(kernel, -5n)).toEqual({ status: OK, previous: 5n });
    expect(kernel.partition.effect).toBe(-10n);
    expect(kernel.value('a')).toBe(-5n);
  });

  test('reports a delta beyond 64 bits modulo 2^64, which leads from the old value to the new one all the same', () => {
    const kernel = new Kernel();
    set(kernel, MIN);
    set(kernel, MAX);
    expect(kernel.partition.effect).toBe(-1n);
    expect(BigInt.asIntN(64, MIN + kernel.partition.effect)).toBe(MAX);
  });

  test('with `expect` sets only what has that value, absent being 0', () => {
    const kernel = new Kernel();
    expect(set(kernel, 5n, 1n)).toEqual({ status: ERRORS.EXPECTATION_FAILED.status, previous: 0n });
    expect(kernel.partition.effect).toBe(0n);
    expect(kernel.partition.statistics.names).toBe(0);
    expect(set(kernel, 5n, 0n)).toEqual({ status: OK, previous: 0n });
    expect(set(kernel, 6n, 4n)).toEqual({ status: ERRORS.EXPECTATION_FAILED.status, previous: 5n });
    expect(set(kernel, 6n, 5n)).toEqual({ status: OK, previous: 5n });
    expect(kernel.value('a')).toBe(6n);
  });

  test('says what the expectation came to also where there is no memory for a new counter', () => {
    const kernel = new Kernel();
    kernel.partition.configure({ ...configuration, maximumPages: 84 }, START);
    kernel.watched = false;
    expect(set(kernel, 5n, 1n)).toEqual({ status: ERRORS.EXPECTATION_FAILED.status, previous: 0n });
    expect(set(kernel, 5n, 0n)).toEqual({ status: ERRORS.MEMORY_FULL.status, previous: 0n });
  });

  test('and DELETE refuse a reason that is empty, too long, no UTF-8, or not the rest of the body', () => {
    const reasons: [length: number, bytes: Uint8Array][] = [
      [0, utf8('')],
      [257, utf8('r'.repeat(257))],
      [2, Uint8Array.of(0xc3, 0x28)],
      [2, utf8('abc')],
      [4, utf8('abc')],
      [2 ** 32 + 3, utf8('abc')],
      [2 ** 56 + 3, utf8('abc')],
    ];
    const statuses = [[3, utf8('abc')] as const, [256, utf8('r'.repeat(256))] as const, ...reasons].map(
      ([length, bytes]) => {
        return [Opcode.SET, Opcode.DELETE].map((kind) => {
          const writer = new ByteWriter();
          writer.varint(4);
          writer.bytes(utf8('a'));
          if (kind === Opcode.SET) writer.zigzag(5);
          writer.varintBig(BigInt(length));
          writer.bytes(bytes);
          return new Kernel().call(kind, 0, NOBODY, START, writer.copy());
        });
      },
    );
    const bad = ERRORS.BAD_REQUEST.status;
    expect(statuses).toEqual([[OK, OK], [OK, OK], ...reasons.map(() => [bad, bad])]);
  });
});

describe('OPEN', () => {
  test('gives each name its id, a repeated one the same, and a second time changes nothing', () => {
    const kernel = new Kernel();
    const ids = [0, 1, 0, 2].map((slot) => ({ status: OK, slot, generation: 0 }));
    expect(kernel.open(['a', 'b', 'a', 'c'])).toEqual({ status: OK, answer: ids });
    expect(kernel.open(['a', 'b', 'a', 'c'])).toEqual({ status: UNCHANGED, answer: ids });
    expect(kernel.open([])).toEqual({ status: UNCHANGED, answer: [] });
  });

  test('leaves the counter absent until something is written', () => {
    const kernel = new Kernel();
    kernel.open(['a']);
    expect(kernel.get([{ slot: 0, generation: 0 }]).answer).toEqual([{ status: ABSENT }]);
    expect(kernel.partition.statistics).toMatchObject({ names: 1, counters: 0 });
  });
});

describe('A name', () => {
  test('has 1 to 1,024 bytes', () => {
    const kernel = new Kernel();
    expect(addBytes(kernel, new Uint8Array())).toBe(ERRORS.NAME_INVALID.status);
    expect(addBytes(kernel, new Uint8Array(1025).fill(97))).toBe(ERRORS.NAME_INVALID.status);
    for (let length = 1; length <= 1024; length++) {
      expect(addBytes(kernel, new Uint8Array(length).fill(97))).toBe(OK);
      expect(kernel.value('a'.repeat(length))).toBe(1n);
    }
    expect(kernel.partition.statistics.names).toBe(1024);
  });

  test('that differs in any one byte is another name', () => {
    const kernel = new Kernel();
    for (const length of [1, 2, 7, 8, 9, 15, 16, 17, 40]) {
      const names = Array.from({ length }, (_, at) => new Uint8Array(length).fill(97).fill(98, at, at + 1));
      const before = kernel.partition.statistics.names;
      addBytes(kernel, ...names);
      addBytes(kernel, ...names);
      expect(kernel.partition.statistics.names).toBe(before + length);
    }
  });

  test('is UTF-8 without overlong forms, surrogates or anything beyond U+10FFFF', () => {
    const valid = ['é', '€', '𐍈', '\u{10ffff}', '\ud7ff', '\ue000', '\0', '\ufeff'].map(utf8);
    const invalid = [
      [0x80],
      [0xbf, 0x61],
      [0xc3],
      [0xc3, 0x28],
      [0xc0, 0x80],
      [0xc1, 0xbf],
      [0xe2, 0x82],
      [0xe0, 0x9f, 0xbf],
      [0xed, 0xa0, 0x80],
      [0xf0, 0x8f, 0xbf, 0xbf],
      [0xf4, 0x90, 0x80, 0x80],
      [0xf5, 0x80, 0x80, 0x80],
      [0xff],
      [0x61, 0xe2, 0x82, 0x28],
    ].map((bytes) => Uint8Array.from(bytes));
    const kernel = new Kernel();
    expect(valid.map((name) => addBytes(kernel, name))).toEqual(valid.map(() => OK));
    const names = kernel.partition.statistics.names;
    expect(invalid.map((name) => addBytes(kernel, utf8('ok'), name))).toEqual(
      invalid.map(() => ERRORS.NAME_INVALID.status),
    );
    expect(kernel.partition.statistics.names).toBe(names);
  });

  test('of another partition refuses the whole body, in every request', () => {
    const owner = partitionOf(utf8('likes'), 0, 5, 7);
    for (let partition = 0; partition < 7; partition++) {
      const kernel = new Kernel({ partition, partitions: 7 });
      const expected = partition === owner ? OK : ERRORS.WRONG_PARTITION.status;
      const key = { name: 'likes' };
      expect(kernel.get([key]).status).toBe(expected);
      expect(kernel.add({ operations: [{ key, delta: 1n }] }).status).toBe(expected);
      expect(kernel.set({ key, value: 1n, reason: 'r' }).status).toBe(expected);
      expect(kernel.delete({ key, reason: 'r' }).status).toBe(expected);
      kernel.step('likes', 1n);
      expect(kernel.open(['likes']).status).toBe(partition === owner ? UNCHANGED : expected);
    }
  });

  test('with a {tag} lives where the tag does', () => {
    const owner = partitionOf(utf8('post:7'), 0, 6, 16);
    const kernel = new Kernel({ partition: owner, partitions: 16 });
    const names = ['post:7', 'likes{post:7}', 'views{post:7}', '{post:7}{x}', '{post:7', '}{post:7}'];
    const homes = names.map((name) => partitionOf(utf8(name), 0, utf8(name).length, 16) === owner);
    expect(homes).toEqual([true, true, true, true, false, true]);
    const statuses = names.map((name) => kernel.add({ operations: [{ key: { name }, delta: 1n }] }).status);
    expect(statuses).toEqual(homes.map((home) => (home ? OK : ERRORS.WRONG_PARTITION.status)));
  });
});

describe('A body', () => {
  const bad = ERRORS.BAD_REQUEST.status;
  const one = addRaw([utf8('a')]);
  const set = Uint8Array.of(4, 97, 2, 1, 114);
  const remove = Uint8Array.of(6, 97, 2, 1, 114);
  const list = Uint8Array.of(1, 97, 0, 5);

  test('may have 10,000 operations and no more', () => {
    const kernel = new Kernel();
    const operations = Array.from({ length: 10_001 }, (_, i) => ({ key: { name: `${i % 100}` }, delta: 1n }));
    expect(kernel.add({ operations }).status).toBe(ERRORS.TOO_MANY_OPERATIONS.status);
    expect(kernel.add({ operations: operations.slice(1) }, Flag.VALUES).answer?.values.length).toBe(10_000);
    expect(kernel.value('7')).toBe(100n);
  });

  test('that is cut anywhere, or followed by anything, is refused whatever came before it', () => {
    const kernel = new Kernel();
    // what an older body leaves behind must not complete a shorter one, nor decide its status
    const older = [
      new Uint8Array(64),
      new Uint8Array(64).fill(0xff),
      new Uint8Array(64).fill(0x08),
      addRaw([utf8('a'), utf8('b')]),
    ];
    for (const before of older) {
      const cuts: [body: Uint8Array, call: (cut: Uint8Array) => number][] = [
        [one, (cut) => kernel.call(Opcode.ADD, 0, NOBODY, START, cut)],
        [set, (cut) => kernel.call(Opcode.SET, 0, NOBODY, START, cut)],
        [remove, (cut) => kernel.call(Opcode.DELETE, 0, NOBODY, START, cut)],
        [list, (cut) => kernel.partition.list(cut)],
        [one.subarray(0, 3), (cut) => kernel.call(Opcode.OPEN, 0, NOBODY, START, cut)],
        [one.subarray(0, 3), (cut) => kernel.partition.read(cut)],
      ];
      for (const [body, call] of cuts) {
        for (let length = 0; length < body.length; length++) {
          kernel.call(Opcode.ADD, 0, NOBODY, START, before);
          expect(call(body.subarray(0, length))).toBe(bad);
        }
        expect([OK, UNCHANGED]).toContain(call(body));
      }
    }
    expect(kernel.call(Opcode.ADD, 0, NOBODY, START, Uint8Array.of(...one, 0))).toBe(bad);
  });

  test('may have its numbers in longer forms than the shortest', () => {
    const long = (value: number, bytes: number) => [value | 0x80, ...new Array<number>(bytes - 2).fill(0x80), 0];
    for (let bytes = 2; bytes <= 10; bytes++) {
      const kernel = new Kernel();
      const body = Uint8Array.from([...long(1, bytes), ...long(4, bytes), 97, ...long(2, bytes)]);
      expect(kernel.call(Opcode.ADD, 0, NOBODY, START, body)).toBe(OK);
      expect(kernel.value('a')).toBe(1n);
      const byId = Uint8Array.from([...long(1, bytes), ...long(1, bytes), ...long(0, bytes), ...long(4, bytes)]);
      expect(kernel.call(Opcode.ADD, 0, NOBODY, START, byId)).toBe(OK);
      expect(kernel.value('a')).toBe(3n);
    }
    const kernel = new Kernel();
    for (const count of [
      long(1, 11),
      [0x81, ...new Array<number>(8).fill(0x80), 2],
      [...new Array<number>(9).fill(0xff), 1],
    ]) {
      expect(kernel.call(Opcode.ADD, 0, NOBODY, START, Uint8Array.from([...count, 4, 97, 2]))).toBe(bad);
    }
  });

  test('with unknown fields, an extended key where it means nothing, or an id in OPEN is refused', () => {
    const kernel = new Kernel();
    const extended = (fields: number, ...rest: number[]) => Uint8Array.of(1, 6, 97, 2, fields, ...rest);
    expect(kernel.call(Opcode.ADD, 0, NOBODY, START, extended(0))).toBe(OK);
    expect(kernel.call(Opcode.ADD, 0, NOBODY, START, extended(3, 0, 20))).toBe(OK);
    for (const fields of [8, 16, 0x80, 0xff]) {
      expect(kernel.call(Opcode.ADD, 0, NOBODY, START, extended(fields, ...idOf(1)))).toBe(bad);
    }
    expect(kernel.call(Opcode.ADD, 0, NOBODY, START, extended(4, ...idOf(1).subarray(1)))).toBe(bad);
    expect(kernel.partition.read(Uint8Array.of(1, 6, 97))).toBe(bad);
    expect(kernel.call(Opcode.OPEN, 0, NOBODY, START, Uint8Array.of(1, 1, 0))).toBe(bad);
  });

  test('of a kind that does not exist is UNKNOWN_OPCODE', () => {
    for (const kind of [0, 1, 2, 5, 7, 8, 10, 63, 72, 255, 2 ** 32 - 1]) {
      expect(new Kernel().call(kind, 0, NOBODY, START, one)).toBe(ERRORS.UNKNOWN_OPCODE.status);
    }
  });
});
