import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import * as lmdb from 'lmdb';
import { TallystickError } from '../errors.js';
import { Ahead } from './ahead.js';
import { lacksRoom, notWritten, saysNoRoom, unknown } from './append-outcome.js';
import type { AppendOutcome } from './log.js';
import { corrupt } from './replay.js';

/** It has no type. */
const { allDbs } = lmdb as unknown as { readonly allDbs: Map<string, BinaryDatabase> };

const META_PAGES = 2;

const BINARY = { encoding: 'binary', keyEncoding: 'binary', cache: false, compression: false } as const;

export type BinaryDatabase = Database<Uint8Array, Uint8Array>;

interface Stats {
  readonly pageSize: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
  readonly entryCount: number;
}

interface RootStats {
  readonly root: Stats;
  readonly free: Stats;
  readonly lastPageNumber: number;
}

export interface EnvironmentOptions {
  /** Commits are not flushed: for a new file that is flushed as a whole before anybody relies on it. */
  readonly unsynced?: boolean;
  /** Small transactions find the file long enough (ahead.ts). */
  readonly writesAhead?: boolean;
  /** No transaction is begun that would leave less free than this on its file system. */
  readonly reserveBytes: number;
}

/** One transaction. */
export interface Transaction {
  /** The most bytes of values that it stores. */
  readonly bytes: number;
  /** Puts and removes. Must not throw: lmdb-js would commit the part before. */
  readonly change: () => void;
  /** Whether surely nothing of it is stored, by a fresh read. */
  readonly isAbsent: () => boolean;
}

/**
 * An LMDB environment with named databases, as the log, the checkpoints and the history use it: opened by the thread that writes
 * it, and by nobody else (lmdb-reader.ts says why).
 *
 * LMDB must not meet a full disk itself. Its short write comes back as EIO, like a broken device, and where a page can't
 * be written lmdb-js 3.5.6 writes its message past the end of a buffer (mdb_page_flush: malloc(100) for 104 bytes), which
 * aborts the process, at once or later. So each transaction first asks the file system, and keeps a reserve that no other
 * writer fills within one commit. At a broken device the process ends in any case.
 */
export class LmdbEnvironment {
  readonly #path: string;
  readonly #reserveBytes: number;
  readonly #root: RootDatabase<Uint8Array, Uint8Array>;
  readonly #databases: readonly BinaryDatabase[];
  readonly #ahead: Ahead | undefined;
  #failure: AppendOutcome | undefined;

  /** Opens the environment in the file `path`, and makes it if it is not there. */
  constructor(path: string, names: readonly string[], options: EnvironmentOptions) {
    this.#path = path;
    this.#reserveBytes = options.reserveBytes;
    const { root, databases } = openEnvironment(path, names, options);
    this.#root = root;
    this.#databases = databases;
    if (options.writesAhead) this.#ahead = new Ahead(path, () => this.#takenBytes());
  }

  /** The database of the name at that index. */
  database(index: number): BinaryDatabase {
    return this.#databases[index] as BinaryDatabase;
  }

  /** Reads; a page that LMDB can't make sense of is corruption. */
  read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof TallystickError) throw error;
      throw corrupt(`LMDB could not read its own pages: ${error instanceof Error ? error.message : error}.`, error);
    }
  }

  /** What is read from here on is what is committed by now. */
  refresh(): void {
    this.#root.resetReadTxn();
  }

  /** The entries of the database of the name at that index. */
  count(index: number): number {
    return this.read(() => (this.database(index).getStats() as Stats).entryCount);
  }

  /** Never rejects. */
  async commit({ bytes, change, isAbsent }: Transaction): Promise<AppendOutcome> {
    if (this.#failure) return this.#failure;
    try {
      if (this.#lacksRoom(bytes)) return notWritten(undefined);
      await this.#ahead?.before(bytes);
      await this.#root.batch(change);
      return { kind: 'flushed' };
    } catch (error) {
      return this.#failed(await commitErrorOf(error), bytes, isAbsent);
    }
  }

  /** The same within the call. Never throws; undefined, and nothing is done, where the file must be made longer first. */
  commitNow({ bytes, change, isAbsent }: Transaction): AppendOutcome | undefined {
    if (this.#failure) return this.#failure;
    try {
      if (this.#lacksRoom(bytes)) return notWritten(undefined);
      if (this.#ahead?.take(bytes) === false) return undefined;
      this.#root.transactionSync(change);
      return { kind: 'flushed' };
    } catch (error) {
      return this.#failed(error, bytes, isAbsent);
    }
  }

  stats(): { readonly usedBytes: number; readonly fileBytes: number } {
    const { root, free } = this.#stats();
    const trees = this.#databases.map((database) => database.getStats() as Stats);
    const pages = [...trees, root, free].map(
      ({ treeBranchPageCount, treeLeafPageCount, overflowPages }) =>
        treeBranchPageCount + treeLeafPageCount + overflowPages,
    );
    return {
      usedBytes: (META_PAGES + pages.reduce((sum, count) => sum + count, 0)) * root.pageSize,
      fileBytes: statSync(this.#path).size,
    };
  }

  async close(): Promise<void> {
    await this.#ahead?.close();
    await this.#root.close();
    // lmdb-js 3.5.6 keeps every database that was ever opened by its name, with buffers of 128 KiB: a leak for a log whose files
    // have ever new names.
    for (const [name, database] of allDbs) {
      if (database === this.#root || this.#databases.includes(database)) allDbs.delete(name);
    }
  }

  #stats(): RootStats {
    return this.#root.getStats() as RootStats;
  }

  /** Up to the last page that was ever taken. */
  #takenBytes(): number {
    const { root, lastPageNumber } = this.#stats();
    this.refresh(); // a reader that stays keeps pages from being used again
    return (lastPageNumber + 1) * root.pageSize;
  }

  #failed(cause: unknown, bytes: number, isAbsent: () => boolean): AppendOutcome {
    if (this.#wasNotWritten(cause, bytes, isAbsent)) return notWritten(cause);
    // LMDB itself would take the next transaction as if nothing had been.
    this.#failure = unknown('The storage could not be written', cause);
    return this.#failure;
  }

  #lacksRoom(bytes: number): boolean {
    return lacksRoom(dirname(this.#path), bytes + this.#reserveBytes);
  }

  /**
   * A failed commit is `not-written` if the cause is a lack of room and a fresh read shows that nothing is there. That is
   * sure: what makes a transaction visible is its meta page, LMDB writes that last, and where the write of the meta page
   * itself fails every later read throws MDB_PANIC. Nor does a failed flush leave a trap: a repeated transaction writes
   * and flushes all of its pages anew. With any other cause the device is not to be trusted.
   */
  #wasNotWritten(error: unknown, bytes: number, isAbsent: () => boolean): boolean {
    try {
      if (!saysNoRoom(error, () => this.#lacksRoom(bytes))) return false;
      this.refresh();
      return isAbsent();
    } catch {
      // MDB_PANIC: the state of the meta page is unknown.
      return false;
    }
  }
}

function openEnvironment(path: string, names: readonly string[], options: EnvironmentOptions) {
  try {
    const settings = {
      ...BINARY,
      path,
      noSync: options.unsynced ?? false,
      maxDbs: names.length,
      // If syncs overlapped, a failed write of a meta page would resolve the put all the same.
      overlappingSync: false,
      safeRestore: true,
      // A batch names its transaction, and has one promise. With batching by event turns a failed commit also rejects
      // a promise that lmdb-js hands to nobody: an unhandled rejection, which ends the process.
      eventTurnBatching: false,
      commitDelay: 0,
      mapSize: 64 * 1_073_741_824,
      permissionsMode: 0o600,
    };
    const root = lmdb.open<Uint8Array, Uint8Array>(settings);
    return { root, databases: names.map((name): BinaryDatabase => root.openDB({ ...BINARY, name })) };
  } catch (error) {
    // The codes of LMDB are negative, those of the system are not.
    const code = (error as { code?: unknown }).code;
    throw typeof code === 'number' && code < 0 ? corrupt(`LMDB could not open ${path}.`, error) : error;
  }
}

/** lmdb-js rejects with an error that says nothing; its `commitError` is a promise that rejects with the cause. */
async function commitErrorOf(error: unknown): Promise<unknown> {
  try {
    await (error as { commitError?: Promise<unknown> } | undefined)?.commitError;
    return error;
  } catch (cause) {
    return cause;
  }
}
