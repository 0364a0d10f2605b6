import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { ChecksummedBuffer } from './checksum.js';
import type { ChainHead, HeadMark, Mark } from './log.js';
import { corrupt } from './replay.js';

/**
 * The head mark: a small file beside the log that says how far the log was flushed. It catches what the log can't
 * tell about itself, records lost at its end: a flipped bit in an LMDB meta page makes it open an older tree without
 * a word.
 *
 * Two slots, each in pages of its own and written in turn, so that a torn write leaves the older mark whole:
 *
 * ```
 *  0       4        8        16      20         24
 *  +-------+--------+--------+-------+----------+--------------------------------------------- - -
 *  | magic | CRC32C | group  | heads | reserved | heads x ( partition u16, sequence u64, hash u64 )
 *  |  u32  |  u32   |  u64   |  u32  | u32 = 0  |
 *  +-------+--------+--------+-------+----------+--------------------------------------------- - -
 * ```
 *
 * All little-endian; CRC32C covers the bytes from 8 to the end of the heads. The mark that holds is the one with the
 * greater group.
 *
 * It is written after each flushed group and not synced. After the death of the process the page cache still has it.
 * After a loss of power an older one may be there, and that is still a true lower bound: each mark was written when
 * its group was on the device already. Up to 27 partitions it fits a sector, which no device tears.
 *
 * The file is made, synced, before the log is, so a log without it is damaged.
 */
const MAGIC = 0x4d_59_4c_54; // "TLYM" in the order of the bytes
const HEADER_BYTES = 24;
const HEAD_BYTES = 18;
const PAGE_BYTES = 4_096;
const SLOTS = [0, 1] as const;

export class HeadMarkFile implements HeadMark {
  readonly #file: number;
  readonly #buffer: ChecksummedBuffer;
  #mark: Mark;
  #slot: number;

  private constructor(file: number, buffer: ChecksummedBuffer, mark: Mark, slot: number) {
    this.#file = file;
    this.#buffer = buffer;
    this.#mark = mark;
    this.#slot = slot;
  }

  /** Makes the file with an empty mark, whole or not at all. The caller syncs the directory. */
  static create(path: string, partitions: readonly number[]): void {
    const buffer = new ChecksummedBuffer(slotBytes(partitions.length));
    const empty = { group: 0, heads: new Map(partitions.map((partition) => [partition, { sequence: 0, hash: 0n }])) };
    encode(buffer, empty);
    const temporary = `${path}.new`;
    const file = openSync(temporary, 'w', 0o600);
    try {
      for (const slot of SLOTS) write(file, buffer.bytes, slot * buffer.bytes.length);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  }

  /** @throws TallystickError LOG_CORRUPT if no slot is whole, or the mark is of other partitions. */
  static open(path: string, partitions: readonly number[], mode: 'r' | 'r+' = 'r+'): HeadMarkFile {
    const file = openSync(path, mode);
    try {
      const buffer = new ChecksummedBuffer(slotBytes(partitions.length));
      const { mark, slot } = latest(file, buffer);
      if (mark.heads.size !== partitions.length || !partitions.every((partition) => mark.heads.has(partition))) {
        throw corrupt(`The head mark is of partitions ${[...mark.heads.keys()]} instead of ${partitions}.`);
      }
      return new HeadMarkFile(file, buffer, mark, slot);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  read(): Mark {
    return this.#mark;
  }

  write({ group, heads }: Mark): void {
    const slot = 1 - this.#slot;
    const mark = { group, heads }; // what is given may be a whole group, whose memory would be kept
    const length = encode(this.#buffer, mark);
    write(this.#file, this.#buffer.bytes.subarray(0, length), slot * this.#buffer.bytes.length);
    this.#mark = mark;
    this.#slot = slot;
  }

  close(): void {
    closeSync(this.#file);
  }
}

function slotBytes(partitions: number): number {
  return Math.ceil((HEADER_BYTES + partitions * HEAD_BYTES) / PAGE_BYTES) * PAGE_BYTES;
}

/** @returns the length of the mark, from the start of the buffer. */
function encode(buffer: ChecksummedBuffer, { group, heads }: Mark): number {
  const { view } = buffer;
  view.setUint32(0, MAGIC, true);
  view.setBigUint64(8, BigInt(group), true);
  view.setUint32(16, heads.size, true);
  view.setUint32(20, 0, true);
  let offset = HEADER_BYTES;
  for (const [partition, { sequence, hash }] of heads) {
    view.setUint16(offset, partition, true);
    view.setBigUint64(offset + 2, BigInt(sequence), true);
    view.setBigUint64(offset + 10, hash, true);
    offset += HEAD_BYTES;
  }
  view.setUint32(4, buffer.crc32c(8, offset - 8), true);
  return offset;
}

/** @returns undefined if the buffer holds no whole mark. */
function decode(buffer: ChecksummedBuffer): Mark | undefined {
  const { view, bytes } = buffer;
  const count = view.getUint32(16, true);
  const length = HEADER_BYTES + count * HEAD_BYTES;
  if (view.getUint32(0, true) !== MAGIC || length > bytes.length) return undefined;
  if (view.getUint32(4, true) !== buffer.crc32c(8, length - 8)) return undefined;
  const heads = new Map<number, ChainHead>();
  for (let offset = HEADER_BYTES; offset < length; offset += HEAD_BYTES) {
    const sequence = Number(view.getBigUint64(offset + 2, true));
    heads.set(view.getUint16(offset, true), { sequence, hash: view.getBigUint64(offset + 10, true) });
  }
  return { group: Number(view.getBigUint64(8, true)), heads };
}

function latest(file: number, buffer: ChecksummedBuffer): { mark: Mark; slot: number } {
  let newest: { mark: Mark; slot: number } | undefined;
  const length = buffer.bytes.length;
  if (fstatSync(file).size !== SLOTS.length * length) throw corrupt('The head mark does not have its length.');
  for (const slot of SLOTS) {
    const read = readSync(file, buffer.bytes, 0, length, slot * length);
    const mark = read === length ? decode(buffer) : undefined;
    if (mark && mark.group >= (newest?.mark.group ?? 0)) newest = { mark, slot };
  }
  if (!newest) throw corrupt('Neither slot of the head mark is whole.');
  return newest;
}

function write(file: number, bytes: Uint8Array, position: number): void {
  const written = writeSync(file, bytes, 0, bytes.length, position);
  if (written !== bytes.length) throw new Error(`The head mark was written to ${written} of ${bytes.length} bytes.`);
}
