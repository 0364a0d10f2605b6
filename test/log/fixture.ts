import { afterEach, beforeEach } from 'vitest';
import type { Log, LogReader } from '../../src/log/log.js';
import { bodyOf, LogWriter, replayAll } from './writer.js';

/** What survives closing a log: records by number, audit items by key in hex. */
export interface StoredLog {
  readonly records: Map<number, Uint8Array>;
  readonly audit: Map<string, Uint8Array>;
}

/** Where one log is kept. */
export interface LogHome {
  open(): Log;
  /** Beside the one that is open. */
  read(): LogReader;
  /** Changes what is stored, while no log is open. */
  edit(change: (stored: StoredLog) => void): Promise<void>;
  remove(): Promise<void>;
}

/** A new log for each test of the `describe` that calls this. */
export class LogFixture {
  home!: LogHome;
  log!: Log;

  constructor(makeHome: () => LogHome) {
    beforeEach(() => {
      this.home = makeHome();
      this.log = this.home.open();
    });
    afterEach(async () => {
      await this.log.close();
      await this.home.remove();
    });
  }

  async reopen(): Promise<void> {
    await this.log.close();
    this.log = this.home.open();
  }

  async edit(change: (stored: StoredLog) => void): Promise<void> {
    await this.log.close();
    await this.home.edit(change);
    this.log = this.home.open();
  }

  async writer(): Promise<LogWriter> {
    return new LogWriter(this.log, await replayAll(this.log));
  }

  /** Three groups of small entries in two partitions: records 1, 3, 5 of partition 2 and 2, 4, 6 of partition 3. */
  async writeSmall(): Promise<LogWriter> {
    const small = await this.writer();
    for (let group = 0; group < 3; group++) {
      await small.write([
        [2, bodyOf(5 + group)],
        [3, bodyOf(7, group)],
        [2, bodyOf(0)],
      ]);
    }
    return small;
  }
}
