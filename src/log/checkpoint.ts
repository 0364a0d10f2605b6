import { TallystickError } from '../errors.js';
import { ChecksummedBuffer } from './checksum.js';
import type { AppendOutcome, PartitionPlace } from './log.js';
import { corrupt } from './replay.js';

/**
 * Checkpoints: for each partition of a lane the pages of its persistent state at some place of the log, and a manifest that
 * names them. A page is written once, under the generation of its checkpoint, and shared by the later ones until it changes.
 *
 * Manifest, all numbers little-endian:
 *
 * ```
 *  0       4        8        10        12          14        16           20      24      32        40
 *  +-------+--------+--------+---------+-----------+---------+------------+-------+-------+---------+------- - -
 *  | magic | CRC32C | format | kernel  | partition | u16 = 0 | generation | pages | group | records | bytes
 *  |  u32  |  u32   |  u16   | version |    u16    |         |    u32     |  u32  |  u64  |   u64   |  u64
 *  |       |        |        |   u16   |           |         |            |       |       |         |
 *  +-------+--------+--------+---------+-----------+---------+------------+-------+-------+---------+------- - -
 *  48         56     64             72
 *  +----------+------+--------------+----------------------------------------- - -
 *  | sequence | hash | milliseconds | pages × ( generation u32, XXH64 u64 )
 *  |   u64    | u64  |     i64      |
 *  +----------+------+--------------+----------------------------------------- - -
 * ```
 *
 * CRC32C covers the bytes from 8 to the end. A page has no checksum of its own: the manifest holds its XXH64, and a page
 * that no manifest names means nothing.
 */
const MAGIC = 0x43_59_4c_54; // "TLYC" in the order of the bytes
const FORMAT = 1;
const HEADER_BYTES = 72;
const PAGE_ENTRY_BYTES = 12;
export const CHECKPOINT_PAGE_BYTES = 65_536;
/** The most pages of one transaction: 1 MiB. */
export const PAGES_PER_WRITE = 16;

/** A page of a checkpoint: the generation under which it is stored, and XXH64 of its bytes. */
export interface CheckpointPage {
  readonly generation: number;
  readonly hash: bigint;
}

export interface CheckpointManifest {
  readonly partition: number;
  readonly kernelVersion: number;
  /** 1, 2, 3 …, counted by the partition's checkpoints. */
  readonly generation: number;
  /** The end of the log up to which its entries are in the pages. */
  readonly place: PartitionPlace;
  /** When it was made: milliseconds since 1970. */
  readonly milliseconds: number;
  readonly pages: readonly CheckpointPage[];
}

/** A page to be stored; the bytes must stay as they are until the write has been answered. */
export interface NewPage {
  readonly index: number;
  readonly bytes: Uint8Array;
}

export interface CheckpointStats {
  /** Bytes of the pages of storage in use; the file itself never shrinks. */
  readonly usedBytes: number;
  readonly fileBytes: number;
  /** Of all checkpoints, and of those that were not finished. */
  readonly pagesStored: number;
}

/** Reads the checkpoints of one lane. */
export interface CheckpointReader {
  /**
   * The last whole checkpoint of a partition; undefined where none was made.
   *
   * @throws TallystickError LOG_CORRUPT, DIRECTORY_INVALID for one of another version.
   */
  manifest(partition: number): CheckpointManifest | undefined;

  /**
   * Visits the pages of a checkpoint, verified, from the last to the first, so that the header comes last. The bytes are
   * valid during the call only. An error that `visit` throws ends the reading.
   *
   * @throws TallystickError LOG_CORRUPT for a page that is missing or is not what the manifest says.
   */
  readPages(manifest: CheckpointManifest, visit: (index: number, bytes: Uint8Array) => void): Promise<void>;

  stats(): CheckpointStats;

  /** Closes the storage. To be called when nothing is unanswered. */
  close(): Promise<void>;
}

/**
 * The checkpoints of one lane. What was answered `flushed` is on the device; each call of `write`, `publish` is one
 * transaction, there whole or not at all. One call at a time.
 *
 * ```
 *  removeOrphans   write … write   publish
 *                  new pages       new manifest in, the pages that it no longer names out
 * ```
 *
 * The checkpoint before stays whole until `publish` is flushed.
 */
export interface CheckpointStore extends CheckpointReader {
  /**
   * Removes the pages that the manifest does not name: those of a checkpoint that was never finished.
   *
   * @throws TallystickError LOG_CORRUPT for a damaged manifest
   */
  removeOrphans(partition: number): Promise<AppendOutcome>;

  /** Stores at most PAGES_PER_WRITE pages under a new generation. Never rejects. */
  write(partition: number, generation: number, pages: readonly NewPage[]): Promise<AppendOutcome>;

  /**
   * Makes this the partition's checkpoint; all of its pages must be stored.
   *
   * @throws TallystickError LOG_CORRUPT for a damaged manifest before it
   */
  publish(manifest: CheckpointManifest): Promise<AppendOutcome>;
}

export function encodeManifest(manifest: CheckpointManifest): Uint8Array {
  const { partition, kernelVersion, generation, place, milliseconds, pages } = manifest;
  const buffer = new ChecksummedBuffer(HEADER_BYTES + pages.length * PAGE_ENTRY_BYTES);
  const { view, bytes } = buffer;
  view.setUint32(0, MAGIC, true);
  view.setUint16(8, FORMAT, true);
  view.setUint16(10, kernelVersion, true);
  view.setUint16(12, partition, true);
  view.setUint16(14, 0, true);
  view.setUint32(16, generation, true);
  view.setUint32(20, pages.length, true);
  view.setBigUint64(24, BigInt(place.group), true);
  view.setBigUint64(32, BigInt(place.records), true);
  view.setBigUint64(40, BigInt(place.bytes), true);
  view.setBigUint64(48, BigInt(place.sequence), true);
  view.setBigUint64(56, place.hash, true);
  view.setBigInt64(64, BigInt(milliseconds), true);
  pages.forEach((page, index) => {
    const offset = HEADER_BYTES + index * PAGE_ENTRY_BYTES;
    view.setUint32(offset, page.generation, true);
    view.setBigUint64(offset + 4, page.hash, true);
  });
  view.setUint32(4, buffer.crc32c(8, bytes.length - 8), true);
  return bytes.slice();
}

/**
 * Reads the manifest that is stored for a partition.
 *
 * @throws TallystickError LOG_CORRUPT; DIRECTORY_INVALID where the bytes are whole, but of another version.
 */
export function decodeManifest(stored: Uint8Array, partition: number, kernelVersion: number): CheckpointManifest {
  const fail = (what: string) => corrupt(`The manifest of the checkpoint of partition ${partition}: ${what}.`);
  const { length } = stored;
  if (length < HEADER_BYTES || length > HEADER_BYTES + 0xffff * PAGE_ENTRY_BYTES) throw fail(`it has ${length} bytes`);
  const buffer = new ChecksummedBuffer(length);
  buffer.bytes.set(stored);
  const { view } = buffer;
  if (view.getUint32(0, true) !== MAGIC) throw fail('its magic number is wrong');
  if (view.getUint32(4, true) !== buffer.crc32c(8, length - 8)) throw fail('its CRC32C differs');
  const format = view.getUint16(8, true);
  const kernel = view.getUint16(10, true);
  if (format !== FORMAT || kernel !== kernelVersion) {
    throw new TallystickError(
      'DIRECTORY_INVALID',
      `The checkpoint of partition ${partition} has format ${format}, kernel version ${kernel}; ` +
        `this server has ${FORMAT} and ${kernelVersion}.`,
    );
  }
  if (view.getUint16(12, true) !== partition) throw fail(`it is of partition ${view.getUint16(12, true)}`);
  const count = view.getUint32(20, true);
  if (length !== HEADER_BYTES + count * PAGE_ENTRY_BYTES) throw fail(`it has ${length} bytes for ${count} pages`);
  return {
    partition,
    kernelVersion,
    generation: view.getUint32(16, true),
    place: {
      group: Number(view.getBigUint64(24, true)),
      records: Number(view.getBigUint64(32, true)),
      bytes: Number(view.getBigUint64(40, true)),
      sequence: Number(view.getBigUint64(48, true)),
      hash: view.getBigUint64(56, true),
    },
    milliseconds: Number(view.getBigInt64(64, true)),
    pages: Array.from({ length: count }, (_, index) => {
      const offset = HEADER_BYTES + index * PAGE_ENTRY_BYTES;
      return { generation: view.getUint32(offset, true), hash: view.getBigUint64(offset + 4, true) };
    }),
  };
}

/** Verifies pages as they are read. */
export class PageVerifier {
  readonly #buffer = new ChecksummedBuffer(CHECKPOINT_PAGE_BYTES);

  /**
   * A copy of the page, valid until the next call.
   *
   * @throws TallystickError LOG_CORRUPT
   */
  verify(
    { partition, pages, generation }: CheckpointManifest,
    index: number,
    stored: Uint8Array | undefined,
  ): Uint8Array {
    const fail = (what: string) =>
      corrupt(`Page ${index} of the checkpoint of partition ${partition} (generation ${generation}): ${what}.`);
    if (!stored) throw fail('it is missing');
    if (stored.length !== CHECKPOINT_PAGE_BYTES) throw fail(`it has ${stored.length} bytes`);
    this.#buffer.bytes.set(stored);
    if (this.#buffer.xxh64(0, CHECKPOINT_PAGE_BYTES) !== pages[index]?.hash) throw fail('its XXH64 differs');
    return this.#buffer.bytes;
  }
}
