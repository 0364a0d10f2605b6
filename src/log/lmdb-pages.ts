import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { corrupt } from './replay.js';

/**
 * The pages of an LMDB file, read without LMDB.
 *
 * The format is that of LMDB 1.0 as lmdb-js 3.5 builds it (mdb.c: MDB_page_header, MDB_meta, MDB_db, MDB_node, MDB_ovpage).
 * All numbers are little-endian, those without a width u64.
 *
 * ```
 *  page      0        8             16        18      20      22      24
 *            +--------+-------------+---------+-------+-------+-------+---------------- - -
 *            | number | transaction | pad u16 | flags | lower | upper | branch, leaf: offsets of the nodes, u16 each,
 *            +--------+-------------+---------+-------+-------+-------+   from the end of this header; free; the nodes
 *            of values too long for a leaf: the number of pages, u32, in place of lower and upper; then the value
 *
 *  meta      24          28          32        40         48               96               144         152
 *            +-----------+-----------+---------+----------+----------------+----------------+-----------+-------------+
 *            | magic u32 | version   | address | map size | tree: the free | tree: the main | last page | transaction |
 *            +-----------+-----------+---------+----------+----------------+----------------+-----------+-------------+
 *
 *  tree      0         4       6       8          16       24         32        40     48
 *            +---------+-------+-------+----------+--------+----------+---------+------+
 *            | pad u32 | flags | depth | branches | leaves | overflow | entries | root |
 *            +---------+-------+-------+----------+--------+----------+---------+------+
 *
 *  node      0    2    4       6          8
 *            +----+----+-------+----------+-----+------ - -      branch: lo, hi, flags are the number of the page below
 *            | lo | hi | flags | key size | key | value          leaf:   lo, hi are the length of the value
 *            +----+----+-------+----------+-----+------ - -              flags 1: the value is page, transaction, pages
 * ```
 *
 * The main tree holds the named ones: its values, flagged 2, are trees. The free one holds, by transaction, lists of
 * pages: a length, and so many words: 0, a page, or -n and the first of n pages.
 */
const MAGIC = 0xbeefc0de;
const VERSION = 2;
export const PAGE_HEADER_BYTES = 24;
export const TREE_BYTES = 48;
export const NODE_HEADER_BYTES = 8;
export const META_PAGES = 2;
const META_BYTES = 160;
/** Kinds of pages. */
export const BRANCH = 1;
export const LEAF = 2;
export const OVERFLOW = 4;
const META = 8;
/** Flags of nodes. */
export const IN_OVERFLOW = 1;
export const IS_TREE = 2;
/** What a node holds of a value in pages of its own. */
const OUTSIDE_BYTES = 24;
const NO_PAGE = 0xffffffffffffffffn;
export const MAXIMUM_DEPTH = 16;
/** The meta page must fit the smallest page, whose size is not known before it is read. */
const SMALLEST_PAGE_BYTES = 512;

/** Gives so many bytes. */
export type Room = (length: number) => Buffer;
const ROOM_OF_ITS_OWN: Room = (length) => Buffer.allocUnsafeSlow(length);

export interface Tree {
  readonly depth: number;
  readonly branches: number;
  readonly leaves: number;
  readonly overflow: number;
  readonly entries: number;
  readonly root: number | undefined;
}

export interface Meta {
  readonly free: Tree;
  readonly main: Tree;
  readonly lastPage: number;
  readonly transaction: number;
}

/** Errors are LOG_CORRUPT, or those of the system. */
export class LmdbPages {
  readonly path: string;
  readonly pageBytes: number;
  readonly #file: number;
  #knownBytes = 0;

  constructor(path: string) {
    this.path = path;
    this.#file = openSync(path, 'r');
    try {
      this.pageBytes = this.#readPageBytes();
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  get fileBytes(): number {
    return fstatSync(this.#file).size;
  }

  /** The meta pages as they are, one behind the other. */
  metaBytes(): Buffer {
    return Buffer.concat([0, 1].map((page) => this.bytes(page * this.pageBytes, META_BYTES)));
  }

  /** The newer one of the meta pages. Transaction n writes meta page n mod 2, so the older one is of the transaction before. */
  newestMeta(metaBytes: Buffer): Meta {
    const [even, odd] = [0, 1].map((page) => this.#metaAt(metaBytes, page)) as [Meta, Meta];
    const isFresh = even.transaction === 0 && odd.transaction === 0;
    if (!isFresh && Math.abs(even.transaction - odd.transaction) !== 1) {
      throw this.fail(`its meta pages are of transactions ${even.transaction} and ${odd.transaction}`);
    }
    if (even.transaction % 2 !== 0) throw this.fail(`its meta pages have changed places`);
    const newest = odd.transaction > even.transaction ? odd : even;
    if (newest.lastPage >= 2 ** 40) throw this.fail(`its last page is ${newest.lastPage}`);
    return newest;
  }

  /**
   * A page, or as much as is wanted of a value's pages.
   *
   * @param name of the tree that has the page
   * @param room gives what it is read into
   */
  page(name: string, number: number, kind: number, length = this.pageBytes, room = ROOM_OF_ITS_OWN): Buffer {
    const page = this.bytes(number * this.pageBytes, length, room);
    if (Number(page.readBigUInt64LE(0)) !== number) throw this.fail(`page ${number} of ${name} has another number`);
    if (page.readUInt16LE(18) !== kind) throw this.fail(`page ${number} of ${name} is of another kind`);
    return page;
  }

  bytes(position: number, length: number, room = ROOM_OF_ITS_OWN): Buffer {
    const isThere = this.#reaches(position + length);
    const bytes = room(isThere ? length : 0);
    if (!isThere || readSync(this.#file, bytes, 0, length, position) !== length)
      throw this.fail(`it ends before ${position + length}`);
    return bytes;
  }

  /** Whether the file is so long. It never shrinks, so it is asked only where it was shorter. */
  #reaches(end: number): boolean {
    if (end > this.#knownBytes) this.#knownBytes = this.fileBytes;
    return end <= this.#knownBytes;
  }

  fail(what: string): Error {
    return corrupt(`${this.path}: ${what}.`);
  }

  #readPageBytes(): number {
    const pageBytes = this.bytes(0, SMALLEST_PAGE_BYTES).readUInt32LE(48);
    const isPower = pageBytes >= SMALLEST_PAGE_BYTES && pageBytes <= 65_536 && (pageBytes & (pageBytes - 1)) === 0;
    if (!isPower) throw this.fail(`its pages have ${pageBytes} bytes`);
    return pageBytes;
  }

  #metaAt(metaBytes: Buffer, page: number): Meta {
    const bytes = metaBytes.subarray(page * META_BYTES, (page + 1) * META_BYTES);
    const fault =
      (Number(bytes.readBigUInt64LE(0)) !== page && 'has another number') ||
      (bytes.readUInt16LE(18) !== META && 'is none') ||
      (bytes.readUInt32LE(24) !== MAGIC && 'has another magic number') ||
      (bytes.readUInt32LE(28) !== VERSION && 'is of another version') ||
      (bytes.readUInt32LE(48) !== this.pageBytes && 'says another page size');
    if (fault) throw this.fail(`its meta page ${page} ${fault}`);
    return {
      free: treeAt(bytes, 48),
      main: treeAt(bytes, 48 + TREE_BYTES),
      lastPage: Number(bytes.readBigUInt64LE(144)),
      transaction: Number(bytes.readBigUInt64LE(152)),
    };
  }
}

export function treeAt(bytes: Buffer, offset: number): Tree {
  const root = bytes.readBigUInt64LE(offset + 40);
  return {
    depth: bytes.readUInt16LE(offset + 6),
    branches: Number(bytes.readBigUInt64LE(offset + 8)),
    leaves: Number(bytes.readBigUInt64LE(offset + 16)),
    overflow: Number(bytes.readBigUInt64LE(offset + 24)),
    entries: Number(bytes.readBigUInt64LE(offset + 32)),
    root: root === NO_PAGE ? undefined : Number(root),
  };
}

/** Of a node in the main tree. */
export function nameOf(node: Buffer): string {
  return keyOf(node).toString('latin1').replace(/\0$/, '');
}

export function keyOf(node: Buffer): Buffer {
  return node.subarray(NODE_HEADER_BYTES, NODE_HEADER_BYTES + node.readUInt16LE(6));
}

export function flagsOf(node: Buffer): number {
  return node.readUInt16LE(4);
}

/** The page to which a node of a branch leads. */
export function pageBelow(node: Buffer): number {
  return node.readUInt16LE(0) + node.readUInt16LE(2) * 65_536 + node.readUInt16LE(4) * 2 ** 32;
}

/** Of the value of a node of a leaf. */
export function valueLength(node: Buffer): number {
  return node.readUInt16LE(0) + node.readUInt16LE(2) * 65_536;
}

/** What a node of a leaf holds of its value. */
export function heldOf(node: Buffer): Buffer {
  const start = NODE_HEADER_BYTES + node.readUInt16LE(6);
  return node.subarray(start, start + (flagsOf(node) === IN_OVERFLOW ? OUTSIDE_BYTES : valueLength(node)));
}

/** All of a node's bytes, which are even. */
export function nodeBytes(node: Buffer, isLeaf: boolean): number {
  const held = !isLeaf ? 0 : flagsOf(node) === IN_OVERFLOW ? OUTSIDE_BYTES : valueLength(node);
  const bytes = NODE_HEADER_BYTES + node.readUInt16LE(6) + held;
  return bytes + (bytes % 2);
}
