import { createHash } from 'node:crypto';
import { TallystickError } from '../errors.js';
import { decodeState, encodeState } from '../history/partition-state.js';
import { RowCodec } from '../history/row.js';
import { decodeGone, decodeRows, encodeGone, encodeRows, type GoneCounter } from '../history/row-list.js';
import type { Put } from '../history/tables.js';
import {
  CHECKPOINT_PAGE_BYTES,
  type CheckpointManifest,
  decodeManifest,
  encodeManifest,
  PageVerifier,
} from '../log/checkpoint.js';
import { ChecksummedBuffer } from '../log/checksum.js';

/**
 * A backup: the state and the history of every partition of a directory, in one file. All numbers little-endian.
 *
 * ```
 *  0       4        8        10        12           16      20             28         32         48
 *  +-------+--------+--------+---------+------------+-------+--------------+----------+----------+
 *  | magic | CRC32C | format | kernel  | partitions | epoch | milliseconds | reserved | secret   |
 *  |  u32  |  u32   |  u16   | version |    u32     |  u32  |     i64      | u32 = 0  | 16 bytes |
 *  |       |        |        |   u16   |            |       |              |          |          |
 *  +-------+--------+--------+---------+------------+-------+--------------+----------+----------+
 *  parts                                                at the end
 *  +------+-------+-----------+------------+------+     +------------------------+
 *  | kind | u8    | partition | length u32 | body |     | SHA-256 of all before  |
 *  |  u8  |   = 0 |    u16    |            |      |     | 32 bytes               |
 *  +------+-------+-----------+------------+------+     +------------------------+
 *
 *  kind 1  rows     of the history (src/history/row-list.ts)
 *       2  gone     counters whose rows in the parts before do not count (src/history/row-list.ts)
 *       3  history  up to where it is in and since when it is known (src/history/partition-state.ts): all up to the sequence of the state
 *       4  state    a manifest (checkpoint.ts); its pages follow, from the last to the first, 64 KiB each
 * ```
 *
 * CRC32C covers the bytes from 8 to 48. A partition has any number of parts of kinds 1 and 2, then one of kind 3, and ends with one of kind 4. Rows may lie
 * within each other, and add up. Pages come in the order in which a partition takes them: its header last.
 *
 * Format 1 has no history: for each partition the length of its manifest u32, the manifest and its pages.
 */
const MAGIC = 0x42_59_4c_54; // "TLYB" in the order of the bytes
const FORMAT = 2;
const FORMAT_WITHOUT_HISTORY = 1;
const HEADER_BYTES = 48;
const SECRET_AT = 32;
const SECRET_BYTES = 16;
const HASH_BYTES = 32;
const PART_HEADER_BYTES = 8;
/** A manifest of the most pages that a partition can have is shorter, and so is what is written of a history at a time. */
const MAXIMUM_PART_BYTES = 1_048_576;
/** Where a manifest says its partition. */
const MANIFEST_NUMBER_AT = 12;
const ROWS = 1;
const GONE = 2;
const HISTORY = 3;
const STATE = 4;

export interface BackupHeader {
  readonly kernelVersion: number;
  readonly partitions: number;
  /** Of the directory that it was taken from. */
  readonly epoch: number;
  /** When it was begun: milliseconds since 1970. */
  readonly milliseconds: number;
  /** The directory's: 16 bytes, the key of its index hash. */
  readonly secret: Uint8Array;
}

/** A piece of one partition: its history first, its state last. */
export type BackupPart = { readonly partition: number } & (
  | { readonly kind: 'rows'; readonly rows: readonly Put[] }
  | { readonly kind: 'gone'; readonly counters: readonly GoneCounter[] }
  | { readonly kind: 'history'; readonly sequence: number; readonly since: number }
  | { readonly kind: 'state'; readonly manifest: CheckpointManifest }
);

/** Where a backup is written to. Resolves when there is room for more. */
export type ByteSink = (bytes: Uint8Array) => Promise<void>;

/** Writes a backup, part by part in the order of the file, and hashes it on the way. */
export class BackupWriter {
  readonly #sink: ByteSink;
  readonly #hash = createHash('sha256');
  #bytes = 0;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  header(header: BackupHeader): Promise<void> {
    return this.#write(encodeHeader(header));
  }

  /** Rows of the history of a partition, at most ROWS_BYTES of them. */
  rows(partition: number, rows: readonly Put[]): Promise<void> {
    return this.#part(ROWS, partition, encodeRows(rows));
  }

  /** Counters of which the rows do not count, at most MOST_GONE of them. */
  gone(partition: number, counters: readonly GoneCounter[]): Promise<void> {
    return this.#part(GONE, partition, encodeGone(counters));
  }

  /** All rows up to the sequence of the state are there, of what came from `since` on, in milliseconds since 1970. */
  history(partition: number, sequence: number, since: number): Promise<void> {
    return this.#part(
      HISTORY,
      partition,
      encodeState(partition, { watermark: sequence, items: 0, revision: 0, since }),
    );
  }

  /** The partition's pages follow, from the last to the first. */
  state(manifest: CheckpointManifest): Promise<void> {
    return this.#part(STATE, manifest.partition, encodeManifest(manifest));
  }

  page(bytes: Uint8Array): Promise<void> {
    return this.#write(bytes);
  }

  /** Ends the file. Returns its checksum in hexadecimal. */
  async end(): Promise<string> {
    const digest = this.#hash.digest();
    await this.#sink(digest);
    this.#bytes += digest.length;
    return digest.toString('hex');
  }

  async #part(kind: number, partition: number, body: Uint8Array): Promise<void> {
    const header = Buffer.alloc(PART_HEADER_BYTES);
    header.writeUInt8(kind, 0);
    header.writeUInt16LE(partition, 2);
    header.writeUInt32LE(body.length, 4);
    await this.#write(header);
    await this.#write(body);
  }

  #write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    return this.#sink(bytes);
  }
}

/** Reads a backup from a stream of bytes, however they are cut, and checks every part before it hands it out. */
export class BackupReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #hash = createHash('sha256');
  readonly #verifier = new PageVerifier();
  #held: Uint8Array = new Uint8Array(0);
  readonly #codec = new RowCodec();
  #kernelVersion = 0;
  #format = FORMAT;
  #bytes = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** Bytes read so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @throws TallystickError BACKUP_INVALID; DIRECTORY_INVALID where it was taken by another version */
  async header(kernelVersion: number): Promise<BackupHeader> {
    const { format, ...header } = decodeHeader(await this.#take(HEADER_BYTES, 'the header'), kernelVersion);
    this.#kernelVersion = kernelVersion;
    this.#format = format;
    return header;
  }

  /** The next part. Of a state the pages must be read before the one after it. @throws TallystickError BACKUP_INVALID */
  async part(): Promise<BackupPart> {
    if (this.#format === FORMAT_WITHOUT_HISTORY) {
      const length = lengthOf(Buffer.from(await this.#take(4, 'the length of a manifest')), 0);
      const body = await this.#take(length, 'a manifest');
      return within(() => this.#state(undefined, body));
    }
    const header = Buffer.from(await this.#take(PART_HEADER_BYTES, 'the header of a part'));
    const [kind, zero, partition] = [header.readUInt8(0), header.readUInt8(1), header.readUInt16LE(2)];
    const body = await this.#take(lengthOf(header, 4), 'a part');
    if (zero !== 0) throw invalid('a part begins as none does');
    return within(() => this.#decoded(kind, partition, body));
  }

  /** A page, valid until the next one is read. @throws TallystickError BACKUP_INVALID */
  async page(manifest: CheckpointManifest, index: number): Promise<Uint8Array> {
    const bytes = await this.#take(CHECKPOINT_PAGE_BYTES, `page ${index} of partition ${manifest.partition}`);
    return within(() => this.#verifier.verify(manifest, index, bytes));
  }

  /** Checks the end of the file. Returns its checksum in hexadecimal. @throws TallystickError BACKUP_INVALID */
  async end(): Promise<string> {
    const digest = this.#hash.copy().digest();
    if (!digest.equals(await this.#take(HASH_BYTES, 'the checksum'))) throw invalid('its checksum differs');
    if (this.#held.length > 0 || !(await this.#chunks.next()).done) throw invalid('bytes follow its end');
    return digest.toString('hex');
  }

  #decoded(kind: number, partition: number, body: Uint8Array): BackupPart {
    if (kind === STATE) return this.#state(partition, body);
    if (kind === HISTORY) {
      const { watermark, items, since } = decodeState(partition, body);
      if (items === 0) return { kind: 'history', partition, sequence: watermark, since };
    }
    const rows = kind === ROWS ? decodeRows(body, partition, this.#codec) : undefined;
    if (rows) return { kind: 'rows', partition, rows };
    const counters = kind === GONE ? decodeGone(body) : undefined;
    if (counters) return { kind: 'gone', partition, counters };
    throw invalid(`a part of partition ${partition} says what none can say`);
  }

  #state(partition: number | undefined, body: Uint8Array): BackupPart {
    if (body.length < MANIFEST_NUMBER_AT + 2) throw invalid(`a manifest has ${body.length} bytes`);
    const said = Buffer.from(body).readUInt16LE(MANIFEST_NUMBER_AT);
    const manifest = decodeManifest(body, partition ?? said, this.#kernelVersion);
    return { kind: 'state', partition: manifest.partition, manifest };
  }

  async #take(length: number, what: string): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for (let missing = length; missing > 0; ) {
      if (this.#held.length === 0) {
        const { done, value } = await this.#chunks.next();
        if (done) throw invalid(`it ends within ${what}`);
        this.#held = value;
      }
      const piece = this.#held.subarray(0, missing);
      pieces.push(piece);
      this.#held = this.#held.subarray(piece.length);
      missing -= piece.length;
    }
    const bytes = pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces);
    this.#hash.update(bytes);
    this.#bytes += length;
    return bytes;
  }
}

function encodeHeader({ kernelVersion, partitions, epoch, milliseconds, secret }: BackupHeader): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt16LE(FORMAT, 8);
  bytes.writeUInt16LE(kernelVersion, 10);
  bytes.writeUInt32LE(partitions, 12);
  bytes.writeUInt32LE(epoch, 16);
  bytes.writeBigInt64LE(BigInt(milliseconds), 20);
  bytes.set(secret.subarray(0, SECRET_BYTES), SECRET_AT);
  bytes.writeUInt32LE(crc32cOf(bytes.subarray(8)), 4);
  return bytes;
}

function lengthOf(header: Buffer, at: number): number {
  const length = header.readUInt32LE(at);
  if (length > MAXIMUM_PART_BYTES) throw invalid(`a part has ${length} bytes`);
  return length;
}

function decodeHeader(stored: Uint8Array, kernelVersion: number): BackupHeader & { readonly format: number } {
  const bytes = Buffer.from(stored);
  if (bytes.readUInt32LE(0) !== MAGIC) throw invalid('it does not begin like one');
  if (bytes.readUInt32LE(4) !== crc32cOf(bytes.subarray(8))) throw invalid('the CRC32C of its header differs');
  const [format, kernel] = [bytes.readUInt16LE(8), bytes.readUInt16LE(10)];
  if ((format !== FORMAT && format !== FORMAT_WITHOUT_HISTORY) || kernel !== kernelVersion) {
    throw new TallystickError(
      'DIRECTORY_INVALID',
      `The backup has format ${format}, kernel version ${kernel}; this is ${FORMAT} and ${kernelVersion}.`,
    );
  }
  return {
    format,
    kernelVersion: kernel,
    partitions: bytes.readUInt32LE(12),
    epoch: bytes.readUInt32LE(16),
    milliseconds: Number(bytes.readBigInt64LE(20)),
    secret: Uint8Array.from(bytes.subarray(SECRET_AT, SECRET_AT + SECRET_BYTES)),
  };
}

function crc32cOf(bytes: Uint8Array): number {
  const buffer = new ChecksummedBuffer(bytes.length);
  buffer.bytes.set(bytes);
  return buffer.crc32c(0, bytes.length);
}

/** What the parts of a checkpoint or of a history say of damage is damage of the backup here. */
function within<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const isDamage =
      error instanceof TallystickError && (error.code === 'LOG_CORRUPT' || error.code === 'DATA_DAMAGED');
    if (isDamage) throw invalid(error.detail, error);
    throw error;
  }
}

function invalid(what: string, cause?: unknown): TallystickError {
  return new TallystickError('BACKUP_INVALID', `${what.replace(/\.$/, '')}.`, { cause });
}
