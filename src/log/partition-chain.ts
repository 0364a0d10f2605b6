import type { TallystickError } from '../errors.js';
import type { ChecksummedBuffer } from './checksum.js';
import type { ChainHead } from './log.js';
import {
  CONTINUED,
  CONTINUES,
  ENTRY_HEADER_BYTES,
  type EntryHeader,
  type LogEntry,
  RECORD_HEADER_BYTES,
  type RecordHeader,
  readEntryHeader,
} from './record.js';

/** An entry whose body goes on in the next record of its partition. */
interface SplitEntry {
  readonly header: EntryHeader;
  readonly sequence: number;
  /** Of the body, the bytes that have come and those that have not. */
  length: number;
  missing: number;
}

/** Follows the records of one partition from a head on, verifies that they are chained, and hands the entries out whole. */
export class PartitionChain {
  readonly partition: number;
  readonly #visit: (entry: LogEntry) => void;
  #sequence: number;
  #hash: bigint;
  #split: SplitEntry | undefined;
  /** Of the entry that is split. */
  #body = new Uint8Array(0);

  constructor(partition: number, { sequence, hash }: ChainHead, visit: (entry: LogEntry) => void) {
    this.partition = partition;
    this.#visit = visit;
    this.#sequence = sequence;
    this.#hash = hash;
  }

  get head(): ChainHead {
    return { sequence: this.#sequence, hash: this.#hash };
  }

  /** The sequence of the entry that is not whole yet. */
  get split(): number | undefined {
    return this.#split?.sequence;
  }

  /**
   * Takes the next record of the partition: the bytes from the start of the buffer, whose checksum holds.
   *
   * @param fail makes the error of what it is told, the end of a sentence about the record
   */
  record(buffer: ChecksummedBuffer, header: RecordHeader, fail: (what: string) => TallystickError): void {
    if (header.previousHash !== this.#hash) throw fail('its hash of the previous record differs');
    if (header.firstSequence !== this.#sequence + 1) throw fail(`its sequence should be ${this.#sequence + 1}`);
    if (((header.flags & CONTINUES) !== 0) !== (this.#split !== undefined)) throw fail('its first entry is not whole');
    this.#payload(buffer, header, fail);
    this.#hash = buffer.xxh64(0, RECORD_HEADER_BYTES + header.payloadLength);
  }

  /** Walks the payload: the rest of a split entry, then the entries that begin here. */
  #payload(buffer: ChecksummedBuffer, header: RecordHeader, fail: (what: string) => TallystickError): void {
    const end = RECORD_HEADER_BYTES + header.payloadLength;
    let offset = RECORD_HEADER_BYTES;
    if (this.#split) {
      const piece = Math.min(end - offset, this.#split.missing);
      this.#takePiece(this.#split, buffer.bytes.subarray(offset, offset + piece));
      offset += piece;
    }
    for (let begun = 0; begun < header.entries; begun++) {
      if (this.#split || end - offset < ENTRY_HEADER_BYTES) throw fail('it is too short for its entries');
      const entry = readEntryHeader(buffer.view, offset);
      if (!entry) throw fail('the reserved bytes of an entry are not 0');
      const { bodyLength } = entry;
      const sequence = ++this.#sequence;
      offset += ENTRY_HEADER_BYTES;
      const bodyEnd = offset + bodyLength;
      if (bodyEnd <= end) {
        this.#hand(entry, sequence, buffer.bytes.subarray(offset, bodyEnd));
      } else {
        this.#split = { header: entry, sequence, length: 0, missing: bodyLength };
        this.#takePiece(this.#split, buffer.bytes.subarray(offset, end));
      }
      offset = Math.min(bodyEnd, end);
    }
    if (offset !== end) throw fail('it is longer than its entries');
    if (((header.flags & CONTINUED) !== 0) !== (this.#split !== undefined)) throw fail('its last entry is not whole');
  }

  #takePiece(split: SplitEntry, piece: Uint8Array): void {
    const length = split.length + piece.length;
    if (length > this.#body.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#body.length));
      grown.set(this.#body.subarray(0, split.length));
      this.#body = grown;
    }
    this.#body.set(piece, split.length);
    split.length = length;
    split.missing -= piece.length;
    if (split.missing > 0) return;
    this.#split = undefined;
    this.#hand(split.header, split.sequence, this.#body.subarray(0, length));
  }

  /** Field by field: the rest of an object, and what spreads that, take the engine ten times as long. */
  #hand(header: EntryHeader, sequence: number, body: Uint8Array): void {
    const { kind, flags, producer, incarnation, milliseconds } = header;
    this.#visit({ kind, flags, producer, incarnation, milliseconds, partition: this.partition, sequence, body });
  }
}
