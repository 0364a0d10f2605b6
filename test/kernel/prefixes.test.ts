import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '../../src/protocol/bytes.js';
import { Flag } from '../../src/protocol/opcode.js';
import { Kernel, replay } from './fixture.js';

/** Families of names as they come mixed, some of whose prefixes begin with others'. */
const FAMILIES = [
  'views:page:',
  'views:',
  'likes:post:',
  'ein sehr langes Präfix, das länger ist als alles was geteilt wird: ',
];
const COUNT = 6_000;

const nameOf = (number: number): string => `${FAMILIES[number % 4]}${((number * 7_919) % 100_003).toString(36)}`;

function add(kernel: Kernel, from: number, to: number): void {
  for (let at = from; at < to; at += 500) {
    const operations = Array.from({ length: Math.min(500, to - at) }, (_, i) => ({
      key: { name: nameOf(at + i) },
      delta: BigInt(at + i),
    }));
    expect(kernel.add({ operations }).answer?.refused).toEqual([]);
  }
}

function filled(): Kernel {
  const kernel = new Kernel();
  kernel.watched = false;
  add(kernel, 0, COUNT);
  return kernel;
}

function listed(kernel: Kernel, prefix: string): Map<string, bigint> {
  const found = new Map<string, bigint>();
  let cursor = 0;
  do {
    const { answer } = kernel.list({ prefix: encodeUtf8(prefix), cursor, limit: 1_000 });
    for (const { name, value } of answer?.counters ?? []) found.set(name, value);
    cursor = answer?.cursor ?? 0;
  } while (cursor > 0);
  return found;
}

const expected = (prefix: string, numbers = Array.from({ length: COUNT }, (_, i) => i)) =>
  new Map(numbers.filter((i) => nameOf(i).startsWith(prefix)).map((i) => [nameOf(i), BigInt(i)]));

describe('What many names begin with', () => {
  test('is kept once', () => {
    const bytesOf = (name: (number: number) => string) => {
      const kernel = new Kernel();
      kernel.watched = false;
      const names = Array.from({ length: 40_000 }, (_, i) => ({ key: { name: name(i) }, delta: 1n }));
      for (let at = 0; at < names.length; at += 5_000) kernel.add({ operations: names.slice(at, at + 5_000) });
      return kernel.partition.statistics.memoryBytes / names.length;
    };
    const name = (i: number) => `views:page:${((i * 7_919) % 100_003).toString(36).padStart(9, '0')}`;
    const [shared, unlike] = [bytesOf(name), bytesOf((i) => [...name(i)].reverse().join(''))] as const;
    expect(unlike - shared).toBeGreaterThan(6);
  });

  test('is part of the name wherever that is looked for, read, listed and taken away', () => {
    const kernel = filled();
    for (const prefix of [
      '',
      'v',
      'views:',
      'views:pa',
      'views:page:',
      'views:page:1',
      'likes:post:zz',
      FAMILIES[3] as string,
    ])
      expect(listed(kernel, prefix)).toEqual(expected(prefix));
    expect(kernel.value('views:page:')).toBeUndefined();
    kernel.step('views:page:', 5n);
    kernel.step('views:', 6n);
    expect([kernel.value('views:page:'), kernel.value('views:')]).toEqual([5n, 6n]);
    expect(listed(kernel, 'views:')).toEqual(new Map([...expected('views:'), ['views:page:', 5n], ['views:', 6n]]));
    for (const name of ['views:page:', 'views:']) kernel.remove(name);

    const left = Array.from({ length: COUNT }, (_, i) => i).filter((i) => i % 3 > 0);
    for (let i = 0; i < COUNT; i += 3) kernel.remove(nameOf(i));
    expect(listed(kernel, '')).toEqual(expected('', left));
    const { memoryBytes } = kernel.partition.statistics;
    for (let i = 0; i < COUNT; i += 3) kernel.step(nameOf(i), BigInt(i));
    expect(listed(kernel, '')).toEqual(expected(''));
    expect(kernel.partition.statistics.memoryBytes).toBeLessThanOrEqual(memoryBytes + 65_536);
  });

  test('tells names apart of which all else is the same, the place in the index too', () => {
    const kernel = new Kernel();
    for (let i = 0; i < 1_000; i++) kernel.step(`views:page:${i.toString(36)}`, 1n);
    // Found by search: under the secret of these tests the hashes agree in the lowest 28 bits, and so in bucket and tag.
    for (const rest of ['0130475470', '0248444835']) {
      kernel.step(`views:page:${rest}`, 1n);
      expect(kernel.value(`likes:post:${rest}`)).toBeUndefined();
      kernel.step(`likes:post:${rest}`, 2n);
      expect([kernel.value(`views:page:${rest}`), kernel.value(`likes:post:${rest}`)]).toEqual([1n, 2n]);
    }
  });

  test('is found out in replay as it was, and goes with the state', () => {
    const kernel = filled();
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });

  test('leaves a refused batch without a trace, but for that it was one', () => {
    const [tried, untouched] = [filled(), filled()];
    const operations = Array.from({ length: 3 }, (_, i) => ({ key: { name: nameOf(COUNT + i) }, delta: 1n }));
    const failing = { key: { name: nameOf(0) }, delta: 1n, max: 0n };
    tried.add({ operations: [...operations, failing] }, Flag.ATOMIC);
    untouched.add({ operations: [failing] }, Flag.ATOMIC);
    for (const kernel of [tried, untouched]) add(kernel, COUNT, COUNT + 1_000);
    expect(Buffer.compare(tried.partition.state.subarray(0x1000), untouched.partition.state.subarray(0x1000))).toBe(0);
  });

  test('is not looked for behind the memory: a name whose record ends where that does is found', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    // So long that 321 records of 204 bytes fill a page up to 44 bytes: fewer than are kept once.
    const BYTES = 258;
    const begin = 'so many bytes of it are kept once, and the record is shorter than the name by as many: ';
    const names = Array.from({ length: 40_000 }, (_, i) => `${begin}${i}`.padEnd(BYTES, '.'));
    for (const [i, name] of names.entries()) {
      kernel.step(name, BigInt(i));
      // Looked up as soon as it is the last one, as the memory ends behind it only then.
      expect(kernel.value(name)).toBe(BigInt(i));
    }
  });
});
