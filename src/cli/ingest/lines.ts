/** Finds the "\n" that ends the record which begins at `from`, or -1 if it is not in these bytes. */
export type RecordEnd = (bytes: Buffer, from: number) => number;

/** A longer record is given up as unusable, so that memory stays constant whatever the input. In bytes. */
export const MAX_RECORD_BYTES = 1 << 20;

const LF = 0x0a;
const CR = 0x0d;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

export const lineEnd: RecordEnd = (bytes, from) => bytes.indexOf(LF, from);

/**
 * Cuts a stream of bytes into records: `push` a chunk, then call `nextRecord` until it is false, and at the end of
 * the stream `finish` and drain once more. The current record is the bytes `start` to `end` of `bytes`,
 * without its "\n" or "\r\n" and without the byte order mark that a stream may begin with; it is valid until the next call. Nothing is decoded, nothing allocated for a record.
 *
 * What the records are depends on the stream alone, never on where its chunks end: a resumed run sees the same.
 */
export class RecordSplitter {
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  /** Offset in the stream of the record's first byte. */
  offset: number;
  /** Offset behind the record and its line end: where the next one begins. */
  next: number;
  /** Offset behind the record without its line end. */
  contentEnd: number;
  /** How many lines the record takes; more than one only where a record may hold line ends. */
  lines = 0;
  /** The record is over the limit and `start` to `end` is empty. */
  tooLong = false;

  readonly #findEnd: RecordEnd;
  readonly #limit: number;
  /** Offset in the stream of `bytes[0]`. */
  #base: number;
  /** Where in `bytes` the next record begins. */
  #position = 0;
  /** Within an overlong record, whose bytes are let go as they come. */
  #discarding = false;
  #discardedLines = 0;
  #finished = false;

  constructor(findEnd: RecordEnd, offset = 0, limit = MAX_RECORD_BYTES) {
    this.#findEnd = findEnd;
    this.#limit = limit;
    this.#base = offset;
    this.offset = offset;
    this.next = offset;
    this.contentEnd = offset;
  }

  push(chunk: Buffer): void {
    const rest = this.bytes.subarray(this.#position);
    this.#base += this.#position;
    this.#position = 0;
    this.bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
  }

  /** The stream has ended: what is left is a record too, although no line end follows it. */
  finish(): void {
    this.#finished = true;
  }

  nextRecord(): boolean {
    if (this.#discarding) return this.#endDiscarded();
    const from = this.#position;
    const end = this.#findEnd(this.bytes, from);
    if (end >= 0 && end - from <= this.#limit) return this.#take(end, end + 1);
    if (this.bytes.length - from > this.#limit) return this.#discardOverlong();
    if (!this.#finished || from === this.bytes.length) return false;
    return this.#take(this.bytes.length, this.bytes.length);
  }

  #take(end: number, next: number): boolean {
    const from = this.#position;
    this.start = from;
    this.end = end > from && this.bytes[end - 1] === CR ? end - 1 : end;
    this.offset = this.#base + from;
    if (this.offset === 0 && this.bytes.subarray(0, 3).equals(BYTE_ORDER_MARK)) this.start = Math.min(3, this.end);
    this.next = this.#base + next;
    this.contentEnd = this.#base + this.end;
    this.lines = this.#findEnd === lineEnd ? 1 : 1 + countLineEnds(this.bytes, from, end);
    this.tooLong = false;
    this.#position = next;
    return true;
  }

  /** An overlong record ends at the first "\n" that lies at least `limit` bytes behind its start. */
  #discardOverlong(): boolean {
    const from = this.#position;
    this.offset = this.#base + from;
    this.#position = from + this.#limit;
    this.#discarding = true;
    this.#discardedLines = countLineEnds(this.bytes, from, this.#position);
    return this.#endDiscarded();
  }

  #endDiscarded(): boolean {
    const end = this.bytes.indexOf(LF, this.#position);
    if (end < 0) {
      this.#position = this.bytes.length;
      if (!this.#finished) return false;
    } else {
      this.#position = end + 1;
    }
    this.start = this.#position;
    this.end = this.#position;
    this.next = this.#base + this.#position;
    this.contentEnd = end < 0 ? this.next : this.next - 1;
    this.lines = this.#discardedLines + 1;
    this.tooLong = true;
    this.#discarding = false;
    return true;
  }
}

function countLineEnds(bytes: Buffer, from: number, to: number): number {
  let count = 0;
  for (let at = bytes.indexOf(LF, from); at >= 0 && at < to; at = bytes.indexOf(LF, at + 1)) count += 1;
  return count;
}
