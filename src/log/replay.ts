import { TallystickError } from '../errors.js';
import { ChecksummedBuffer } from './checksum.js';
import type { LogShape, Mark, ReplayEnd } from './log.js';
import {
  CONTINUED,
  CONTINUES,
  ENTRY_HEADER_BYTES,
  type EntryHeader,
  LAST_OF_GROUP,
  type LogEntry,
  RECORD_BYTES,
  RECORD_HEADER_BYTES,
  type RecordHeader,
  readEntryHeader,
  readRecordHeader,
  verifyRecord,
} from './record.js';

/** An entry whose body goes on in the next record of its partition. */
interface SplitEntry {
  readonly header: EntryHeader;
  readonly sequence: number;
  readonly pieces: Uint8Array[];
  missing: number;
}

interface PartitionState {
  sequence: number;
  hash: bigint;
  split: SplitEntry | undefined;
}

/**
 * Takes the records of a log one by one, verifies each and its place, and hands the entries out whole. After it has
 * thrown it is of no use any more.
 */
export class Replay {
  readonly #shape: LogShape;
  readonly #mark: Mark;
  readonly #visit: (entry: LogEntry) => void;
  readonly #buffer = new ChecksummedBuffer(RECORD_BYTES);
  readonly #partitions: ReadonlyMap<number, PartitionState>;
  #records = 0;
  #group = 0;
  #withinGroup = false;
  #entries = 0;
  #bytes = 0;

  constructor(shape: LogShape, mark: Mark, visit: (entry: LogEntry) => void) {
    this.#shape = shape;
    this.#mark = mark;
    this.#visit = visit;
    this.#partitions = new Map(
      shape.partitions.map((partition) => [partition, { sequence: 0, hash: 0n, split: undefined }]),
    );
  }

  /**
   * @param bytes of record `number`; undefined if there is no such record
   * @throws TallystickError LOG_CORRUPT, DIRECTORY_INVALID
   */
  record(number: number, bytes: Uint8Array | undefined): void {
    if (number !== this.#records + 1) throw corrupt(`Record ${this.#records + 1} is missing; ${number} follows.`);
    if (!bytes) throw corrupt(`Record ${number} is missing.`);
    const length = bytes.length;
    if (length <= RECORD_BYTES) this.#buffer.bytes.set(bytes);
    const fault = verifyRecord(this.#buffer, 0, length);
    if (fault) throw corrupt(`Record ${number}${this.#claims(length)}: ${fault}.`);
    const header = readRecordHeader(this.#buffer.view, 0);
    const fail = (what: string) =>
      corrupt(`Record ${number} (partition ${header.partition}, sequence ${header.firstSequence}): ${what}.`);
    const state = this.#checkPlace(header, fail);

    this.#payload(state, header, fail);
    state.hash = this.#buffer.xxh64(0, length);
    this.#records = number;
    this.#bytes += length;
    this.#withinGroup = !has(header, LAST_OF_GROUP);
    this.#group = header.group;
    if (!this.#withinGroup) this.#endGroup(fail);
  }

  /** @throws TallystickError LOG_CORRUPT if the log ends within a group or before the mark. */
  end(): ReplayEnd {
    if (this.#withinGroup) {
      throw corrupt(`The log ends within group ${this.#group}, after record ${this.#records}.`);
    }
    if (this.#group < this.#mark.group) {
      throw corrupt(
        `The log ends with group ${this.#group} (record ${this.#records}), but group ${this.#mark.group} was flushed.`,
      );
    }
    const heads = new Map(
      [...this.#partitions].map(([partition, { sequence, hash }]) => [partition, { sequence, hash }]),
    );
    return { group: this.#group, heads, records: this.#records, entries: this.#entries, bytes: this.#bytes };
  }

  #checkPlace(header: RecordHeader, fail: (what: string) => TallystickError): PartitionState {
    const state = this.#partitions.get(header.partition);
    if (!state) throw fail('its partition is not one of this log');
    if (header.kernelVersion !== this.#shape.kernelVersion) {
      throw new TallystickError(
        'DIRECTORY_INVALID',
        `The log was written by kernel version ${header.kernelVersion}; this is ${this.#shape.kernelVersion}.`,
      );
    }
    const group = this.#withinGroup ? this.#group : this.#group + 1;
    if (header.group !== group) throw fail(`its group is ${header.group} instead of ${group}`);
    if (header.previousHash !== state.hash) throw fail('its hash of the previous record differs');
    if (header.firstSequence !== state.sequence + 1) throw fail(`its sequence should be ${state.sequence + 1}`);
    if (((header.flags & CONTINUES) !== 0) !== (state.split !== undefined)) throw fail('its first entry is not whole');
    return state;
  }

  /** Walks the payload: the rest of a split entry, then the entries that begin here. */
  #payload(state: PartitionState, header: RecordHeader, fail: (what: string) => TallystickError): void {
    const end = RECORD_HEADER_BYTES + header.payloadLength;
    let offset = RECORD_HEADER_BYTES;
    if (state.split) {
      const piece = Math.min(end - offset, state.split.missing);
      this.#takePiece(state, state.split, offset, offset + piece, header.partition);
      offset += piece;
    }
    for (let begun = 0; begun < header.entries; begun++) {
      if (state.split || end - offset < ENTRY_HEADER_BYTES) throw fail('it is too short for its entries');
      const entry = readEntryHeader(this.#buffer.view, offset);
      if (!entry) throw fail('the reserved bytes of an entry are not 0');
      const { bodyLength, ...entryHeader } = entry;
      const sequence = ++state.sequence;
      offset += ENTRY_HEADER_BYTES;
      const bodyEnd = offset + bodyLength;
      if (bodyEnd <= end) {
        this.#hand(entryHeader, header.partition, sequence, this.#buffer.bytes.subarray(offset, bodyEnd));
      } else {
        state.split = { header: entryHeader, sequence, pieces: [], missing: bodyLength };
        this.#takePiece(state, state.split, offset, end, header.partition);
      }
      offset = Math.min(bodyEnd, end);
    }
    if (offset !== end) throw fail('it is longer than its entries');
    if (((header.flags & CONTINUED) !== 0) !== (state.split !== undefined)) throw fail('its last entry is not whole');
  }

  #takePiece(state: PartitionState, split: SplitEntry, start: number, end: number, partition: number): void {
    split.pieces.push(this.#buffer.bytes.slice(start, end));
    split.missing -= end - start;
    if (split.missing > 0) return;
    state.split = undefined;
    this.#hand(split.header, partition, split.sequence, Buffer.concat(split.pieces));
  }

  #hand(header: EntryHeader, partition: number, sequence: number, body: Uint8Array): void {
    this.#entries++;
    this.#visit({ ...header, partition, sequence, body });
  }

  #endGroup(fail: (what: string) => TallystickError): void {
    for (const [partition, { split }] of this.#partitions) {
      if (split) throw fail(`it ends its group, but sequence ${split.sequence} of partition ${partition} is not whole`);
    }
    if (this.#group !== this.#mark.group) return;
    for (const [partition, { sequence, hash }] of this.#partitions) {
      const head = this.#mark.heads.get(partition);
      if (head?.sequence === sequence && head.hash === hash) continue;
      const marked = head
        ? `sequence ${head.sequence}${head.sequence === sequence ? ' with another hash' : ''}`
        : 'nothing';
      throw corrupt(
        `After group ${this.#group} (record ${this.#records}) partition ${partition} is at sequence ${sequence}, ` +
          `but the head mark says ${marked}.`,
      );
    }
  }

  /** What a record that can't be trusted says about its place. */
  #claims(length: number): string {
    if (length <= RECORD_HEADER_BYTES || length > RECORD_BYTES) return '';
    const { partition, firstSequence } = readRecordHeader(this.#buffer.view, 0);
    return ` (it says partition ${partition}, sequence ${firstSequence})`;
  }
}

function has({ flags }: RecordHeader, flag: number): boolean {
  return (flags & flag) !== 0;
}

export function corrupt(detail: string, cause?: unknown): TallystickError {
  return new TallystickError('LOG_CORRUPT', detail, { cause });
}
