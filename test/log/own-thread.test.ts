import { describe, expect, test } from 'vitest';
import { OwnThread } from '../../src/log/own-thread.js';
import { FLUSH_MILLISECONDS, LaneBench } from './lane-bench.js';

const QUICK_MILLISECONDS = 0.5;
const SMALL = 100;
const LARGE = 100_000;

/** One whose device has shown that it is quick. */
async function quickBench(): Promise<LaneBench> {
  const bench = new LaneBench(0, QUICK_MILLISECONDS);
  bench.write(2);
  await bench.pass(1);
  bench.told.length = 0;
  return bench;
}

describe('OwnThread', () => {
  test('takes nothing before a small group has shown what the device takes', () => {
    const thread = new OwnThread();
    expect(thread.takes(SMALL)).toBe(false);
    thread.flushed(LARGE, 0.1);
    expect(thread.takes(SMALL)).toBe(false);
    thread.flushed(SMALL, 0.1);
    expect(thread.takes(SMALL)).toBe(true);
  });

  test('takes no large group', () => {
    const thread = new OwnThread();
    thread.flushed(SMALL, 0.1);
    expect(thread.takes(LARGE)).toBe(false);
  });

  test('takes none while the device is slow, whatever large groups take, and again when it is quick for a while', () => {
    const thread = new OwnThread();
    for (let i = 0; i < 8; i++) thread.flushed(SMALL, 0.1);
    thread.flushed(LARGE, 100);
    expect(thread.takes(SMALL)).toBe(true);
    thread.flushed(SMALL, 20);
    let left = 0;
    while (!thread.takes(SMALL)) {
      thread.flushed(SMALL, 0.1);
      left++;
    }
    expect(left).toBeGreaterThan(4);
    expect(left).toBeLessThan(16);
  });
});

describe('a group that is flushed within the call', () => {
  test('is told of in the turn in which it is sealed, marked and on the device', async () => {
    const bench = await quickBench();
    bench.write(2);
    bench.write(3);
    bench.write(2);
    expect(bench.told).toEqual([]);
    bench.clock.endTurn();
    expect(bench.answers).toEqual(['2:2 flushed', '3:1 flushed', '2:3 flushed']);
    expect(bench.told.every(({ stored }) => stored)).toBe(true);
    expect(bench.mark.mark.group).toBe(2);
    expect(bench.log.busy).toBe(false);
    expect(bench.commit.stats()).toMatchObject({ groups: 2, within: 1, entries: 4 });
  });

  test('is watched from before it begins until it has ended, and no other one is', async () => {
    const seen: string[] = [];
    const bench = new LaneBench(0, QUICK_MILLISECONDS, {
      began: () => seen.push(`began, ${bench.log.attempts.length} written`),
      ended: () => seen.push(`ended, ${bench.log.attempts.length} written`),
    });
    bench.write(2);
    await bench.pass(1);
    expect(seen).toEqual([]);
    bench.write(2);
    bench.clock.endTurn();
    expect(seen).toEqual(['began, 1 written', 'ended, 2 written']);
  });

  test('goes behind the answers of its turn', async () => {
    const bench = await quickBench();
    bench.write(2);
    bench.clock.endOfTurn(() => expect(bench.told).toEqual([]));
    bench.clock.endTurn();
    expect(bench.answers).toEqual(['2:2 flushed']);
  });

  test('has nothing in it that nobody waits for', async () => {
    const bench = await quickBench();
    bench.write(2);
    bench.append(2);
    bench.clock.endTurn();
    expect(bench.log.busy).toBe(true);
    expect(bench.told).toEqual([]);
  });

  test('leaves a large one, and what comes while the device is slow, to the pool', async () => {
    const bench = await quickBench();
    bench.write(2, LARGE);
    bench.clock.endTurn();
    expect(bench.log.busy).toBe(true);
    await bench.pass(1);
    const slow = new LaneBench();
    for (let group = 1; group <= 3; group++) {
      slow.write(2);
      await slow.pass(FLUSH_MILLISECONDS);
    }
    expect(slow.commit.stats()).toMatchObject({ groups: 3, within: 0 });
  });

  test('without room is told, and the same bytes go to the device again', async () => {
    const bench = await quickBench();
    bench.log.script.push({ kind: 'full' }, { kind: 'full' });
    bench.write(2);
    bench.clock.endTurn();
    expect(bench.answers).toEqual(['2:2 STORAGE_FULL']);
    expect(bench.commit.writable).toBe(false);
    await bench.pass(501);
    await bench.pass(501);
    expect(bench.commit.writable).toBe(true);
    expect(new Set(bench.log.attempts.slice(1)).size).toBe(1);
    expect(bench.log.attempts.length).toBe(4);
    expect(bench.commit.flushedSequence(2)).toBe(2);
  });

  test.each([true, false])('that fails is the end of the lane; stored: %s', async (stored) => {
    const bench = await quickBench();
    bench.log.script.push({ kind: 'failed', stored });
    bench.write(2);
    bench.clock.endTurn();
    expect(bench.answers).toEqual(['2:2 STORAGE_FAILED']);
    expect(bench.failures.map(({ code }) => code)).toEqual(['STORAGE_FAILED']);
    expect(bench.commit.flushedSequence(2)).toBe(1);
    expect(() => bench.append(2)).toThrow(/STORAGE_FAILED/);
  });

  test('is the end of the lane too where the log or a waiter throws', async () => {
    const bench = await quickBench();
    bench.commit.waitFlushed(2, bench.append(2), {
      flushed: () => {
        throw new Error('a defect');
      },
      unknown: () => {},
    });
    bench.clock.endTurn();
    expect(bench.failures.map(({ code }) => code)).toEqual(['STORAGE_FAILED']);
    expect(() => bench.append(2)).toThrow(/STORAGE_FAILED/);
  });
});
