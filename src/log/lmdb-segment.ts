import { existsSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { unknown } from './append-outcome.js';
import { AUDIT_SCRATCH_BYTES, decodeAuditItem, encodeAuditItem } from './audit.js';
import { decodeBegin, encodeBegin } from './begin.js';
import { ChecksummedBuffer } from './checksum.js';
import { LmdbEnvironment, type Transaction } from './lmdb.js';
import { LmdbReader, type LmdbRow, ValueRoom } from './lmdb-reader.js';
import type { AppendOutcome, LogPlace, SealedGroup } from './log.js';
import { type AuditItem, RECORD_BYTES } from './record.js';
import { corrupt } from './replay.js';
import { DEFAULT_RESERVE_BYTES, ITEMS_PER_TURN, type Segment, type SegmentOptions } from './segment.js';
import { makeSegment, type SegmentFile } from './segment-files.js';

const DATABASES = ['begin', 'records', 'audit'];
const [BEGIN, RECORDS, AUDIT] = [0, 1, 2] as const;
const BEGIN_KEY = Buffer.alloc(1);
const READ_ONLY = unknown('The log was not continued', 'it is open for reading alone');

/** Records that are read at a time, and their bytes. */
const ROW = 64;
const ROW_BYTES = 16 * 65_536;

/** A segment that is an LMDB environment. A group is one transaction, so it is there whole or not at all. */
export class LmdbSegment implements Segment {
  readonly begin: LogPlace;
  readonly #reader: LmdbReader;
  /** Only of the writer. */
  readonly #environment: LmdbEnvironment | undefined;
  readonly #isGrowing: boolean;
  readonly #scratch = new ChecksummedBuffer(AUDIT_SCRATCH_BYTES);
  #lastRecord: number;
  /** Of the last record of the group that is being written. */
  #copy: Uint8Array | undefined;
  /** Records that were read together, and the number of the first. */
  #row: { readonly first: number; readonly rows: readonly LmdbRow[] } = { first: 0, rows: [] };
  /** Of the records of the row. */
  #room: ValueRoom | undefined;

  private constructor(reader: LmdbReader, environment: LmdbEnvironment | undefined, isGrowing: boolean) {
    this.#reader = reader;
    this.#environment = environment;
    this.#isGrowing = isGrowing;
    const stored = reader.get(BEGIN, BEGIN_KEY);
    const begin = stored && decodeBegin(stored);
    if (!begin) throw corrupt(`The segment does not say whole where it begins.`);
    this.begin = begin;
    this.#lastRecord = begin.records + reader.count(RECORDS);
  }

  static create(directory: string, begin: LogPlace): Promise<SegmentFile> {
    return makeSegment('lmdb', directory, begin.records + 1, async (path) => {
      const environment = new LmdbEnvironment(path, DATABASES, { unsynced: true, reserveBytes: 0 });
      try {
        environment.database(BEGIN).putSync(BEGIN_KEY, encodeBegin(begin));
      } finally {
        await environment.close();
      }
    });
  }

  static async open(path: string, options: SegmentOptions): Promise<LmdbSegment> {
    if (!existsSync(path)) throw corrupt(`${path} is missing.`);
    const { readOnly = false, isGrowing = false, reserveBytes = DEFAULT_RESERVE_BYTES } = options;
    const writing = { reserveBytes, writesAhead: true };
    const environment = readOnly ? undefined : new LmdbEnvironment(path, DATABASES, writing);
    let reader: LmdbReader | undefined;
    try {
      reader = LmdbReader.open(path, DATABASES);
      return new LmdbSegment(reader, environment, isGrowing);
    } catch (error) {
      reader?.close();
      await environment?.close();
      throw error;
    }
  }

  /** Small groups share its pages. */
  isLong(): boolean {
    return false;
  }

  async append(group: SealedGroup): Promise<AppendOutcome> {
    return this.#environment?.commit(this.#transactionOf(group, this.#environment)) ?? READ_ONLY;
  }

  appendNow(group: SealedGroup): AppendOutcome | undefined {
    const environment = this.#environment;
    return environment ? environment.commitNow(this.#transactionOf(group, environment)) : READ_ONLY;
  }

  #transactionOf(group: SealedGroup, environment: LmdbEnvironment): Transaction {
    const records = environment.database(RECORDS);
    const audit = environment.database(AUDIT);
    const last = group.records.length - 1;
    const items = group.audit.map((item) => encodeAuditItem(this.#scratch, item));
    return {
      bytes: group.records.reduce((sum, { length }) => sum + length, 0),
      change: () => {
        group.records.forEach((record, index) => {
          const value = index === last ? this.#copied(record) : record;
          void records.put(recordKey(group.firstRecord + index), value);
        });
        for (const { key, value } of items) void audit.put(key, value);
      },
      isAbsent: () => group.records.every((_, index) => !records.get(recordKey(group.firstRecord + index))),
    };
  }

  /** lmdb-js 3.5.6 keeps the value that was put last until the next transaction, and with it would keep the memory of the group. */
  #copied(record: Uint8Array): Uint8Array {
    this.#copy ??= new Uint8Array(RECORD_BYTES);
    this.#copy.set(record);
    return this.#copy.subarray(0, record.length);
  }

  get lastRecord(): number {
    return this.#lastRecord;
  }

  refresh(): void {
    this.#lastRecord = this.begin.records + this.#reader.count(RECORDS);
    this.#row = { first: 0, rows: [] };
  }

  record(number: number): Uint8Array | undefined {
    const at = number - this.#row.first;
    if (at >= 0 && at < this.#row.rows.length) return this.#row.rows[at]?.value;
    this.#row = { first: 0, rows: [] }; // should the range throw, what was in the room is gone
    this.#room ??= new ValueRoom(ROW_BYTES);
    const rows = this.#reader.range(RECORDS, { start: recordKey(number), limit: ROW, room: this.#room });
    const isNext = ({ key }: LmdbRow, index: number) => Buffer.compare(key, recordKey(number + index)) === 0;
    const gap = rows.findIndex((row, index) => !isNext(row, index));
    this.#row = { first: number, rows: gap < 0 ? rows : rows.slice(0, gap) };
    return this.#row.rows[0]?.value;
  }

  async walk(take: (number: number, record: Uint8Array | undefined) => void): Promise<void> {
    this.refresh();
    const last = this.lastRecord;
    // There are as many keys as numbers, and each number is one of them: so there are no others.
    for (let number = this.begin.records + 1; number <= last; number++) {
      take(number, this.record(number));
      if (number % ITEMS_PER_TURN === 0) await nextTurn();
    }
    if (!this.#isGrowing && this.record(last + 1))
      throw corrupt(`The segment counts records up to ${last}, but has more.`);
  }

  async audit(visit: (item: AuditItem) => void): Promise<void> {
    let start: Uint8Array = Buffer.alloc(1);
    for (let full = true; full; ) {
      const items = this.#reader.range(AUDIT, { start, limit: ITEMS_PER_TURN });
      for (const { key, value } of items) visit(decodeAuditItem(this.#scratch, key, value));
      const last = items.at(-1);
      full = items.length === ITEMS_PER_TURN;
      // The smallest key that is greater than the last one.
      if (last) start = Buffer.concat([last.key, Buffer.alloc(1)]);
      await nextTurn();
    }
  }

  stats(): { readonly usedBytes: number; readonly fileBytes: number } {
    return this.#reader.stats();
  }

  async close(): Promise<void> {
    this.#reader.close();
    await this.#environment?.close();
  }
}

/** Big-endian, so that records lie in the order of their numbers. */
function recordKey(number: number): Uint8Array {
  const key = Buffer.alloc(8);
  key.writeBigUInt64BE(BigInt(number));
  return key;
}
