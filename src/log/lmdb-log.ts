import { statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Database, open, type RootDatabase } from 'lmdb';
import { TallystickError } from '../errors.js';
import { AUDIT_SCRATCH_BYTES, decodeAuditItem, encodeAuditItem } from './audit.js';
import { ChecksummedBuffer } from './checksum.js';
import type {
  AppendOutcome,
  Log,
  LogReader,
  LogShape,
  LogStats,
  PartitionRange,
  ReplayEnd,
  ReplayOptions,
  SealedGroup,
} from './log.js';
import type { AuditItem } from './record.js';
import { corrupt, firstPlace, PartitionReplay, Replay } from './replay.js';

/** Records, or audit items, that are read in one turn of the event loop: at most 16 MiB. */
const ITEMS_PER_TURN = 256;
const META_PAGES = 2;
/** What a commit writes beside its records: the paths of the trees that it touches, twice over. */
const TREE_BYTES = 1_048_576;
export const DEFAULT_RESERVE_BYTES = 64 * 1_048_576;

/** Errors of LMDB and the system that say "no room" (LMDB's own codes are negative). */
const NO_ROOM: ReadonlySet<unknown> = new Set([28 /* ENOSPC */, 122 /* EDQUOT */, -30_792 /* MDB_MAP_FULL */]);
/** What LMDB makes of a short write, and so of most full disks; but of a broken device too. */
const EIO = 5;

export interface LmdbLogOptions {
  readonly readOnly?: boolean;
  /** The log takes no group that would leave less free than this on its file system. */
  readonly reserveBytes?: number;
}

interface Stats {
  readonly pageSize: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
  readonly entryCount: number;
}

/**
 * The log in an LMDB environment of its own: a database of records, keyed by their number, and one of audit items. A
 * group is one transaction, so it is there whole or not at all.
 *
 * LMDB must not meet a full disk itself. Its short write comes back as EIO, like a broken device, and where the write
 * fails with ENOSPC lmdb-js 3.5.6 writes its message past the end of a buffer (mdb_page_flush: malloc(100) for 104
 * bytes), which aborts the process. So each append first asks the file system, and keeps a reserve that no other
 * writer fills within one commit.
 */
export class LmdbLog implements Log, LogReader {
  readonly firstRecord = 1;
  readonly #path: string;
  readonly #shape: LogShape;
  readonly #reserveBytes: number;
  readonly #root: RootDatabase<Uint8Array, Uint8Array>;
  readonly #records: Database<Uint8Array, Uint8Array>;
  readonly #audit: Database<Uint8Array, Uint8Array>;
  #failure: AppendOutcome | undefined;
  readonly #scratch = new ChecksummedBuffer(AUDIT_SCRATCH_BYTES);

  /** Opens the environment in the file `path`, and makes it if it is not there and `readOnly` is not set. */
  constructor(path: string, shape: LogShape, options: LmdbLogOptions = {}) {
    this.#path = path;
    this.#shape = shape;
    this.#reserveBytes = options.reserveBytes ?? DEFAULT_RESERVE_BYTES;
    const { root, records, audit } = openDatabases(path, options.readOnly ?? false);
    this.#root = root;
    this.#records = records;
    this.#audit = audit;
  }

  async append(group: SealedGroup): Promise<AppendOutcome> {
    if (this.#failure) return this.#failure;
    try {
      if (this.#lacksRoom(group)) return notWritten(undefined);
      // Nothing may throw within the batch: lmdb-js would commit the part before.
      const audit = group.audit.map((item) => encodeAuditItem(this.#scratch, item));
      await this.#root.batch(() => {
        group.records.forEach((record, index) => {
          void this.#records.put(recordKey(group.firstRecord + index), record);
        });
        for (const { key, value } of audit) void this.#audit.put(key, value);
      });
      return { kind: 'flushed' };
    } catch (error) {
      const cause = await commitErrorOf(error);
      if (this.#wasNotWritten(cause, group)) return notWritten(cause);
      // LMDB itself would take the next group as if nothing had been.
      this.#failure = { kind: 'unknown', error: failed(cause) };
      return this.#failure;
    }
  }

  async replay(options: ReplayOptions): Promise<ReplayEnd> {
    const replay = new Replay(this.#shape, firstPlace(this.#shape), options);
    // There are `count` keys, and each number from 1 to `count` is one of them: so there are no others.
    const count = this.#read(() => this.#statsOf(this.#records).entryCount);
    for (let number = 1; number <= count; number++) {
      const record = this.#read(() => this.#records.get(recordKey(number)));
      replay.record(number, record);
      if (number % ITEMS_PER_TURN === 0) await nextTurn();
    }
    if (this.#read(() => this.#records.get(recordKey(count + 1))))
      throw corrupt(`The log counts ${count} records, but has more.`);
    return replay.end();
  }

  async readPartition(range: PartitionRange): Promise<void> {
    const replay = new PartitionReplay(this.#shape, range);
    for (let number = range.after.records + 1; number <= range.to.records; number++) {
      replay.record(
        number,
        this.#read(() => this.#records.get(recordKey(number))),
      );
      if (number % ITEMS_PER_TURN === 0) await nextTurn();
    }
    replay.end();
  }

  async release(): Promise<void> {}

  async audit(visit: (item: AuditItem) => void): Promise<void> {
    let start: Uint8Array = Buffer.alloc(1);
    for (let full = true; full; ) {
      const items = this.#read(() => [...this.#audit.getRange({ start, limit: ITEMS_PER_TURN })]);
      for (const { key, value } of items) visit(decodeAuditItem(this.#scratch, key, value));
      const last = items.at(-1);
      full = items.length === ITEMS_PER_TURN;
      // The smallest key that is greater than the last one.
      if (last) start = Buffer.concat([last.key, Buffer.alloc(1)]);
      await nextTurn();
    }
  }

  stats(): LogStats {
    const trees = [this.#records, this.#audit].map((database) => this.#statsOf(database));
    const { root, free } = this.#root.getStats() as { root: Stats; free: Stats };
    const pages = [...trees, root, free].map(
      ({ treeBranchPageCount, treeLeafPageCount, overflowPages }) =>
        treeBranchPageCount + treeLeafPageCount + overflowPages,
    );
    return {
      segments: 1,
      usedBytes: (META_PAGES + pages.reduce((sum, count) => sum + count, 0)) * root.pageSize,
      fileBytes: statSync(this.#path).size,
    };
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  #lacksRoom(group: SealedGroup): boolean {
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    const needed = group.records.reduce((sum, { length }) => sum + length, TREE_BYTES);
    return bavail * bsize < needed + this.#reserveBytes;
  }

  /**
   * A failed commit is `not-written` if the cause is a lack of room and a fresh read shows that the group is not
   * there. That is sure: what makes a transaction visible is its meta page, LMDB writes that last, and where the
   * write of the meta page itself fails every later read throws MDB_PANIC. Nor does a failed flush leave a trap: a
   * repeated append writes and flushes all of its pages anew. With any other cause the device is not to be trusted.
   */
  #wasNotWritten(error: unknown, group: SealedGroup): boolean {
    const code = (error as { code?: unknown } | undefined)?.code;
    try {
      if (code === EIO ? !this.#lacksRoom(group) : !NO_ROOM.has(code)) return false;
      this.#root.resetReadTxn();
      return group.records.every((_, index) => this.#records.get(recordKey(group.firstRecord + index)) === undefined);
    } catch {
      // MDB_PANIC: the state of the meta page is unknown.
      return false;
    }
  }

  /** Reads; a page that LMDB can't make sense of is corruption. */
  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw corrupt(`LMDB could not read its own pages: ${error instanceof Error ? error.message : error}.`, error);
    }
  }

  #statsOf(database: Database<Uint8Array, Uint8Array>): Stats {
    return database.getStats() as Stats;
  }
}

interface Databases {
  readonly root: RootDatabase<Uint8Array, Uint8Array>;
  readonly records: Database<Uint8Array, Uint8Array>;
  readonly audit: Database<Uint8Array, Uint8Array>;
}

function openDatabases(path: string, readOnly: boolean): Databases {
  const binary = { encoding: 'binary', keyEncoding: 'binary', cache: false, compression: false } as const;
  try {
    const settings = {
      ...binary,
      path,
      readOnly,
      maxDbs: 2,
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
    const root = open<Uint8Array, Uint8Array>(settings);
    const records: Database<Uint8Array, Uint8Array> | undefined = root.openDB({ ...binary, name: 'records' });
    const audit: Database<Uint8Array, Uint8Array> | undefined = root.openDB({ ...binary, name: 'audit' });
    if (!records || !audit) throw corrupt(`${path} lacks its databases.`);
    return { root, records, audit };
  } catch (error) {
    // The codes of LMDB are negative, those of the system are not.
    const code = (error as { code?: unknown }).code;
    throw typeof code === 'number' && code < 0 ? corrupt(`LMDB could not open ${path}.`, error) : error;
  }
}

/** Big-endian, so that records lie in the order of their numbers. */
function recordKey(number: number): Uint8Array {
  const key = Buffer.alloc(8);
  key.writeBigUInt64BE(BigInt(number));
  return key;
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

function notWritten(cause: unknown): AppendOutcome {
  return { kind: 'not-written', error: new TallystickError('STORAGE_FULL', undefined, { cause }) };
}

function failed(cause: unknown): TallystickError {
  const detail = cause instanceof Error ? `The log could not be written: ${cause.message}.` : undefined;
  return new TallystickError('STORAGE_FAILED', detail, { cause });
}
