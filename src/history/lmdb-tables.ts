import { type BinaryDatabase, LmdbEnvironment } from '../log/lmdb.js';
import { LmdbReader } from '../log/lmdb-reader.js';
import type { AppendOutcome } from '../log/log.js';
import { RESOLUTIONS, type Resolution } from '../series/bucket.js';
import { partitionKey } from './partition-state.js';
import type { Change, HistoryReader, HistoryStats, HistoryTables, StoredRow } from './tables.js';

/** More than what the checkpoints keep, so that history never takes the room of the log. */
const DEFAULT_RESERVE_BYTES = 192 * 1_048_576;
const PARTITIONS = RESOLUTIONS.length;

export interface LmdbTablesOptions {
  /** Nothing is written that would leave less free than this on its file system. */
  readonly reserveBytes?: number;
}

/** A database for each resolution, and one for the partitions. */
const DATABASES = ['minutes', 'hours', 'days', 'partitions'];

/** Reads the history of a lane, beside whoever writes it: each call finds one state, two of them two. */
export class LmdbTablesReader implements HistoryReader {
  readonly #reader: LmdbReader;

  /** @throws TallystickError LOG_CORRUPT if `path` is not what LmdbTables makes; errors of the system */
  constructor(path: string) {
    this.#reader = LmdbReader.open(path, DATABASES);
  }

  refresh(): void {}

  state(partition: number): Uint8Array | undefined {
    return this.#reader.get(PARTITIONS, partitionKey(partition));
  }

  get(resolution: Resolution, key: Uint8Array): Uint8Array | undefined {
    return this.#reader.get(RESOLUTIONS.indexOf(resolution), key);
  }

  range(resolution: Resolution, start: Uint8Array, end: Uint8Array, limit: number): StoredRow[] {
    return this.#reader.range(RESOLUTIONS.indexOf(resolution), { start, end, limit });
  }

  close(): void {
    this.#reader.close();
  }
}

/** The history of a lane in an LMDB environment of its own. */
export class LmdbTables implements HistoryTables {
  readonly #environment: LmdbEnvironment;
  readonly #rows: Readonly<Record<Resolution, BinaryDatabase>>;
  readonly #partitions: BinaryDatabase;

  /** Opens the environment in the file `path`, and makes it if it is not there. */
  constructor(path: string, options: LmdbTablesOptions = {}) {
    const { reserveBytes = DEFAULT_RESERVE_BYTES } = options;
    this.#environment = new LmdbEnvironment(path, DATABASES, { reserveBytes });
    const [minute, hour, day] = [0, 1, 2].map((index) => this.#environment.database(index));
    this.#rows = { minute, hour, day } as Record<Resolution, BinaryDatabase>;
    this.#partitions = this.#environment.database(PARTITIONS);
  }

  refresh(): void {
    this.#environment.refresh();
  }

  state(partition: number): Uint8Array | undefined {
    return this.#environment.read(() => this.#partitions.get(partitionKey(partition)));
  }

  get(resolution: Resolution, key: Uint8Array): Uint8Array | undefined {
    return this.#environment.read(() => this.#rows[resolution].get(key));
  }

  range(resolution: Resolution, start: Uint8Array, end: Uint8Array, limit: number): StoredRow[] {
    // No iterator outlives this call: an open one would keep the pages that are freed meanwhile for good.
    return this.#environment.read(() => [...this.#rows[resolution].getRange({ start, end, limit })]);
  }

  commit({ partition, state, puts, removals }: Change): Promise<AppendOutcome> {
    const key = partitionKey(partition);
    return this.#environment.commit({
      bytes: puts.reduce((sum, put) => sum + put.key.length + put.value.length, state.length),
      change: () => {
        void this.#partitions.put(key, state);
        for (const removal of removals) void this.#rows[removal.resolution].remove(removal.key);
        for (const put of puts) void this.#rows[put.resolution].put(put.key, put.value);
      },
      isAbsent: () => Buffer.compare(this.#partitions.get(key) ?? Buffer.alloc(0), state) !== 0,
    });
  }

  stats(): HistoryStats {
    const [minute = 0, hour = 0, day = 0] = [0, 1, 2].map((index) => this.#environment.count(index));
    return { ...this.#environment.stats(), rows: { minute, hour, day } };
  }

  close(): Promise<void> {
    return this.#environment.close();
  }
}
