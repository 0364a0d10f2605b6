import { createHash } from 'node:crypto';
import { TallystickError } from '../../errors.js';
import { FORMATS, type Recipe } from './plan.js';

/**
 * What the server keeps with the producer for each partition, in the same record as the increments: up to where
 * the input is counted in this partition, of which input, and by which recipe. All of the 64 bytes that it may have:
 *
 *      0         1        2            4        12     20       28         44       52      60     64
 *      +---------+--------+------------+--------+------+--------+----------+--------+-------+------+
 *      | version | format |     0      | counts | sums | wheres | identity | offset | lines | time |
 *      |   u8    |   u8   |    u16     |   8    |  8   |   8    |    16    |  u64   |  u64  |  4   |
 *      +---------+--------+------------+--------+------+--------+----------+--------+-------+------+
 *
 * Offsets are of the decompressed input, so that a log can go on after logrotate has packed it. The identity is
 * the hash of the first 64 KiB, or of what lies before the offset if that is less: it stays true when the log grows. How many partitions
 * there are is not in it, so that an ingest goes on after a repartition.
 */
export const CURSOR_BYTES = 64;
export const HEAD_BYTES = 65_536;
const VERSION = 1;

/** A place between two records. */
export interface Place {
  /** In bytes of the decompressed input. */
  readonly offset: number;
  /** Lines before it. */
  readonly lines: number;
}

export const START: Place = { offset: 0, lines: 0 };

interface Part {
  readonly at: number;
  readonly length: number;
  readonly what: string;
}

const PARTS: readonly Part[] = [
  { at: 1, length: 1, what: '--format' },
  { at: 4, length: 8, what: '--count' },
  { at: 12, length: 8, what: '--sum' },
  { at: 20, length: 8, what: '--where' },
  { at: 60, length: 4, what: '--time' },
];
const IDENTITY = { at: 28, length: 16 };
const OFFSET_AT = 44;
const LINES_AT = 52;

/** Writes and checks the cursors of one run. */
export class Cursors {
  /** A cursor of this run, without identity and place. */
  readonly #blank = Buffer.alloc(CURSOR_BYTES);

  constructor(recipe: Recipe) {
    const { format, counts, sums, sightings, wheres, time } = recipe;
    const seen = sightings.map(({ name, item }) => [name.source, item.source]);
    this.#blank.writeUInt8(VERSION, 0);
    this.#blank.writeUInt8(FORMATS.indexOf(format), 1);
    this.#blank.set(hashOfAll([...counts.map(({ source }) => [source]), ...seen]).subarray(0, 8), 4);
    this.#blank.set(hashOfAll(sums.map(({ template, field }) => [template.source, field])).subarray(0, 8), 12);
    this.#blank.set(hashOfAll(wheres.map(({ field, value }) => [field, value])).subarray(0, 8), 20);
    if (time !== undefined) this.#blank.set(hashOfAll([[time]]).subarray(0, 4), 60);
  }

  /** @param head the first bytes of the input: at least what lies before the place, or HEAD_BYTES */
  encode(place: Place, head: Buffer): Uint8Array {
    const cursor = Buffer.from(this.#blank);
    cursor.set(identity(head, place.offset), IDENTITY.at);
    cursor.writeBigUInt64LE(BigInt(place.offset), OFFSET_AT);
    cursor.writeBigUInt64LE(BigInt(place.lines), LINES_AT);
    return cursor;
  }

  /** @throws TallystickError INPUT_CHANGED if the cursor is of another recipe, saying what differs */
  decode(bytes: Uint8Array): Place {
    const cursor = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (cursor.length !== CURSOR_BYTES || cursor[0] !== VERSION)
      throw new TallystickError('INPUT_CHANGED', 'The producer was used by something else than this ingest.');
    const differs = PARTS.filter(({ at, length }) => !slice(cursor, at, length).equals(slice(this.#blank, at, length)));
    if (differs.length > 0) {
      const what = differs.map((part) => part.what).join(', ');
      throw new TallystickError('INPUT_CHANGED', `The producer began with other options; what differs: ${what}.`);
    }
    const offset = Number(cursor.readBigUInt64LE(OFFSET_AT));
    return { offset, lines: Number(cursor.readBigUInt64LE(LINES_AT)) };
  }

  /** @throws TallystickError INPUT_CHANGED if the cursor is of an input that begins with other bytes */
  checkIdentity(bytes: Uint8Array, { offset }: Place, head: Buffer): void {
    if (head.length < Math.min(offset, HEAD_BYTES)) throw inputShorter(offset);
    const kept = Buffer.from(bytes.subarray(IDENTITY.at, IDENTITY.at + IDENTITY.length));
    if (!kept.equals(identity(head, offset)))
      throw new TallystickError(
        'INPUT_CHANGED',
        'This is not the input that the producer began with: its first bytes differ. Was the log rotated?',
      );
  }
}

export function inputShorter(offset: number): TallystickError {
  const detail = `The input is shorter than the ${offset} bytes of it that this producer has counted.`;
  return new TallystickError('INPUT_CHANGED', detail);
}

/** A line was counted while it was the last one, without a line end, and has grown since: that can't be taken back. */
export function lineGrown(offset: number): TallystickError {
  const detail = `This producer has counted the input up to byte ${offset}, which is now in the middle of a line.`;
  return new TallystickError('INPUT_CHANGED', detail);
}

function identity(head: Buffer, offset: number): Buffer {
  const begin = head.subarray(0, Math.min(offset, HEAD_BYTES));
  return createHash('sha256').update(begin).digest().subarray(0, IDENTITY.length);
}

/** In any order, since the order of options changes no count. */
function hashOfAll(options: readonly (readonly string[])[]): Buffer {
  const sorted = options.map((option) => JSON.stringify(option)).sort();
  return createHash('sha256').update(JSON.stringify(sorted)).digest();
}

const slice = (bytes: Buffer, at: number, length: number): Buffer => bytes.subarray(at, at + length);
