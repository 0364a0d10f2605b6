import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Chain, Group } from '../../src/log/group.js';
import type { Mark } from '../../src/log/log.js';
import { LAST_OF_GROUP, RECORD_PAYLOAD_BYTES, readRecordHeader } from '../../src/log/record.js';
import { SimDisk, SimLog } from './sim-log.js';
import { bodyOf, NO_MARK, replayAll, SHAPE } from './writer.js';

const EMPTY = { ...NO_MARK, records: 0, entries: 0, bytes: 0 };
const HEADER = { kind: 4, flags: 1, producer: 2, incarnation: 3, milliseconds: 1_700_000_000_000 };
const CHUNKS = 18;

const smallGroup = () => new Group(new Chain(SHAPE, EMPTY), 0);

describe('Group', () => {
  test('takes a frame of 1 MiB whatever length was asked for, when it is empty', () => {
    const group = smallGroup();
    expect(group.fits(2, 1_048_576)).toBe(true);
    group.append(2, 1, HEADER, new Uint8Array(1_048_576));
    expect(group.fits(3, 100_000)).toBe(false);
  });

  test('refuses what does not fit, and is as it was', () => {
    const group = smallGroup();
    group.append(2, 1, HEADER, new Uint8Array((CHUNKS - 1) * RECORD_PAYLOAD_BYTES));
    expect(group.fits(3, 0)).toBe(false);
    expect(() => group.append(3, 1, HEADER, new Uint8Array())).toThrow(/OVERLOADED/);
    expect(group.fits(2, RECORD_PAYLOAD_BYTES - 48)).toBe(true);
    expect(group.entries).toBe(1);
    expect(group.seal().records.length).toBe(CHUNKS);
  });

  test('has memory only from its first entry until it is released, and then again', async () => {
    const disk = new SimDisk();
    const group = smallGroup();
    const log = new SimLog(disk, SHAPE, setImmediate);
    expect(group.memoryBytes).toBe(0);
    for (const sequence of [1, 2]) {
      group.append(2, sequence, HEADER, bodyOf(100, sequence));
      expect(group.memoryBytes).toBe(CHUNKS * 65_536);
      await log.append(group.seal());
      group.reset();
      group.releaseMemory();
      expect(group.memoryBytes).toBe(0);
    }
    const { entries } = await replayAll(log);
    expect(entries.map(({ body }) => body)).toEqual([bodyOf(100, 1), bodyOf(100, 2)]);
  });

  test('its last record alone ends it', () => {
    const group = smallGroup();
    group.append(2, 1, HEADER, new Uint8Array(70_000));
    group.append(3, 1, HEADER, new Uint8Array(1));
    const { records } = group.seal();
    const flags = records.map((record) => readRecordHeader(new DataView(record.buffer, record.byteOffset), 0).flags);
    expect(flags.map((flag) => flag & LAST_OF_GROUP)).toEqual([0, 0, LAST_OF_GROUP]);
  });

  test('takes bodies from shared memory, and the tail after the body', async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(100));
    shared.set(bodyOf(100));
    const group = smallGroup();
    group.append(2, 1, HEADER, shared.subarray(10, 20), shared.subarray(50, 53));
    const log = new SimLog(new SimDisk(), SHAPE, setImmediate);
    await log.append(group.seal());
    const { entries } = await replayAll(log);
    expect(entries).toEqual([
      {
        ...HEADER,
        partition: 2,
        sequence: 1,
        body: Uint8Array.from([...bodyOf(100).slice(10, 20), ...bodyOf(100).slice(50, 53)]),
      },
    ]);
  });

  test('any entries that it takes are replayed as they were, over groups and reuse', async () => {
    const length = fc.oneof(
      fc.nat(60),
      fc.integer({ min: RECORD_PAYLOAD_BYTES - 100, max: RECORD_PAYLOAD_BYTES + 100 }),
      fc.nat(200_000),
    );
    const entry = fc.tuple(fc.constantFrom(...SHAPE.partitions), length, fc.nat(50));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(entry, { minLength: 1, maxLength: 12 }), { maxLength: 4 }), async (groups) => {
        const log = new SimLog(new SimDisk(), SHAPE, setImmediate);
        const chain = new Chain(SHAPE, EMPTY);
        const group = new Group(chain, 0);
        const sequences = new Map<number, number>();
        const expected: string[] = [];
        let mark: Mark = NO_MARK;
        for (const entries of groups) {
          for (const [partition, bodyLength, tailLength] of entries) {
            const body = bodyOf(bodyLength);
            const tail = bodyOf(tailLength, 9);
            if (!group.fits(partition, bodyLength + tailLength)) continue;
            const sequence = (sequences.get(partition) ?? 0) + 1;
            group.append(partition, sequence, HEADER, body, tail);
            sequences.set(partition, sequence);
            expected.push(`${partition}:${sequence}:${Buffer.concat([body, tail]).toString('base64')}`);
          }
          const sealed = group.seal();
          await log.append(sealed);
          mark = sealed;
          group.reset();
        }
        const { entries } = await replayAll(log, mark);
        const replayed = entries.map(
          ({ partition, sequence, body }) => `${partition}:${sequence}:${Buffer.from(body).toString('base64')}`,
        );
        expect(replayed.sort()).toEqual(expected.sort());
      }),
      { numRuns: 30 },
    );
  });
});
