import { createHash } from 'node:crypto';
import { TallystickError } from '../errors.js';
import {
  CHECKPOINT_PAGE_BYTES,
  type CheckpointManifest,
  decodeManifest,
  encodeManifest,
  PageVerifier,
} from '../log/checkpoint.js';
import { ChecksummedBuffer } from '../log/checksum.js';

/**
 * A backup: the state of every partition of a directory, in one file. All numbers little-endian.
 *
 * ```
 *  0       4        8        10        12           16      20             28         32         48
 *  +-------+--------+--------+---------+------------+-------+--------------+----------+----------+
 *  | magic | CRC32C | format | kernel  | partitions | epoch | milliseconds | reserved | secret   |
 *  |  u32  |  u32   |  u16   | version |    u32     |  u32  |     i64      | u32 = 0  | 16 bytes |
 *  |       |        |        |   u16   |            |       |              |          |          |
 *  +-------+--------+--------+---------+------------+-------+--------------+----------+----------+
 *  for each partition                                        at the end
 *  +---------------+----------------+------------------+     +------------------------+
 *  | length of the | manifest       | its pages, from  |     | SHA-256 of all before  |
 *  | manifest u32  | (checkpoint.ts)| the last to the  |     | 32 bytes               |
 *  |               |                | first, 64 KiB    |     |                        |
 *  +---------------+----------------+------------------+     +------------------------+
 * ```
 *
 * CRC32C covers the bytes from 8 to 48. Pages come in the order in which a partition takes them: its header last.
 */
const MAGIC = 0x42_59_4c_54; // "TLYB" in the order of the bytes
const FORMAT = 1;
const HEADER_BYTES = 48;
const SECRET_AT = 32;
const SECRET_BYTES = 16;
const HASH_BYTES = 32;
/** A manifest of the most pages that a partition can have is shorter. */
const MAXIMUM_MANIFEST_BYTES = 1_048_576;

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

  /** The partition's pages follow, from the last to the first. */
  async partition(manifest: CheckpointManifest): Promise<void> {
    const bytes = encodeManifest(manifest);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    await this.#write(length);
    await this.#write(bytes);
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
  #kernelVersion = 0;
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
    const header = decodeHeader(await this.#take(HEADER_BYTES, 'the header'), kernelVersion);
    this.#kernelVersion = kernelVersion;
    return header;
  }

  /** @throws TallystickError BACKUP_INVALID */
  async partition(): Promise<CheckpointManifest> {
    const length = Buffer.from(await this.#take(4, 'the length of a manifest')).readUInt32LE();
    if (length > MAXIMUM_MANIFEST_BYTES) throw invalid(`a manifest has ${length} bytes`);
    const bytes = await this.#take(length, 'a manifest');
    if (length < 14) throw invalid(`a manifest has ${length} bytes`);
    return within(() => decodeManifest(bytes, Buffer.from(bytes).readUInt16LE(12), this.#kernelVersion));
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

function decodeHeader(stored: Uint8Array, kernelVersion: number): BackupHeader {
  const bytes = Buffer.from(stored);
  if (bytes.readUInt32LE(0) !== MAGIC) throw invalid('it does not begin like one');
  if (bytes.readUInt32LE(4) !== crc32cOf(bytes.subarray(8))) throw invalid('the CRC32C of its header differs');
  const [format, kernel] = [bytes.readUInt16LE(8), bytes.readUInt16LE(10)];
  if (format !== FORMAT || kernel !== kernelVersion) {
    throw new TallystickError(
      'DIRECTORY_INVALID',
      `The backup has format ${format}, kernel version ${kernel}; this is ${FORMAT} and ${kernelVersion}.`,
    );
  }
  return {
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

/** What the parts of a checkpoint say of damage is damage of the backup here. */
function within<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof TallystickError && error.code === 'LOG_CORRUPT') throw invalid(error.detail, error);
    throw error;
  }
}

function invalid(what: string, cause?: unknown): TallystickError {
  return new TallystickError('BACKUP_INVALID', `${what.replace(/\.$/, '')}.`, { cause });
}
