import type { Change, HistoryStats, HistoryTables, StoredRow } from '../../src/history/tables.js';
import type { AppendOutcome } from '../../src/log/log.js';
import { RESOLUTIONS, type Resolution } from '../../src/series/bucket.js';
import { type Fault, outcomeOf } from '../log/sim-log.js';

/** What survives a crash: rows by key in hex, which sorts as the bytes do; states by partition. */
export class SimHistoryDisk {
  readonly rows: Readonly<Record<Resolution, Map<string, Uint8Array>>> = {
    minute: new Map(),
    hour: new Map(),
    day: new Map(),
  };
  readonly states = new Map<number, Uint8Array>();
}

/**
 * History in memory. What may go wrong, for each transaction: no room (nothing of it is stored), a failed flush (stored or
 * not; everything after it fails too), no answer, a crash between two transactions, a crash with the one that was not
 * answered or without it, damage at rest. A transaction is on the disk whole or not at all, and reads see what is on it.
 */
export class SimTables implements HistoryTables {
  /** The faults of the next transactions, the next one first; undefined for none. */
  readonly script: (Fault | undefined)[] = [];
  /** Transactions that were begun. */
  transactions = 0;
  readonly #disk: SimHistoryDisk;
  readonly #commitLater: (commit: () => void) => void;
  #failure: AppendOutcome | undefined;
  #pending: (() => void) | undefined;
  #crashed = false;
  /** Sorted. */
  #keys: Partial<Record<Resolution, string[]>> = {};

  /** @param commitLater calls back when the device would have flushed. */
  constructor(disk: SimHistoryDisk, commitLater: (commit: () => void) => void = setImmediate) {
    this.#disk = disk;
    this.#commitLater = commitLater;
  }

  refresh(): void {}

  state(partition: number): Uint8Array | undefined {
    return this.#disk.states.get(partition);
  }

  get(resolution: Resolution, key: Uint8Array): Uint8Array | undefined {
    return this.#disk.rows[resolution].get(hex(key));
  }

  range(resolution: Resolution, start: Uint8Array, end: Uint8Array, limit: number): StoredRow[] {
    const rows = this.#disk.rows[resolution];
    this.#keys[resolution] ??= [...rows.keys()].sort();
    const keys = this.#keys[resolution];
    const found: StoredRow[] = [];
    for (let at = firstFrom(keys, hex(start)); found.length < limit; at++) {
      const key = keys[at];
      if (key === undefined || key >= hex(end)) break;
      found.push({ key: Buffer.from(key, 'hex'), value: rows.get(key) as Uint8Array });
    }
    return found;
  }

  commit({ partition, state, puts, removals }: Change): Promise<AppendOutcome> {
    if (this.#pending) throw new Error('One transaction at a time.');
    if (this.#failure) return Promise.resolve(this.#failure);
    const change = () => {
      this.#keys = {};
      this.#disk.states.set(partition, state.slice());
      for (const { resolution, key } of removals) this.#disk.rows[resolution].delete(hex(key));
      for (const { resolution, key, value } of puts) this.#disk.rows[resolution].set(hex(key), value.slice());
    };
    this.#pending = change;
    this.transactions++;
    const fault = this.script.shift();
    return new Promise((resolve) => {
      this.#commitLater(() => {
        if (this.#crashed) return;
        if (!fault || (fault.kind !== 'full' && fault.stored)) change();
        if (fault?.kind === 'silent') return;
        this.#pending = undefined;
        const outcome = outcomeOf(fault);
        if (outcome.kind === 'unknown') this.#failure = outcome;
        resolve(outcome);
      });
    });
  }

  stats(): HistoryStats {
    const { rows } = this.#disk;
    const usedBytes = RESOLUTIONS.flatMap((resolution) => [...rows[resolution]]).reduce(
      (sum, [key, value]) => sum + key.length / 2 + value.length,
      0,
    );
    return {
      rows: { minute: rows.minute.size, hour: rows.hour.size, day: rows.day.size },
      usedBytes,
      fileBytes: usedBytes,
    };
  }

  /** The process dies. */
  crash(stored: boolean): void {
    this.#crashed = true;
    if (stored) this.#pending?.();
  }

  async close(): Promise<void> {
    this.#crashed = true;
  }
}

const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex');

function firstFrom(keys: readonly string[], start: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < start) low = middle + 1;
    else high = middle;
  }
  return low;
}
