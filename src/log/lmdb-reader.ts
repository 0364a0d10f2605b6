import {
  BRANCH,
  flagsOf,
  heldOf,
  IN_OVERFLOW,
  IS_TREE,
  keyOf,
  LEAF,
  LmdbPages,
  MAXIMUM_DEPTH,
  META_PAGES,
  type Meta,
  NODE_HEADER_BYTES,
  nameOf,
  nodeBytes,
  OVERFLOW,
  PAGE_HEADER_BYTES,
  pageBelow,
  TREE_BYTES,
  type Tree,
  treeAt,
  valueLength,
} from './lmdb-pages.js';
import { corrupt } from './replay.js';

/** A read takes some tens of microseconds, a commit a flush: so many in a row do not all meet. */
const ATTEMPTS = 1_000;

export interface LmdbRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Keys from `start` on and before `end`, at most `limit` of them. */
export interface LmdbRange {
  readonly start: Uint8Array;
  readonly end?: Uint8Array | undefined;
  readonly limit: number;
  /** Values may be in it, and then are valid until the next read into it. When it is full the range ends. */
  readonly room?: ValueRoom | undefined;
}

/**
 * Where large values are put that are done with before others are read: memory outside of the heap is collected late, and a log is read
 * 64 KiB at a time.
 */
export class ValueRoom {
  readonly #bytes: Buffer;
  #used = 0;

  constructor(length: number) {
    this.#bytes = Buffer.allocUnsafeSlow(length);
  }

  /** What was taken is given again. */
  empty(): void {
    this.#used = 0;
  }

  has(length: number): boolean {
    return this.#used + length <= this.#bytes.length;
  }

  take(length: number): Buffer {
    if (!this.has(length)) return Buffer.allocUnsafeSlow(length);
    this.#used += length;
    return this.#bytes.subarray(this.#used - length, this.#used);
  }
}

/** Named trees, and where they stand. */
interface Snapshot {
  readonly metaBytes: Buffer;
  readonly meta: Meta;
  readonly trees: readonly Tree[];
}

/**
 * Reads the named trees of an LMDB file, beside whoever writes it.
 *
 * LMDB's own way would be to open the environment and to be a reader in its lock file. But whoever opens it puts a number
 * there which the writer takes for that of its last transaction (mdb_env_open2: `mti_txnid = meta.mm_txnid`), as it was
 * when that one began to open: with a commit between the two, the writer's next transaction is put over its last one, which is
 * gone. So an environment is opened by its writer alone, and this reads pages.
 *
 * ```
 *   meta pages  ->  branches, leaf, value  ->  meta pages: as before? else once more
 * ```
 *
 * A transaction writes to pages that no tree of the last one has. So what is read between two equal looks at the
 * meta pages is one state. Each call is a look of its own: what it finds is committed by then; that it is on the device
 * too is not said, for the flush of a meta page ends after it can be seen.
 */
export class LmdbReader {
  readonly #pages: LmdbPages;
  readonly #names: readonly string[];
  #snapshot: Snapshot | undefined;

  /** Closes the pages with itself. @throws TallystickError LOG_CORRUPT if they lack one of the trees */
  constructor(pages: LmdbPages, names: readonly string[]) {
    this.#pages = pages;
    this.#names = names;
    this.#read(() => {});
  }

  /** @throws TallystickError LOG_CORRUPT if `path` is no LMDB file, or lacks one of the trees; errors of the system */
  static open(path: string, names: readonly string[]): LmdbReader {
    const pages = new LmdbPages(path);
    try {
      return new LmdbReader(pages, names);
    } catch (error) {
      pages.close();
      throw error;
    }
  }

  close(): void {
    this.#pages.close();
  }

  /** The value under a key in the tree of the name at that index; `room` as in a range. @throws TallystickError LOG_CORRUPT */
  get(index: number, key: Uint8Array, room?: ValueRoom): Uint8Array | undefined {
    return this.#read(({ trees }) => {
      const [row] = this.#rows(index, trees[index] as Tree, { start: key, limit: 1, room });
      return row && Buffer.compare(row.key, key) === 0 ? row.value : undefined;
    });
  }

  /** @throws TallystickError LOG_CORRUPT */
  range(index: number, range: LmdbRange): LmdbRow[] {
    return this.#read(({ trees }) => this.#rows(index, trees[index] as Tree, range));
  }

  /** The entries of the tree of the name at that index. @throws TallystickError LOG_CORRUPT */
  count(index: number): number {
    return this.#read(({ trees }) => (trees[index] as Tree).entries);
  }

  /** Bytes of the pages in use, and of the file. @throws TallystickError LOG_CORRUPT */
  stats(): { readonly usedBytes: number; readonly fileBytes: number } {
    const { pageBytes, fileBytes } = this.#pages;
    const used = this.#read(({ meta, trees }) =>
      [meta.main, meta.free, ...trees].reduce(
        (sum, { branches, leaves, overflow }) => sum + branches + leaves + overflow,
        META_PAGES,
      ),
    );
    return { usedBytes: used * pageBytes, fileBytes };
  }

  #read<T>(read: (snapshot: Snapshot) => T): T {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const metaBytes = this.#pages.metaBytes();
      let result: { readonly value: T } | { readonly error: unknown };
      try {
        if (!this.#snapshot?.metaBytes.equals(metaBytes)) this.#snapshot = this.#take(metaBytes);
        result = { value: read(this.#snapshot) };
      } catch (error) {
        // Of pages that were written over meanwhile, or of damage
        result = { error };
      }
      if (!this.#pages.metaBytes().equals(metaBytes)) continue;
      if ('error' in result) throw result.error;
      return result.value;
    }
    throw corrupt(`${this.#pages.path} changed whenever it was read, ${ATTEMPTS} times.`);
  }

  #take(metaBytes: Buffer): Snapshot {
    const meta = this.#pages.newestMeta(metaBytes);
    const named = new Map<string, Tree>();
    this.#visit('the main tree', meta.main, Buffer.alloc(0), (node) => {
      const tree = heldOf(node);
      if (flagsOf(node) === IS_TREE && tree.length === TREE_BYTES) named.set(nameOf(node), treeAt(tree, 0));
      return true;
    });
    const trees = this.#names.map((name) => {
      const tree = named.get(name);
      if (!tree) throw corrupt(`${this.#pages.path} lacks its databases.`);
      return tree;
    });
    return { metaBytes, meta, trees };
  }

  #rows(index: number, tree: Tree, { start, end, limit, room }: LmdbRange): LmdbRow[] {
    const name = `the tree ${this.#names[index]}`;
    const rows: LmdbRow[] = [];
    room?.empty();
    this.#visit(name, tree, start, (node) => {
      const key = keyOf(node);
      if (rows.length === limit || (end && Buffer.compare(key, end) >= 0)) return false;
      if (room && rows.length > 0 && !room.has(bytesOf(node))) return false;
      rows.push({ key, value: this.#value(name, node, room) });
      return rows.length < limit;
    });
    return rows;
  }

  /** Visits the nodes of leaves from the key `start` on, as long as `visit` says. */
  #visit(name: string, tree: Tree, start: Uint8Array, visit: (node: Buffer) => boolean): void {
    if (tree.depth > MAXIMUM_DEPTH) throw this.#pages.fail(`${name} has ${tree.depth} levels`);
    if (tree.root !== undefined) this.#descend(name, tree.root, tree.depth, start, visit);
  }

  #descend(name: string, number: number, level: number, start: Uint8Array, visit: (node: Buffer) => boolean): boolean {
    const isLeaf = level <= 1;
    const page = this.#pages.page(name, number, isLeaf ? LEAF : BRANCH);
    const count = this.#countOf(name, number, page);
    const nodeAt = (index: number) => this.#node(name, number, page, index, isLeaf);
    // The first node whose key is not less; of a branch the one before it, where it is greater. A branch's first key says nothing
    let low = isLeaf ? 0 : 1;
    for (let high = count; low < high; ) {
      const middle = (low + high) >>> 1;
      const order = Buffer.compare(keyOf(nodeAt(middle)), start);
      if (order < 0 || (order === 0 && !isLeaf)) low = middle + 1;
      else high = middle;
    }
    for (let index = isLeaf ? low : low - 1; index < count; index++) {
      const node = nodeAt(index);
      if (!(isLeaf ? visit(node) : this.#descend(name, pageBelow(node), level - 1, start, visit))) return false;
    }
    return true;
  }

  #countOf(name: string, number: number, page: Buffer): number {
    const lower = page.readUInt16LE(20);
    if (lower === 0 || lower % 2 !== 0 || PAGE_HEADER_BYTES + lower > page.length)
      throw this.#pages.fail(`page ${number} of ${name} has wrong bounds`);
    return lower / 2;
  }

  #node(name: string, number: number, page: Buffer, index: number, isLeaf: boolean): Buffer {
    const offset = PAGE_HEADER_BYTES + page.readUInt16LE(PAGE_HEADER_BYTES + 2 * index);
    const room = page.length - offset;
    const node = page.subarray(offset);
    if (room < NODE_HEADER_BYTES || nodeBytes(node, isLeaf) > room)
      throw this.#pages.fail(`page ${number} of ${name} has a node in a wrong place`);
    return node;
  }

  #value(name: string, node: Buffer, room: ValueRoom | undefined): Buffer {
    const held = heldOf(node);
    if (flagsOf(node) !== IN_OVERFLOW) return held;
    const number = Number(held.readBigUInt64LE(0));
    const take = room && ((length: number) => room.take(length));
    return this.#pages.page(name, number, OVERFLOW, bytesOf(node), take).subarray(PAGE_HEADER_BYTES);
  }
}

/** What is read of the pages of a value. */
function bytesOf(node: Buffer): number {
  return PAGE_HEADER_BYTES + valueLength(node);
}
