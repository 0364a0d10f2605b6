import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { corrupt } from './replay.js';

/**
 * An LMDB file, read without LMDB: it has no checksums, trusts what its pages say of each other, and can crash on what
 * it should not have trusted; and where its list of free pages is damaged it reads well, and writes over what is in use.
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
const PAGE_HEADER_BYTES = 24;
const TREE_BYTES = 48;
const NODE_HEADER_BYTES = 8;
const META_PAGES = 2;
const BRANCH = 1;
const LEAF = 2;
const OVERFLOW = 4;
const META = 8;
const IN_OVERFLOW = 1;
const IS_TREE = 2;
/** What a node holds of a value in pages of its own. */
const OUTSIDE_BYTES = 24;
const NO_PAGE = 0xffffffffffffffffn;
const MAXIMUM_DEPTH = 16;
/** The meta page must fit the smallest page, whose size is not known before it is read. */
const SMALLEST_PAGE_BYTES = 512;

interface Tree {
  readonly depth: number;
  readonly branches: number;
  readonly leaves: number;
  readonly overflow: number;
  readonly entries: number;
  readonly root: number | undefined;
}

interface Meta {
  readonly free: Tree;
  readonly main: Tree;
  readonly lastPage: number;
  readonly transaction: number;
}

export interface LmdbEntry {
  readonly key: Buffer;
  /** Reads the value. */
  readonly value: () => Buffer;
}

type Compare = (a: Buffer, b: Buffer) => number;
type VisitNode = (entry: LmdbEntry, flags: number) => void;

/** A walk over a tree, and what it has met. */
interface Walk {
  readonly name: string;
  readonly compare: Compare;
  readonly visit: VisitNode;
  last: Buffer | undefined;
  branches: number;
  leaves: number;
  overflow: number;
  entries: number;
}

/** Keys from `low` on and before `high`. */
interface Bounds {
  readonly low?: Buffer | undefined;
  readonly high?: Buffer | undefined;
}

/** Anything but 8 bytes comes out as out of order. */
const byTransaction: Compare = (a, b) =>
  a.length === 8 && b.length === 8 ? Number(a.readBigUInt64LE() - b.readBigUInt64LE()) : Number.NaN;

export class LmdbFile {
  readonly #path: string;
  readonly #file: number;
  readonly #pageBytes: number;
  readonly #pages: number;
  readonly #meta: Meta;
  /** By page: 0, or 1 for those that some tree or list has. */
  readonly #taken: Uint8Array;

  private constructor(path: string, file: number) {
    this.#path = path;
    this.#file = file;
    const { size } = fstatSync(file);
    this.#pageBytes = this.#pageBytesOf(size);
    this.#pages = Math.floor(size / this.#pageBytes);
    this.#meta = this.#newestMeta();
    this.#taken = new Uint8Array(this.#meta.lastPage + 1);
    this.#taken.fill(1, 0, META_PAGES);
  }

  /**
   * Verifies that the meta pages agree, that the pages of each tree hold together, in order and in number, and that no
   * page has two owners, and hands out the entries of the named trees. The file may not be written meanwhile.
   *
   * @param visit its entry is valid during the call only
   * @throws TallystickError LOG_CORRUPT; errors of the system
   */
  static check(path: string, visit: (tree: string, entry: LmdbEntry) => void = () => {}): void {
    const file = openSync(path, 'r');
    try {
      new LmdbFile(path, file).#check(visit);
    } finally {
      closeSync(file);
    }
  }

  #check(visit: (tree: string, entry: LmdbEntry) => void): void {
    const named: [name: string, tree: Tree][] = [];
    this.#walk('the main tree', this.#meta.main, Buffer.compare, ({ key, value }, flags) => {
      const tree = value();
      if (flags !== IS_TREE || tree.length !== TREE_BYTES) throw this.#fail('the main tree has what is no tree');
      named.push([key.toString('latin1').replace(/\0$/, ''), treeAt(tree, 0)]);
    });
    for (const [name, tree] of named) {
      this.#walk(`the tree ${JSON.stringify(name)}`, tree, Buffer.compare, (entry) => visit(name, entry));
    }
    this.#walk('the list of free pages', this.#meta.free, byTransaction, ({ value }) => this.#takeFree(value()));
  }

  #fail(what: string): Error {
    return corrupt(`${this.#path}: ${what}.`);
  }

  #pageBytesOf(fileBytes: number): number {
    const start = this.#bytes(0, SMALLEST_PAGE_BYTES);
    const pageBytes = start.readUInt32LE(48);
    const isPower = pageBytes >= SMALLEST_PAGE_BYTES && pageBytes <= 65_536 && (pageBytes & (pageBytes - 1)) === 0;
    if (!isPower) throw this.#fail(`its pages have ${pageBytes} bytes`);
    if (fileBytes < META_PAGES * pageBytes || fileBytes % pageBytes !== 0)
      throw this.#fail(`it has ${fileBytes} bytes`);
    return pageBytes;
  }

  /** Transaction n writes meta page n mod 2, so the older one is of the transaction before. */
  #newestMeta(): Meta {
    const metas = [0, 1].map((page) => this.#metaAt(page));
    const [even, odd] = metas as [Meta, Meta];
    const isFresh = even.transaction === 0 && odd.transaction === 0;
    if (!isFresh && Math.abs(even.transaction - odd.transaction) !== 1) {
      throw this.#fail(`its meta pages are of transactions ${even.transaction} and ${odd.transaction}`);
    }
    if (even.transaction % 2 !== 0) throw this.#fail(`its meta pages have changed places`);
    const newest = odd.transaction > even.transaction ? odd : even;
    if (newest.lastPage >= 2 ** 40) throw this.#fail(`its last page is ${newest.lastPage}`);
    return newest;
  }

  #metaAt(page: number): Meta {
    const bytes = this.#bytes(page * this.#pageBytes, this.#pageBytes);
    const fault =
      (Number(bytes.readBigUInt64LE(0)) !== page && 'has another number') ||
      (bytes.readUInt16LE(18) !== META && 'is none') ||
      (bytes.readUInt32LE(24) !== MAGIC && 'has another magic number') ||
      (bytes.readUInt32LE(28) !== VERSION && 'is of another version') ||
      (bytes.readUInt32LE(48) !== this.#pageBytes && 'says another page size');
    if (fault) throw this.#fail(`its meta page ${page} ${fault}`);
    return {
      free: treeAt(bytes, 48),
      main: treeAt(bytes, 48 + TREE_BYTES),
      lastPage: Number(bytes.readBigUInt64LE(144)),
      transaction: Number(bytes.readBigUInt64LE(152)),
    };
  }

  #walk(name: string, tree: Tree, compare: Compare, visit: VisitNode): void {
    const walk: Walk = { name, compare, visit, last: undefined, branches: 0, leaves: 0, overflow: 0, entries: 0 };
    if (tree.depth > MAXIMUM_DEPTH) throw this.#fail(`${name} has ${tree.depth} levels`);
    if (tree.root !== undefined) this.#descend(walk, tree.root, tree.depth, {});
    for (const what of ['branches', 'leaves', 'overflow', 'entries'] as const) {
      if (walk[what] !== tree[what]) throw this.#fail(`${name} counts ${tree[what]} ${what}, but has ${walk[what]}`);
    }
  }

  /** Visits the leaves below a page from left to right. Their keys are those that LMDB would look for there. */
  #descend(walk: Walk, number: number, level: number, { low, high }: Bounds): void {
    const nodes = this.#nodes(walk.name, number, this.#page(walk.name, number, level > 1 ? BRANCH : LEAF));
    if (level > 1) {
      walk.branches++;
      nodes.forEach((node, index) => {
        const below = node.readUInt16LE(0) + node.readUInt16LE(2) * 65_536 + node.readUInt16LE(4) * 2 ** 32;
        const next = nodes[index + 1];
        // The first key of a branch says nothing.
        this.#descend(walk, below, level - 1, {
          low: index === 0 ? low : keyOf(node),
          high: next === undefined ? high : keyOf(next),
        });
      });
      return;
    }
    walk.leaves++;
    for (const node of nodes) {
      const key = keyOf(node);
      const isPlaced = (!low || walk.compare(low, key) <= 0) && (!high || walk.compare(key, high) < 0);
      if (!isPlaced || (walk.last && !(walk.compare(walk.last, key) < 0))) {
        throw this.#fail(`page ${number} of ${walk.name} has a key in a wrong place`);
      }
      walk.last = key;
      walk.entries++;
      const flags = node.readUInt16LE(4);
      if (![0, IN_OVERFLOW, IS_TREE].includes(flags)) throw this.#fail(`${walk.name} has a node of kind ${flags}`);
      walk.visit({ key, value: this.#value(walk, node, flags) }, flags);
    }
  }

  /** They fill the page from `upper` to its end without a gap, each to an even number of bytes. */
  #nodes(name: string, number: number, page: Buffer): Buffer[] {
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    const room = this.#pageBytes - PAGE_HEADER_BYTES;
    const fail = (what: string) => this.#fail(`page ${number} of ${name} ${what}`);
    if (lower % 2 !== 0 || lower === 0 || lower > upper || upper > room) throw fail('has wrong bounds');
    const isLeaf = page.readUInt16LE(18) === LEAF;
    const offsets = Array.from({ length: lower / 2 }, (_, index) => page.readUInt16LE(PAGE_HEADER_BYTES + index * 2));
    const ends = new Map(
      offsets.map((offset) => {
        if (offset < upper || offset + NODE_HEADER_BYTES > room) throw fail('has a node in a wrong place');
        return [offset, offset + nodeBytes(page.subarray(PAGE_HEADER_BYTES + offset), isLeaf)];
      }),
    );
    let end: number | undefined = upper;
    for (let node = 0; node < offsets.length; node++) end = end === undefined ? undefined : ends.get(end);
    if (ends.size !== offsets.length || end !== room) throw fail('has nodes of wrong lengths');
    return offsets.map((offset) =>
      page.subarray(PAGE_HEADER_BYTES + offset, PAGE_HEADER_BYTES + (ends.get(offset) ?? 0)),
    );
  }

  /** Takes the pages of a value. */
  #value(walk: Walk, node: Buffer, flags: number): () => Buffer {
    const { name } = walk;
    const length = node.readUInt16LE(0) + node.readUInt16LE(2) * 65_536;
    const start = NODE_HEADER_BYTES + node.readUInt16LE(6);
    const isOutside = flags === IN_OVERFLOW;
    if (!isOutside) return () => node.subarray(start, start + length);
    const number = Number(node.readBigUInt64LE(start));
    // There may be more than it needs: a value that is replaced by a shorter one keeps its place.
    const pages = Number(node.readBigUInt64LE(start + 16));
    if (pages < Math.ceil((PAGE_HEADER_BYTES + length) / this.#pageBytes))
      throw this.#fail(`${name} has a value of a wrong length`);
    const first = this.#page(name, number, OVERFLOW);
    if (first.readUInt32LE(20) !== pages) throw this.#fail(`page ${number} of ${name} has a wrong length`);
    this.#take(name, number + 1, pages - 1);
    walk.overflow += pages;
    return () => this.#bytes(number * this.#pageBytes + PAGE_HEADER_BYTES, length);
  }

  /** Takes a page and reads it. */
  #page(name: string, number: number, kind: number): Buffer {
    this.#take(name, number, 1);
    const page = this.#bytes(number * this.#pageBytes, this.#pageBytes);
    if (Number(page.readBigUInt64LE(0)) !== number) throw this.#fail(`page ${number} of ${name} has another number`);
    if (page.readUInt16LE(18) !== kind) throw this.#fail(`page ${number} of ${name} is of another kind`);
    return page;
  }

  #take(name: string, number: number, count: number): void {
    if (number < META_PAGES || number + count > this.#pages || number + count > this.#taken.length) {
      throw this.#fail(`${name} has page ${number}, which is not in the file`);
    }
    this.#own(name, number, count);
  }

  #own(name: string, number: number, count: number): void {
    for (let page = number; page < number + count; page++) {
      if (this.#taken[page] === 1) throw this.#fail(`${name} has page ${page}, which has another owner`);
      this.#taken[page] = 1;
    }
  }

  /** Free pages may lie beyond the end of the file, but not of what was allocated. */
  #takeFree(list: Buffer): void {
    const fail = () => this.#fail('a list of free pages is damaged');
    if (list.length < 8) throw fail();
    const words = Number(list.readBigInt64LE(0));
    if (words < 0 || (words + 1) * 8 > list.length) throw fail();
    for (let index = 1; index <= words; index++) {
      const word = Number(list.readBigInt64LE(index * 8));
      if (word === 0) continue;
      if (word < 0 && index === words) throw fail();
      const number = word < 0 ? Number(list.readBigInt64LE(++index * 8)) : word;
      const count = word < 0 ? -word : 1;
      if (number < META_PAGES || number + count > this.#taken.length) throw fail();
      this.#own('the list of free pages', number, count);
    }
  }

  #bytes(position: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    if (readSync(this.#file, bytes, 0, length, position) !== length)
      throw this.#fail(`it ends before ${position + length}`);
    return bytes;
  }
}

function treeAt(bytes: Buffer, offset: number): Tree {
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

function nodeBytes(node: Buffer, isLeaf: boolean): number {
  const isOutside = node.readUInt16LE(4) === IN_OVERFLOW;
  const length = isOutside ? OUTSIDE_BYTES : node.readUInt16LE(0) + node.readUInt16LE(2) * 65_536;
  const bytes = NODE_HEADER_BYTES + node.readUInt16LE(6) + (isLeaf ? length : 0);
  return bytes + (bytes % 2);
}

function keyOf(node: Buffer): Buffer {
  return node.subarray(NODE_HEADER_BYTES, NODE_HEADER_BYTES + node.readUInt16LE(6));
}
