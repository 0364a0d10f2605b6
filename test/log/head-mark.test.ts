import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HeadMarkFile } from '../../src/log/head-mark.js';
import type { Mark } from '../../src/log/log.js';
import { temporaryDirectory } from './homes.js';
import { NO_MARK, SHAPE } from './writer.js';

const SLOT_BYTES = 4_096;
/** A mark of three partitions. */
const MARK_BYTES = 24 + 3 * 18;

function markOf(group: number): Mark {
  const heads = SHAPE.partitions.map((partition, index) => {
    return [partition, { sequence: 2 ** 40 + group * index, hash: 2n ** 63n + BigInt(group) }] as const;
  });
  return { group, heads: new Map(heads) };
}

describe('HeadMarkFile', () => {
  let directory: string;
  let path: string;

  beforeEach(() => {
    directory = temporaryDirectory();
    path = join(directory, 'head-mark');
    HeadMarkFile.create(path, SHAPE.partitions);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const read = () => {
    const mark = HeadMarkFile.open(path, SHAPE.partitions);
    mark.close();
    return mark.read();
  };
  const write = (...groups: number[]) => {
    const mark = HeadMarkFile.open(path, SHAPE.partitions);
    for (const group of groups) mark.write(markOf(group));
    mark.close();
  };

  test('is empty at first', () => {
    expect(read()).toEqual(NO_MARK);
  });

  test('has the last mark that was written', () => {
    write(1);
    expect(read()).toEqual(markOf(1));
    write(2, 3, 4);
    expect(read()).toEqual(markOf(4));
    write(5);
    expect(read()).toEqual(markOf(5));
  });

  test('a write that was torn at any byte leaves the mark before it, or the new one', () => {
    write(1, 2, 3);
    const before = readFileSync(path);
    write(4);
    const after = readFileSync(path);
    const changed = [...after.keys()].filter((at) => after[at] !== before[at]);
    const first = changed[0] ?? 0;
    expect(changed.every((at) => Math.floor(at / SLOT_BYTES) === Math.floor(first / SLOT_BYTES))).toBe(true);
    const start = first - (first % SLOT_BYTES);
    for (let torn = 0; torn <= MARK_BYTES; torn++) {
      writeFileSync(path, Buffer.concat([after.subarray(0, start + torn), before.subarray(start + torn)]));
      expect([3, 4]).toContain(read().group);
      expect(read()).toEqual(markOf(read().group));
    }
    expect(read().group).toBe(4);
  });

  test('a flipped bit in the newer slot leaves the older mark; in both it is LOG_CORRUPT', () => {
    write(1, 2);
    const bytes = readFileSync(path);
    const flip = (at: number) => {
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    };
    for (let at = 0; at < MARK_BYTES; at++) {
      flip(at);
      flip(SLOT_BYTES + at);
      expect(read, `byte ${at}`).toThrow(/LOG_CORRUPT/);
      flip(at);
      const first = read().group;
      flip(at);
      flip(SLOT_BYTES + at);
      expect([first, read().group].sort()).toEqual([1, 2]);
      flip(at);
    }
  });

  test('a file of another length, or of other partitions, is LOG_CORRUPT', () => {
    expect(() => HeadMarkFile.open(path, [2, 3])).toThrow(/LOG_CORRUPT/);
    expect(() => HeadMarkFile.open(path, [2, 3, 6])).toThrow(/LOG_CORRUPT/);
    writeFileSync(path, readFileSync(path).subarray(0, -1));
    expect(read).toThrow(/LOG_CORRUPT/);
  });

  test('holds as many partitions as a lane may have', () => {
    const partitions = Array.from({ length: 1_000 }, (_, partition) => partition);
    HeadMarkFile.create(path, partitions);
    const mark = HeadMarkFile.open(path, partitions);
    const heads = new Map(partitions.map((partition) => [partition, { sequence: partition, hash: 1n }]));
    mark.write({ group: 1, heads });
    mark.close();
    const again = HeadMarkFile.open(path, partitions);
    expect(again.read()).toEqual({ group: 1, heads });
    again.close();
  });
});
