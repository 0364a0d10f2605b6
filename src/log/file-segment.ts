import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writevSync,
} from 'node:fs';
import { type FileHandle, open, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { AHEAD_BYTES } from './ahead.js';
import { lacksRoom, notWritten, saysNoRoom, unknown } from './append-outcome.js';
import { AUDIT_SCRATCH_BYTES, decodeAuditItem, encodeAuditItem } from './audit.js';
import { decodeBegin, encodeBegin } from './begin.js';
import { ChecksummedBuffer } from './checksum.js';
import {
  BLOCK_BYTES,
  blocksOf,
  decodeFileHeader,
  decodeFrameHeader,
  encodeFileHeader,
  encodeFrameHead,
  FILE_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  isWholeHead,
  itemsOf,
  recordLengths,
} from './frame.js';
import type { AppendOutcome, LogPlace, SealedGroup } from './log.js';
import type { AuditItem } from './record.js';
import { corrupt } from './replay.js';
import { DEFAULT_RESERVE_BYTES, ITEMS_PER_TURN, type Segment, type SegmentOptions } from './segment.js';
import { makeSegment, type SegmentFile } from './segment-files.js';

/** What is read of the file at a time, at least. */
const WINDOW_BYTES = 262_144;
/** A file is not called long before this: each group fills up a block. */
const LEAST_LONG_BYTES = 1_048_576;
/** A group from this size on lengthens the file itself; its own bytes take longer than that. */
const LARGE_GROUP_BYTES = 262_144;
/** Of those that are written ahead of small groups, and behind each up to its block. */
const ZEROS = Buffer.alloc(AHEAD_BYTES + BLOCK_BYTES);
/** On Linux a write can be its own flush: one call instead of two. Elsewhere it may mean less than `fdatasync`, which libuv knows. */
const SYNCED_WRITE = process.platform === 'linux' ? constants.O_DSYNC : 0;
const NO_BYTES = Buffer.alloc(0);

/** A group as it goes into the file. */
interface Frame {
  readonly buffers: readonly Uint8Array[];
  /** Where it ends, up to its block. */
  readonly end: number;
  /** Up to where it is written, with the zeros ahead. */
  readonly written: number;
  /** Whether the file is longer then. */
  readonly lengthens: boolean;
}

/**
 * A segment that is a plain file of frames (frame.ts), written by one `pwritev` for a group that is its flush too.
 *
 * A death in the middle of it leaves a part of a frame. That is no damage: the group was not reported flushed, and no frame
 * comes behind it, since each group waits for the one before. Whoever opens the file for writing cuts it off after the last whole
 * frame. A whole frame behind something else is damage, and so is an end before the head mark (head-mark.ts), which is found in
 * the replay: that is how a damaged last frame differs from a torn one.
 */
export class FileSegment implements Segment {
  readonly begin: LogPlace;
  readonly #path: string;
  readonly #descriptor: number;
  /** For writing; undefined where it is only read. */
  readonly #file: FileHandle | undefined;
  readonly #salt: bigint;
  readonly #reserveBytes: number;
  /** Of each frame where it stands, and its first record. There may be a hundred thousand. */
  readonly #positions: number[] = [];
  readonly #firsts: number[] = [];
  #lastRecord: number;
  readonly #scratch = new ChecksummedBuffer(AUDIT_SCRATCH_BYTES);
  /** After the last whole frame. */
  #end: number;
  /** Up to where the file has been written. */
  #allocated = 0;
  #buffer = Buffer.allocUnsafeSlow(WINDOW_BYTES);
  /** What of the file is in `#buffer`. */
  #window = { position: 0, bytes: NO_BYTES };
  /** The frame that was read last: the number of its first record, and where each begins and the last one ends. */
  #current: { first: number; starts: readonly number[] } = { first: 0, starts: [] };

  private constructor(
    path: string,
    descriptor: number,
    file: FileHandle | undefined,
    start: { readonly salt: bigint; readonly begin: LogPlace; readonly bytes: number },
    reserveBytes: number,
  ) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.#file = file;
    this.#salt = start.salt;
    this.begin = start.begin;
    this.#end = start.bytes;
    this.#lastRecord = start.begin.records;
    this.#reserveBytes = reserveBytes;
  }

  static create(directory: string, begin: LogPlace): Promise<SegmentFile> {
    return makeSegment('files', directory, begin.records + 1, (path) => {
      const header = encodeFileHeader(randomBytes(8).readBigUInt64LE(), encodeBegin(begin));
      return writeFile(path, header, { flag: 'wx', mode: 0o600 });
    });
  }

  static async open(path: string, options: SegmentOptions): Promise<FileSegment> {
    if (!existsSync(path)) throw corrupt(`${path} is missing.`);
    const { readOnly = false, isGrowing = false, reserveBytes = DEFAULT_RESERVE_BYTES } = options;
    const descriptor = openSync(path, 'r');
    let file: FileHandle | undefined;
    try {
      const start = readStart(path, descriptor);
      file = readOnly ? undefined : await open(path, constants.O_RDWR | SYNCED_WRITE);
      const segment = new FileSegment(path, descriptor, file, start, reserveBytes);
      segment.#scan();
      if (!isGrowing) segment.#checkRest();
      if (file) segment.#cutOff(file);
      return segment;
    } catch (error) {
      closeSync(descriptor);
      await file?.close();
      throw error;
    }
  }

  get lastRecord(): number {
    return this.#lastRecord;
  }

  isLong(segmentBytes: number): boolean {
    return this.#end >= Math.max(segmentBytes, LEAST_LONG_BYTES);
  }

  async append(group: SealedGroup): Promise<AppendOutcome> {
    const frame = this.#frameOf(group);
    try {
      if (this.#lacksRoom(frame)) return notWritten(undefined);
      await this.#write(frame);
    } catch (error) {
      return failed(error);
    }
    return this.#appended(group, frame);
  }

  appendNow(group: SealedGroup): AppendOutcome | undefined {
    const frame = this.#frameOf(group);
    if (frame.lengthens) return undefined;
    try {
      this.#writeNow(frame);
    } catch (error) {
      return failed(error);
    }
    return this.#appended(group, frame);
  }

  refresh(): void {
    this.#forget();
    // Who writes knows what is there, and that what is on its way does not count yet.
    if (!this.#file) this.#scan();
  }

  record(number: number): Uint8Array | undefined {
    if (!this.#isCurrent(number)) this.#enter(number);
    if (!this.#isCurrent(number)) return undefined;
    const { first, starts } = this.#current;
    const start = starts[number - first] as number;
    return this.#at(start, (starts[number - first + 1] as number) - start);
  }

  async walk(take: (number: number, record: Uint8Array | undefined) => void): Promise<void> {
    this.refresh();
    let walked = 0;
    for (const position of [...this.#positions]) {
      const { firstRecord, records } = this.#headerAt(position);
      for (let number = firstRecord; number < firstRecord + records; number++) {
        take(number, this.record(number));
        if (++walked % ITEMS_PER_TURN === 0) await nextTurn();
      }
    }
  }

  async audit(visit: (item: AuditItem) => void): Promise<void> {
    const items: { key: Buffer; position: number; length: number }[] = [];
    for (const [number, position] of [...this.#positions].entries()) {
      const header = this.#headerAt(position);
      if (header.items > 0) {
        for (const { key, start, end } of itemsOf(this.#at(position, header.headBytes), header)) {
          items.push({ key: Buffer.from(key), position: position + start, length: end - start });
        }
      }
      if (number % ITEMS_PER_TURN === 0) await nextTurn();
    }
    items.sort((a, b) => Buffer.compare(a.key, b.key));
    for (const [number, { key, position, length }] of items.entries()) {
      visit(decodeAuditItem(this.#scratch, key, this.#at(position, length)));
      if (number % ITEMS_PER_TURN === 0) await nextTurn();
    }
  }

  stats(): { readonly usedBytes: number; readonly fileBytes: number } {
    return { usedBytes: this.#end, fileBytes: fstatSync(this.#descriptor).size };
  }

  async close(): Promise<void> {
    closeSync(this.#descriptor);
    if (!this.#file) return;
    // What was written ahead: nobody reads it, and nobody needs it flushed.
    if (this.#allocated > this.#end) await this.#file.truncate(this.#end);
    await this.#file.close();
  }

  /**
   * Takes the frames that follow. A group is written when the one before it is flushed, so only the last one may be there in
   * part; the bodies of the others are for who reads them.
   */
  #scan(): void {
    const { size } = fstatSync(this.#descriptor);
    let last: FrameHeader | undefined;
    let position = this.#end;
    for (let next = this.#frameAt(position, size); next; next = this.#frameAt(this.#end, size)) {
      if (last) this.#take(position, last.firstRecord, last.records);
      position = this.#end;
      last = next;
      this.#end += blocksOf(next.headBytes + next.bodyBytes);
    }
    if (!last) return;
    const isWhole = crc32(this.#at(position + last.headBytes, last.bodyBytes)) === last.bodyCrc;
    if (isWhole) this.#take(position, last.firstRecord, last.records);
    else this.#end = position;
  }

  #take(position: number, firstRecord: number, records: number): void {
    this.#positions.push(position);
    this.#firsts.push(firstRecord);
    this.#lastRecord = firstRecord + records - 1;
  }

  #frameOf(group: SealedGroup): Frame {
    const items = group.audit.map((item) => encodeAuditItem(this.#scratch, item));
    const head = encodeFrameHead(this.#salt, group.firstRecord, group.records, items);
    const bytes = head.length + group.records.reduce((sum, { length }) => sum + length, 0);
    const end = this.#end + blocksOf(bytes);
    const lengthens = end > this.#allocated;
    const written = end + (lengthens && bytes < LARGE_GROUP_BYTES ? AHEAD_BYTES : 0);
    const zeros = ZEROS.subarray(0, written - this.#end - bytes);
    return { buffers: [head, ...group.records, zeros].filter(({ length }) => length > 0), end, written, lengthens };
  }

  /** Asked where the file gets longer. Over what was written ahead nothing is needed, but where files are copied on write: then the write says so. */
  #lacksRoom({ lengthens, written }: Frame): boolean {
    return lengthens && lacksRoom(dirname(this.#path), written - this.#end + this.#reserveBytes);
  }

  #appended({ firstRecord, records }: SealedGroup, { end, written }: Frame): AppendOutcome {
    this.#take(this.#end, firstRecord, records.length);
    this.#end = end;
    this.#allocated = Math.max(this.#allocated, written);
    this.#forget();
    return { kind: 'flushed' };
  }

  /** Writes all of it at the end, and flushes it. */
  async #write({ buffers, written }: Frame): Promise<void> {
    const file = this.#file as FileHandle;
    let left = buffers;
    for (let at = this.#end; at < written; ) {
      const { bytesWritten } = await file.writev(left, at);
      at += bytesWritten;
      if (at < written) left = without(left, bytesWritten);
    }
    if (!SYNCED_WRITE) await file.datasync();
  }

  #writeNow({ buffers, written }: Frame): void {
    const { fd } = this.#file as FileHandle;
    let left = buffers;
    for (let at = this.#end; at < written; ) {
      const bytesWritten = writevSync(fd, left, at);
      at += bytesWritten;
      if (at < written) left = without(left, bytesWritten);
    }
    if (!SYNCED_WRITE) fdatasyncSync(fd);
  }

  /** What a death left behind the last whole frame goes. */
  #cutOff(file: FileHandle): void {
    ftruncateSync(file.fd, this.#end);
    this.#allocated = this.#end;
    this.#forget();
  }

  /** @throws TallystickError LOG_CORRUPT if there is a frame behind the one that is not whole, or behind nothing. */
  #checkRest(): void {
    const { size } = fstatSync(this.#descriptor);
    for (let position = this.#end + BLOCK_BYTES; position < size; position += BLOCK_BYTES) {
      const frame = this.#frameAt(position, size);
      if (frame) throw corrupt(`${this.#path} has record ${frame.firstRecord} behind bytes that are no whole group.`);
    }
  }

  /** What begins as a frame at that position of a file of so many bytes, and has a whole head. */
  #frameAt(position: number, size: number): FrameHeader | undefined {
    if (position + FRAME_HEADER_BYTES > size) return undefined;
    const header = decodeFrameHeader(this.#at(position, FRAME_HEADER_BYTES), this.#salt);
    if (!header || header.headBytes < FRAME_HEADER_BYTES) return undefined;
    if (position + header.headBytes + header.bodyBytes > size) return undefined;
    return isWholeHead(this.#at(position, header.headBytes)) ? header : undefined;
  }

  /** Of a frame that was taken. */
  #headerAt(position: number): FrameHeader {
    return decodeFrameHeader(this.#at(position, FRAME_HEADER_BYTES), this.#salt) as FrameHeader;
  }

  #isCurrent(number: number): boolean {
    const { first, starts } = this.#current;
    return number >= first && number < first + starts.length - 1;
  }

  /** Makes the frame current in which that record is, if it is anywhere. */
  #enter(number: number): void {
    const index = lastIndexUpTo(this.#firsts, number);
    const position = this.#positions[index];
    if (position === undefined) return;
    const header = this.#headerAt(position);
    let start = position + header.headBytes;
    const starts = [start];
    for (const length of recordLengths(this.#at(position, header.headBytes), header)) {
      start += length;
      starts.push(start);
    }
    this.#current = { first: header.firstRecord, starts };
  }

  /** What was read before may have changed. */
  #forget(): void {
    this.#window = { position: 0, bytes: NO_BYTES };
  }

  /** Bytes of the file, valid until others are read; fewer where it ends. */
  #at(position: number, length: number): Buffer {
    const { position: from, bytes } = this.#window;
    if (position < from || position + length > from + bytes.length) this.#read(position, length);
    const offset = position - this.#window.position;
    return this.#window.bytes.subarray(offset, offset + length);
  }

  #read(position: number, length: number): void {
    if (this.#buffer.length < length) this.#buffer = Buffer.allocUnsafeSlow(length);
    const count = readSync(this.#descriptor, this.#buffer, 0, this.#buffer.length, position);
    this.#window = { position, bytes: this.#buffer.subarray(0, count) };
  }
}

/** @throws TallystickError LOG_CORRUPT */
function readStart(path: string, descriptor: number) {
  const { size } = fstatSync(descriptor);
  const read = (position: number, length: number) => {
    const bytes = Buffer.alloc(Math.min(length, Math.max(0, size - position)));
    readSync(descriptor, bytes, 0, bytes.length, position);
    return bytes;
  };
  const header = decodeFileHeader(read(0, FILE_HEADER_BYTES));
  const begin = header && decodeBegin(read(FILE_HEADER_BYTES, header.beginBytes));
  if (!begin) throw corrupt(`${path} does not say whole where it begins.`);
  return { salt: header.salt, begin, bytes: blocksOf(FILE_HEADER_BYTES + header.beginBytes) };
}

/** Of a group without room a part may be there: the same one comes again, to the same place. EIO is a broken device here. */
function failed(error: unknown): AppendOutcome {
  const isFull = saysNoRoom(error, () => false);
  return isFull ? notWritten(error) : unknown('The log could not be written', error);
}

/** The buffers without their first bytes. */
function without(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skipped = bytes;
  return buffers.flatMap((buffer) => {
    const cut = Math.min(skipped, buffer.length);
    skipped -= cut;
    return cut < buffer.length ? [buffer.subarray(cut)] : [];
  });
}

/** The index of the last number that is not greater; -1 for none. The numbers are sorted. */
function lastIndexUpTo(numbers: readonly number[], number: number): number {
  let low = -1;
  let high = numbers.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((numbers[middle] as number) <= number) low = middle;
    else high = middle;
  }
  return low;
}
