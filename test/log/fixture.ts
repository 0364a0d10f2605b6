import { afterEach, beforeEach } from 'vitest';
import type { Log, LogReader } from '../../src/log/log.js';
import type { SegmentedLogOptions } from '../../src/log/segmented-log.js';
import { bodyOf, LogWriter, replayAll } from './writer.js';

export type LogOptions = Pick<SegmentedLogOptions, 'segmentBytes' | 'retention'>;

/** Where it begins (begin.ts), records by number, audit items by key in hex. */
export interface StoredSegment {
  begin: Uint8Array;
  readonly records: Map<number, Uint8Array>;
  readonly audit: Map<string, Uint8Array>;
}

/** What survives closing a log, by the numbers of the first records. */
export type StoredSegments = Map<number, StoredSegment>;

/** Where one log is kept. */
export interface LogHome {
  open(options: LogOptions): Promise<Log>;
  /** Beside the one that is open. */
  read(): LogReader;
  /** Changes what is stored, while no log is open. */
  edit(change: (segments: StoredSegments) => void): Promise<void>;
  /** Says that every segment was written last at that moment. */
  touch(milliseconds: number): void;
  remove(): Promise<void>;
}

/** A new log for each test of the `describe` that calls this. */
export class LogFixture {
  home!: LogHome;
  log!: Log;
  readonly #options: LogOptions;

  constructor(makeHome: () => Promise<LogHome>, options: LogOptions = {}) {
    this.#options = options;
    beforeEach(async () => {
      this.home = await makeHome();
      this.log = await this.home.open(options);
    });
    afterEach(async () => {
      await this.log.close();
      await this.home.remove();
    });
  }

  async reopen(): Promise<void> {
    await this.log.close();
    this.log = await this.home.open(this.#options);
  }

  async editAll(change: (segments: StoredSegments) => void): Promise<void> {
    await this.log.close();
    await this.home.edit(change);
    this.log = await this.home.open(this.#options);
  }

  /** Changes the oldest segment. */
  edit(change: (stored: StoredSegment) => void): Promise<void> {
    return this.editAll((segments) => change(segments.get(Math.min(...segments.keys())) as StoredSegment));
  }

  async writer(): Promise<LogWriter> {
    return new LogWriter(this.log, await replayAll(this.log));
  }

  /** Three groups of small entries in two partitions: records 1, 3, 5 of partition 2 and 2, 4, 6 of partition 3. */
  async writeSmall(groups = 3): Promise<LogWriter> {
    const small = await this.writer();
    for (let group = 0; group < groups; group++) {
      await small.write([
        [2, bodyOf(5 + group)],
        [3, bodyOf(7, group)],
        [2, bodyOf(0)],
      ]);
    }
    return small;
  }
}
