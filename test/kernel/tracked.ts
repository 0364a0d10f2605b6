import { expect } from 'vitest';
import { OK } from '../../src/errors.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { decodeEmitted } from '../../src/partition/emitted.js';
import { Partition } from '../../src/partition/partition.js';
import { writeKeys } from '../../src/protocol/request.js';
import { decodeWindowAnswer, encodeWindow, oldestBucket, type WindowMode } from '../../src/protocol/window.js';
import { bodyOf, classify, Kernel, module, NOBODY, restore, START, tick } from './fixture.js';

/** Counters with windows and histories, beside lists of what happened to them. */

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const CLASSES: readonly CounterClass[] = [
  { pattern: 'hour:*', windows: '1h' },
  { pattern: 'day:*', windows: '1d', history: true, lateness: 'any' },
  { pattern: 'second:*', windows: '1d', seconds: true, history: true, lateness: 'any' },
  { pattern: 'gross:*', windows: '1d', seconds: true, gross: true, history: true, lateness: 'any' },
  { pattern: 'total:*', windows: '1h', history: true, late: 'total' },
];

/** In which buckets a window is told. */
const bucketOf = (name: string, length: number) => {
  if (/^(second|gross):/.test(name) && length <= MINUTE) return SECOND;
  return length <= HOUR ? MINUTE : HOUR;
};

const asked = (gross: boolean) => (gross ? { gross: true as const } : {});

export function windowOf(
  partition: Partition,
  name: string,
  milliseconds: number,
  now: number,
  mode: WindowMode = 'sliding',
  gross = false,
) {
  const status = partition.window(bodyOf(encodeWindow, { mode, milliseconds, keys: [{ name }], ...asked(gross) }), now);
  expect(status).toBe(OK);
  const { now: told, sums } = decodeWindowAnswer(Uint8Array.of(0, 0, ...partition.answer));
  expect(told).toBe(now);
  return sums[0] as (typeof sums)[number];
}

/** What is known of a counter by a list of what happened to it. */
export class NaiveCounter {
  readonly changes: { readonly time: number; readonly delta: bigint }[] = [];

  sum(from: number, to: number): bigint {
    return this.changes.filter(({ time }) => time >= from && time < to).reduce((sum, { delta }) => sum + delta, 0n);
  }

  decreases(from: number, to: number): bigint {
    return this.changes
      .filter(({ time, delta }) => time >= from && time < to && delta < 0n)
      .reduce((sum, { delta }) => sum + delta, 0n);
  }
}

/** A kernel with classes beside a list for each counter, and beside the rows that it emits. */
export class Tracked {
  kernel: Kernel;
  partition: Partition;
  now = START;
  readonly counters = new Map<string, NaiveCounter>();
  /** Sums of the emitted rows: by slot and generation, then by minute. */
  readonly history = new Map<string, Map<number, bigint>>();

  constructor(classes: readonly CounterClass[] = CLASSES, windowBytes = 16_000_000) {
    this.kernel = new Kernel({ windowBytes });
    this.kernel.watched = false;
    this.partition = this.kernel.partition;
    classify(this.kernel, classes);
  }

  counter(name: string): NaiveCounter {
    const known = this.counters.get(name) ?? new NaiveCounter();
    this.counters.set(name, known);
    return known;
  }

  add(name: string, delta: bigint, time?: number, flags = 0): number {
    const operations = [{ key: { name }, delta, ...(time !== undefined && { time }) }];
    const { answer } = this.kernel.add({ operations }, flags, NOBODY, this.now);
    this.take();
    const status = answer?.refused[0]?.status ?? OK;
    const isKept = time === undefined || !name.startsWith('total:') || this.now - time <= HOUR;
    if (status === OK && isKept) this.counter(name).changes.push({ time: time ?? this.now, delta });
    return status;
  }

  tick(): void {
    tick(this.kernel, this.now);
    this.take();
  }

  /** Takes what the last call emitted. */
  take(): void {
    this.#takeInto(this.history);
  }

  #takeInto(history: Map<string, Map<number, bigint>>): void {
    for (const { slot, generation, hour, minutes = [] } of decodeEmitted(this.partition.emitted)) {
      const key = `${slot} ${generation}`;
      const sums = history.get(key) ?? new Map<number, bigint>();
      history.set(key, sums);
      for (const [minute, delta] of minutes.entries()) {
        const at = hour * 60 + minute;
        if (delta !== undefined) sums.set(at, (sums.get(at) ?? 0n) + delta);
      }
    }
  }

  /** What was emitted of a counter, and what is to be, by minute; undefined where its class keeps no history. */
  historyOf(name: string): ReadonlyMap<number, bigint> | undefined {
    const body = bodyOf(writeKeys, [{ name }]);
    if (!/^(day|second|gross|total):/.test(name)) {
      expect(() => this.partition.tracked(body)).toThrow(expect.objectContaining({ code: 'NOT_TRACKED' }));
      return undefined;
    }
    const { counter, exists, value } = this.partition.tracked(body);
    expect(exists).toBe(counter !== undefined);
    if (!counter) return new Map();
    const key = `${counter.slot} ${counter.generation}`;
    const all = new Map([[key, new Map(this.history.get(key))]]);
    this.#takeInto(all);
    const sums = all.get(key) ?? new Map<number, bigint>();
    if (!name.startsWith('total:')) expect([...sums.values()].reduce((sum, delta) => sum + delta, 0n)).toBe(value);
    return sums;
  }

  restart(): void {
    const fresh = new Partition(module);
    restore(fresh, this.partition.state);
    expect(fresh.stateHash).toBe(this.partition.stateHash);
  }

  /** Asks for a window, and compares what is told with the list. */
  check(name: string, milliseconds: number, mode: WindowMode): number {
    const gross = name.startsWith('gross:');
    const found = windowOf(this.partition, name, milliseconds, this.now, mode, gross);
    if (found.sum === undefined) return found.status;
    const { bucket, sum, oldest, decreases } = found;
    expect(bucket).toBe(bucketOf(name, milliseconds));
    const from = oldestBucket({ mode, milliseconds }, this.now, bucket);
    const begin = mode === 'sliding' ? from + bucket : from;
    const end = (Math.floor(this.now / bucket) + 1) * bucket;
    expect(from % bucket).toBe(0);
    const covers = mode === 'sliding' ? this.now - milliseconds - from : this.now - from;
    expect(covers).toBeGreaterThanOrEqual(0);
    if (mode === 'sliding') expect(covers).toBeLessThan(bucket);
    const counter = this.counters.get(name) ?? new NaiveCounter();
    expect(sum).toBe(counter.sum(begin, end));
    expect(oldest).toBe(mode === 'sliding' ? counter.sum(from, from + bucket) : 0n);
    const lost = {
      sum: counter.decreases(begin, end),
      oldest: mode === 'sliding' ? counter.decreases(from, from + bucket) : 0n,
    };
    expect(decreases).toEqual(gross ? lost : undefined);
    return OK;
  }
}
