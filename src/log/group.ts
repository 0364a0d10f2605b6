import { copyBytes } from '../copy.js';
import { TallystickError } from '../errors.js';
import { AUDIT_VALUE_BYTES } from './audit.js';
import { ChecksummedBuffer } from './checksum.js';
import type { ChainHead, LogPlace, LogShape, SealedGroup } from './log.js';
import {
  type AuditItem,
  CONTINUED,
  CONTINUES,
  ENTRY_HEADER_BYTES,
  type EntryHeader,
  LAST_OF_GROUP,
  RECORD_HEADER_BYTES,
  RECORD_PAYLOAD_BYTES,
  sealRecord,
  writeEntryHeader,
} from './record.js';

const CHUNK_BYTES = 65_536;
export const DEFAULT_GROUP_BYTES = 4 * 1_048_576;
/** An empty group must take the entry of a frame of 1 MiB, 17 chunks, and have one more, so that a lane can keep that much room free. */
const MINIMUM_CHUNKS = 18;

/** The growing ends of a log: the numbers of what comes next, and the hashes that it is chained to. */
export class Chain {
  readonly kernelVersion: number;
  readonly heads: Map<number, ChainHead>;
  records: number;
  group: number;
  bytes: number;

  constructor(shape: LogShape, end: LogPlace) {
    this.kernelVersion = shape.kernelVersion;
    this.heads = new Map(end.heads);
    this.records = end.records;
    this.group = end.group;
    this.bytes = end.bytes;
  }

  /** Where the log ends with what has been sealed. */
  get place(): LogPlace {
    return { group: this.group, records: this.records, bytes: this.bytes, heads: new Map(this.heads) };
  }
}

/** A record in the making. It lies in one chunk of the group's buffer. */
interface OpenRecord {
  readonly offset: number;
  readonly partition: number;
  readonly firstSequence: number;
  payloadLength: number;
  entries: number;
  flags: number;
}

/**
 * Entries that wait for one group commit, as records in a buffer of bounded length. Each partition has one open
 * record; a record that is full is sealed at once, so that little is left to compute when the group is. It is used
 * again after `reset`, which must wait until the storage has answered: it reads the buffer until then.
 *
 * Groups of one chain are filled one after the other: the earlier one is sealed before the first append to the next.
 */
export class Group {
  /** Made when the first entry comes. */
  #buffer: ChecksummedBuffer | undefined;
  readonly #chunks: number;
  readonly #chain: Chain;
  /** By partition. */
  readonly #open: (OpenRecord | undefined)[] = [];
  #records: Uint8Array[] = [];
  #audit: AuditItem[] = [];
  #chunksUsed = 0;
  #entries = 0;

  constructor(chain: Chain, bytes: number = DEFAULT_GROUP_BYTES) {
    this.#chunks = Math.max(MINIMUM_CHUNKS, Math.floor(bytes / CHUNK_BYTES));
    this.#chain = chain;
  }

  /** The entries in it. */
  get entries(): number {
    return this.#entries;
  }

  /** Bytes of its records, as far as they are begun. */
  get usedBytes(): number {
    return this.#chunksUsed * CHUNK_BYTES;
  }

  /** Bytes of memory that it has, however full: none before its first entry, and none once it is released. */
  get memoryBytes(): number {
    return this.#buffer ? this.#chunks * CHUNK_BYTES : 0;
  }

  /** Whether an entry with a body of that many bytes has room. */
  fits(partition: number, bodyBytes: number): boolean {
    const open = this.#open[partition];
    const room = open ? RECORD_PAYLOAD_BYTES - open.payloadLength : 0;
    const usable = room < ENTRY_HEADER_BYTES ? 0 : room;
    const free = (this.#chunks - this.#chunksUsed) * RECORD_PAYLOAD_BYTES;
    return ENTRY_HEADER_BYTES + bodyBytes <= usable + free;
  }

  /**
   * Copies an entry in; its body is `body` followed by `tail`. The sequences of a partition must be passed without a
   * gap.
   *
   * @throws TallystickError OVERLOADED if it does not fit.
   */
  append(partition: number, sequence: number, header: EntryHeader, body: Uint8Array, tail?: Uint8Array): void {
    const bodyLength = body.length + (tail?.length ?? 0);
    if (!this.fits(partition, bodyLength)) {
      throw new TallystickError('OVERLOADED', 'The open group of the log is full.');
    }
    let record = this.#open[partition];
    if (record && RECORD_PAYLOAD_BYTES - record.payloadLength < ENTRY_HEADER_BYTES) {
      this.#seal(record, 0);
      record = undefined;
    }
    record ??= this.#begin(partition, sequence, 0);
    writeEntryHeader(this.#memory.view, endOf(record), header, bodyLength);
    record.payloadLength += ENTRY_HEADER_BYTES;
    record.entries++;
    record = this.#write(record, sequence, body);
    if (tail) this.#write(record, sequence, tail);
    this.#entries++;
  }

  /** Adds an item, whose bytes must stay as they are until the group is reset. */
  addAudit(item: AuditItem): void {
    if (item.value.length > AUDIT_VALUE_BYTES) {
      throw new TallystickError('INVALID_ARGUMENT', `An audit item has at most ${AUDIT_VALUE_BYTES} bytes.`);
    }
    this.#audit.push(item);
  }

  /** Finishes its records. It must have entries, and takes no more until it is reset. */
  seal(): SealedGroup {
    const open = this.#open.filter((record) => record !== undefined);
    open.forEach((record, index) => {
      this.#seal(record, index === open.length - 1 ? LAST_OF_GROUP : 0);
    });
    this.#chain.group++;
    const end = this.#chain.place;
    return {
      group: end.group,
      heads: end.heads,
      firstRecord: end.records - this.#records.length + 1,
      records: this.#records,
      end,
      entries: this.#entries,
      audit: this.#audit,
    };
  }

  /** Gives its memory back. It must have no entries, and what was sealed before must be answered: records are views of it. */
  releaseMemory(): void {
    this.#buffer = undefined;
  }

  reset(): void {
    this.#open.fill(undefined);
    this.#records = [];
    this.#audit = [];
    this.#chunksUsed = 0;
    this.#entries = 0;
  }

  get #memory(): ChecksummedBuffer {
    this.#buffer ??= new ChecksummedBuffer(this.#chunks * CHUNK_BYTES);
    return this.#buffer;
  }

  #write(start: OpenRecord, sequence: number, bytes: Uint8Array): OpenRecord {
    let record = start;
    for (let position = 0; position < bytes.length; ) {
      if (record.payloadLength === RECORD_PAYLOAD_BYTES) {
        this.#seal(record, CONTINUED);
        record = this.#begin(record.partition, sequence + 1, CONTINUES);
      }
      const end = Math.min(bytes.length, position + RECORD_PAYLOAD_BYTES - record.payloadLength);
      const isWhole = end - position === bytes.length;
      copyBytes(this.#memory.bytes, isWhole ? bytes : bytes.subarray(position, end), endOf(record));
      record.payloadLength += end - position;
      position = end;
    }
    return record;
  }

  #begin(partition: number, firstSequence: number, flags: number): OpenRecord {
    const offset = this.#chunksUsed++ * CHUNK_BYTES;
    const record = { offset, partition, firstSequence, payloadLength: 0, entries: 0, flags };
    this.#open[partition] = record;
    return record;
  }

  #seal(record: OpenRecord, flags: number): void {
    const { offset, partition, firstSequence, payloadLength, entries } = record;
    const chain = this.#chain;
    const hash = sealRecord(this.#memory, offset, {
      previousHash: chain.heads.get(partition)?.hash ?? 0n,
      firstSequence,
      payloadLength,
      partition,
      kernelVersion: chain.kernelVersion,
      flags: record.flags | flags,
      entries,
      group: chain.group + 1,
    });
    chain.heads.set(partition, { sequence: firstSequence + entries - 1, hash });
    chain.records++;
    chain.bytes += RECORD_HEADER_BYTES + payloadLength;
    this.#open[partition] = undefined;
    this.#records.push(this.#memory.bytes.subarray(offset, offset + RECORD_HEADER_BYTES + payloadLength));
  }
}

function endOf(record: OpenRecord): number {
  return record.offset + RECORD_HEADER_BYTES + record.payloadLength;
}
