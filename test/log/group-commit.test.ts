import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TallystickError } from '../../src/errors.js';
import { FLUSH_MILLISECONDS, LaneBench } from './lane-bench.js';
import type { Fault } from './sim-log.js';
import { replayAll, SHAPE } from './writer.js';

describe('GroupCommit', () => {
  test('collects what comes in one turn into one group, and tells nobody before the flush', async () => {
    const bench = new LaneBench();
    bench.write(2);
    bench.write(3);
    bench.write(2);
    expect(bench.log.busy).toBe(false);
    bench.clock.endTurn();
    expect(bench.log.busy).toBe(true);
    await bench.pass(FLUSH_MILLISECONDS - 1);
    expect(bench.told).toEqual([]);
    expect(bench.commit.flushedSequence(2)).toBe(0);
    await bench.pass(1);
    expect(bench.answers).toEqual(['2:1 flushed', '3:1 flushed', '2:2 flushed']);
    expect(bench.told.every(({ stored }) => stored)).toBe(true);
    expect(bench.commit.flushedSequence(2)).toBe(2);
    expect(bench.commit.stats()).toMatchObject({ groups: 1, records: 2, entries: 3 });
  });

  test('collects the next group while one is in flight, and starts it when that is done', async () => {
    const bench = new LaneBench();
    bench.write(2);
    await bench.pass(1);
    for (let count = 0; count < 10; count++) bench.write(2);
    await bench.pass(FLUSH_MILLISECONDS - 1);
    expect(bench.answers).toEqual(['2:1 flushed']);
    await bench.pass(FLUSH_MILLISECONDS);
    expect(bench.answers.length).toBe(11);
    expect(bench.commit.stats().groups).toBe(2);
  });

  test('gives memory back when nothing is in it, and neither before nor while a group is in flight', async () => {
    const bench = new LaneBench();
    const memory = () => bench.commit.stats().memoryBytes;
    bench.write(2, 5);
    const one = memory();
    expect(one).toBeGreaterThan(0);
    bench.commit.releaseMemory();
    expect(memory()).toBe(one);
    await bench.pass(1);
    bench.commit.releaseMemory();
    bench.write(2, 6);
    bench.commit.releaseMemory();
    expect(memory()).toBe(2 * one);
    await bench.pass(20);
    expect(memory()).toBe(2 * one);
    bench.commit.releaseMemory();
    expect(memory()).toBe(0);
    bench.write(3, 7);
    await bench.pass(20);
    const { entries } = await replayAll(bench.log, bench.mark.read());
    expect(entries.map(({ partition, body }) => [partition, body.length])).toEqual([
      [2, 5],
      [2, 6],
      [3, 7],
    ]);
  });

  test('writes the head mark before it tells a waiter', async () => {
    const bench = new LaneBench();
    const groups: number[] = [];
    bench.commit.waitFlushed(2, bench.append(2), {
      flushed: () => groups.push(bench.mark.mark.group),
      unknown: () => {},
    });
    await bench.pass(FLUSH_MILLISECONDS);
    expect(groups).toEqual([1]);
  });

  test('waits for an older sequence: flushed, in flight, open', async () => {
    const bench = new LaneBench();
    bench.append(2);
    await bench.pass(FLUSH_MILLISECONDS);
    bench.append(2);
    await bench.pass(1);
    bench.append(2);
    bench.wait(2, 3);
    bench.wait(2, 2);
    expect(bench.told).toEqual([]);
    bench.wait(2, 1);
    expect(bench.answers).toEqual(['2:1 flushed']);
    await bench.pass(FLUSH_MILLISECONDS - 1);
    expect(bench.answers).toEqual(['2:1 flushed', '2:2 flushed']);
    await bench.pass(FLUSH_MILLISECONDS);
    expect(bench.answers).toEqual(['2:1 flushed', '2:2 flushed', '2:3 flushed']);
    expect(() => bench.wait(2, 4)).toThrow(/INVALID_ARGUMENT/);
    expect(() => bench.wait(4, 1)).toThrow(/INVALID_ARGUMENT/);
  });

  test('waits for everything', async () => {
    const bench = new LaneBench();
    bench.waitAll();
    expect(bench.answers).toEqual(['all flushed']);
    bench.append(2);
    bench.waitAll();
    await bench.pass(1);
    bench.waitAll();
    bench.append(3);
    bench.waitAll();
    await bench.pass(FLUSH_MILLISECONDS - 1);
    expect(bench.answers.length).toBe(3);
    await bench.pass(FLUSH_MILLISECONDS);
    expect(bench.answers.length).toBe(4);
    expect(bench.told.every(({ stored }) => stored)).toBe(true);
  });

  test('a waiter that appends and waits again is served by the next group', async () => {
    const bench = new LaneBench();
    bench.commit.waitFlushed(2, bench.append(2), { flushed: () => bench.write(2), unknown: () => {} });
    await bench.pass(2 * FLUSH_MILLISECONDS);
    expect(bench.answers).toEqual(['2:2 flushed']);
  });

  test('refuses what does not fit the open group, and calls back when one is empty', async () => {
    const bench = new LaneBench();
    bench.append(2);
    await bench.pass(1);
    bench.append(2, 1_048_576);
    expect(bench.commit.canAppend(3, 1_000_000)).toBe(false);
    expect(() => bench.append(3, 1_000_000)).toThrow(/OVERLOADED/);
    let room = 0;
    bench.commit.whenRoom(() => room++);
    await bench.pass(FLUSH_MILLISECONDS - 2);
    expect(room).toBe(0);
    await bench.pass(1);
    expect(room).toBe(1);
    expect(bench.commit.canAppend(3, 1_000_000)).toBe(true);
    bench.write(3, 1_000_000);
    await bench.pass(2 * FLUSH_MILLISECONDS);
    expect(bench.answers).toEqual(['3:1 flushed']);
    expect(room).toBe(1);
    bench.commit.whenRoom(() => room++);
    expect(room).toBe(1);
    await bench.pass(1);
    expect(room).toBe(2);
  });

  test('drain resolves when everything is flushed', async () => {
    const bench = new LaneBench();
    await bench.commit.drain();
    bench.append(2);
    let drained = false;
    const drain = bench.commit.drain().then(() => {
      drained = true;
    });
    await bench.pass(1);
    bench.append(2);
    await bench.pass(FLUSH_MILLISECONDS);
    expect(drained).toBe(false);
    await bench.pass(FLUSH_MILLISECONDS);
    expect(drained).toBe(true);
    await drain;
  });

  describe('on a full disk', () => {
    test('tells all once that the outcome is unknown, writes the same bytes when there is room, and goes on', async () => {
      const bench = new LaneBench();
      bench.log.script.push({ kind: 'full' }, { kind: 'full' });
      bench.write(2);
      await bench.pass(1);
      bench.write(3);
      bench.waitAll();
      await bench.pass(FLUSH_MILLISECONDS - 1);
      const unknown = ['2:1 STORAGE_FULL', '3:1 STORAGE_FULL', 'all STORAGE_FULL'];
      expect(bench.answers).toEqual(unknown);
      expect(bench.told.every(({ outcome }) => outcome === 'unknown')).toBe(true);
      expect(bench.commit.writable).toBe(false);
      expect(bench.commit.obstacle?.code).toBe('STORAGE_FULL');

      bench.wait(2, 1);
      bench.wait(3, 1);
      expect(bench.answers).toEqual([...unknown, '2:1 STORAGE_FULL', '3:1 STORAGE_FULL']);
      let room = 0;
      bench.commit.whenRoom(() => room++);
      const drained = bench.commit.drain();

      await bench.pass(499);
      expect(bench.log.attempts.length).toBe(1);
      await bench.pass(1 + FLUSH_MILLISECONDS);
      expect(bench.log.attempts.length).toBe(2);
      expect(bench.commit.writable).toBe(false);
      expect(room).toBe(0);
      await bench.pass(500 + FLUSH_MILLISECONDS);
      expect(new Set(bench.log.attempts).size).toBe(1);
      expect(bench.commit.writable).toBe(true);
      expect(bench.commit.flushedSequence(2)).toBe(1);
      await bench.pass(FLUSH_MILLISECONDS);
      expect(room).toBe(1);
      expect(bench.commit.flushedSequence(3)).toBe(1);
      expect(bench.answers.length).toBe(5);
      await drained;
      bench.write(2);
      await bench.pass(FLUSH_MILLISECONDS);
      expect(bench.answers.at(-1)).toBe('2:2 flushed');
      expect(bench.failures).toEqual([]);
    });

    test('whoever waits for room is called back when there will be none, and can refuse instead', async () => {
      const bench = new LaneBench();
      bench.log.script.push({ kind: 'full' });
      bench.write(2);
      await bench.pass(1);
      bench.write(3);
      let room = 0;
      bench.commit.whenRoom(() => room++);
      await bench.pass(FLUSH_MILLISECONDS - 1);
      expect(bench.commit.writable).toBe(false);
      expect(room).toBe(1);
    });

    test('what is flushed already is answered', async () => {
      const bench = new LaneBench();
      bench.write(2);
      await bench.pass(FLUSH_MILLISECONDS);
      bench.log.script.push({ kind: 'full' });
      bench.append(2);
      await bench.pass(FLUSH_MILLISECONDS);
      bench.wait(2, 1);
      expect(bench.answers).toEqual(['2:1 flushed', '2:1 flushed']);
    });
  });

  describe('blocked', () => {
    test('wants nothing more, and flushes what it has; whoever waits for room is called back at the end of it', async () => {
      const bench = new LaneBench();
      let calls = 0;
      bench.write(2);
      bench.commit.block();
      bench.write(3);
      expect(bench.commit.canAppend(2, 1)).toBe(false);
      expect([bench.commit.writable, bench.commit.obstacle]).toEqual([true, undefined]);
      await bench.pass(FLUSH_MILLISECONDS);
      expect(bench.answers).toEqual(['2:1 flushed', '3:1 flushed']);
      bench.commit.whenRoom(() => calls++);
      await bench.pass(FLUSH_MILLISECONDS);
      expect(calls).toBe(0);
      bench.commit.unblock();
      expect(calls).toBe(1);
      expect(bench.commit.canAppend(2, 1)).toBe(true);
    });

    test('with an obstacle it says why it is not writable, and flushes all the same', async () => {
      const bench = new LaneBench();
      let calls = 0;
      bench.write(2);
      bench.commit.block();
      bench.commit.whenRoom(() => calls++);
      const obstacle = new TallystickError('STORAGE_FULL');
      bench.commit.block(obstacle);
      expect([bench.commit.writable, bench.commit.obstacle, calls]).toEqual([false, obstacle, 1]);
      bench.waitAll();
      await bench.pass(FLUSH_MILLISECONDS);
      expect(bench.answers).toEqual(['2:1 flushed', 'all flushed']);
      bench.commit.unblock();
      expect([bench.commit.writable, bench.commit.obstacle]).toEqual([true, undefined]);
    });
  });

  describe('fails for good', () => {
    const failedFor = async (bench: LaneBench) => {
      expect(bench.failures.map(({ code }) => code)).toEqual(['STORAGE_FAILED']);
      expect(bench.commit.writable).toBe(false);
      expect(bench.commit.canAppend(2, 0)).toBe(false);
      expect(() => bench.append(2)).toThrow(/STORAGE_FAILED/);
      await expect(bench.commit.drain()).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
      const before = bench.told.length;
      bench.waitAll();
      bench.wait(2, 0);
      await bench.pass(20_000);
      expect(bench.answers.slice(before)).toEqual(['all STORAGE_FAILED', '2:0 STORAGE_FAILED']);
      expect(bench.failures.length).toBe(1);
      expect(bench.clock.pendingTimers).toBe(0);
    };

    test.each<Fault>([
      { kind: 'failed', stored: true },
      { kind: 'failed', stored: false },
    ])('when a flush failed: %j', async (fault) => {
      const bench = new LaneBench();
      bench.log.script.push(fault);
      bench.write(2);
      await bench.pass(1);
      bench.write(2);
      const drain = bench.commit.drain();
      const drained = expect(drain).rejects.toMatchObject({ code: 'STORAGE_FAILED' });
      await bench.pass(FLUSH_MILLISECONDS);
      await drained;
      expect(bench.answers).toEqual(['2:1 STORAGE_FAILED', '2:2 STORAGE_FAILED']);
      await failedFor(bench);
    });

    test('when a group is not answered for 10 s', async () => {
      const bench = new LaneBench();
      bench.log.script.push({ kind: 'silent', stored: true });
      bench.write(2);
      bench.clock.endTurn();
      await bench.pass(9_999);
      expect(bench.told).toEqual([]);
      await bench.pass(1);
      expect(bench.answers).toEqual(['2:1 STORAGE_FAILED']);
      await failedFor(bench);
    });

    test('when the retry on a full disk is not answered for 10 s', async () => {
      const bench = new LaneBench();
      bench.log.script.push({ kind: 'full' }, { kind: 'silent', stored: false });
      bench.write(2);
      await bench.pass(FLUSH_MILLISECONDS + 500 + 9_999);
      expect(bench.failures).toEqual([]);
      await bench.pass(1);
      await failedFor(bench);
    });

    test('when the head mark can not be written', async () => {
      const bench = new LaneBench();
      bench.mark.error = new Error('EIO');
      bench.write(2);
      await bench.pass(FLUSH_MILLISECONDS);
      expect(bench.answers).toEqual(['2:1 STORAGE_FAILED']);
      await failedFor(bench);
    });

    test('when another lane has failed: the word is read before every waiter', async () => {
      const bench = new LaneBench();
      const sequence = bench.append(2);
      bench.wait(2, sequence);
      bench.commit.waitFlushed(2, sequence, {
        flushed: () => {
          bench.poisoned = true;
        },
        unknown: () => {},
      });
      bench.wait(2, sequence);
      await bench.pass(FLUSH_MILLISECONDS);
      expect(bench.answers).toEqual(['2:1 flushed', '2:1 STORAGE_FAILED']);
      bench.poisoned = false;
      await failedFor(bench);
    });

    test('an answer after the failure changes nothing', async () => {
      const bench = new LaneBench();
      bench.append(2);
      await bench.pass(FLUSH_MILLISECONDS);
      bench.write(2);
      await bench.pass(1);
      bench.poisoned = true;
      bench.wait(2, 1);
      await bench.pass(FLUSH_MILLISECONDS);
      expect(bench.answers).toEqual(['2:2 STORAGE_FAILED', '2:1 STORAGE_FAILED']);
      expect(bench.commit.flushedSequence(2)).toBe(1);
      expect(bench.mark.mark.group).toBe(1);
      await failedFor(bench);
    });
  });

  test('any schedule: flushed means stored, everyone is told once, and a crash keeps what was told', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ write: fc.constantFrom(...SHAPE.partitions), bytes: fc.nat(90_000) }) },
      { weight: 2, arbitrary: fc.record({ wait: fc.constantFrom(...SHAPE.partitions), back: fc.nat(6) }) },
      { weight: 1, arbitrary: fc.constant({ waitAll: true } as const) },
      { weight: 4, arbitrary: fc.record({ pass: fc.integer({ min: 1, max: 5 }) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          fault: fc.constantFrom<Fault['kind']>('full', 'failed', 'silent'),
          stored: fc.boolean(),
        }),
      },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40 }),
        fc.boolean(),
        fc.nat(4),
        fc.constantFrom(0.5, FLUSH_MILLISECONDS),
        async (steps, crashed, trusted, flush) => {
          const bench = new LaneBench(0, flush);
          if (trusted > 0) await bench.trust(trusted);
          let asked = 0;
          for (const next of steps) {
            if ('write' in next && bench.commit.canAppend(next.write, next.bytes) && bench.commit.writable) {
              bench.write(next.write, next.bytes);
              asked++;
            } else if ('wait' in next) {
              bench.wait(next.wait, Math.max(0, bench.commit.appendedSequence(next.wait) - next.back));
              asked++;
            } else if ('waitAll' in next) {
              bench.waitAll();
              asked++;
            } else if ('pass' in next) {
              await bench.pass(next.pass);
            } else if ('fault' in next) {
              bench.log.script.push(
                next.fault === 'full' ? { kind: 'full' } : { kind: next.fault, stored: next.stored },
              );
            }
          }
          if (crashed) {
            bench.log.crash(steps.length % 2 === 0);
          } else {
            await bench.pass(40 * 510);
            expect(bench.told.length).toBe(asked);
          }
          expect(bench.told.filter(({ answer, stored }) => answer === 'flushed' && !stored)).toEqual([]);
          for (const partition of SHAPE.partitions) {
            expect(bench.commit.flushedSequence(partition)).toBeLessThanOrEqual(bench.storedSequence(partition));
          }
          const { entries } = await replayAll(bench.log, bench.mark.mark);
          for (const partition of SHAPE.partitions) {
            const sequences = entries.filter((entry) => entry.partition === partition).map(({ sequence }) => sequence);
            expect(sequences).toEqual(Array.from({ length: bench.storedSequence(partition) }, (_, index) => index + 1));
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
