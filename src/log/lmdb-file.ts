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

/**
 * An LMDB file, verified without LMDB: it has no checksums, trusts what its pages say of each other, and can crash on what
 * it should not have trusted; and where its list of free pages is damaged it reads well, and writes over what is in use.
 */
export interface LmdbEntry {
  readonly key: Buffer;
  /** Reads the value. */
  readonly value: () => Buffer;
}

type Compare = (a: Buffer, b: Buffer) => number;
type VisitNode = (node: Buffer, value: () => Buffer) => void;

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
  readonly #pages: LmdbPages;
  readonly #count: number;
  readonly #meta: Meta;
  /** By page: 0, or 1 for those that some tree or list has. */
  readonly #taken: Uint8Array;

  private constructor(pages: LmdbPages) {
    this.#pages = pages;
    const { fileBytes, pageBytes } = pages;
    if (fileBytes < META_PAGES * pageBytes || fileBytes % pageBytes !== 0)
      throw this.#fail(`it has ${fileBytes} bytes`);
    this.#count = fileBytes / pageBytes;
    this.#meta = pages.newestMeta(pages.metaBytes());
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
    const pages = new LmdbPages(path);
    try {
      new LmdbFile(pages).#check(visit);
    } finally {
      pages.close();
    }
  }

  #check(visit: (tree: string, entry: LmdbEntry) => void): void {
    const named: [name: string, tree: Tree][] = [];
    this.#walk('the main tree', this.#meta.main, Buffer.compare, (node, value) => {
      const tree = value();
      if (flagsOf(node) !== IS_TREE || tree.length !== TREE_BYTES)
        throw this.#fail('the main tree has what is no tree');
      named.push([nameOf(node), treeAt(tree, 0)]);
    });
    for (const [name, tree] of named) {
      this.#walk(`the tree ${JSON.stringify(name)}`, tree, Buffer.compare, (node, value) =>
        visit(name, { key: keyOf(node), value }),
      );
    }
    this.#walk('the list of free pages', this.#meta.free, byTransaction, (_, value) => this.#takeFree(value()));
  }

  #fail(what: string): Error {
    return this.#pages.fail(what);
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
        const next = nodes[index + 1];
        // The first key of a branch says nothing.
        this.#descend(walk, pageBelow(node), level - 1, {
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
      const flags = flagsOf(node);
      if (![0, IN_OVERFLOW, IS_TREE].includes(flags)) throw this.#fail(`${walk.name} has a node of kind ${flags}`);
      walk.visit(node, this.#value(walk, node));
    }
  }

  /** They fill the page from `upper` to its end without a gap, each to an even number of bytes. */
  #nodes(name: string, number: number, page: Buffer): Buffer[] {
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    const room = this.#pages.pageBytes - PAGE_HEADER_BYTES;
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
  #value(walk: Walk, node: Buffer): () => Buffer {
    const { name } = walk;
    const { pageBytes } = this.#pages;
    const held = heldOf(node);
    if (flagsOf(node) !== IN_OVERFLOW) return () => held;
    const length = valueLength(node);
    const number = Number(held.readBigUInt64LE(0));
    // There may be more than it needs: a value that is replaced by a shorter one keeps its place.
    const pages = Number(held.readBigUInt64LE(16));
    if (pages < Math.ceil((PAGE_HEADER_BYTES + length) / pageBytes))
      throw this.#fail(`${name} has a value of a wrong length`);
    const first = this.#page(name, number, OVERFLOW);
    if (first.readUInt32LE(20) !== pages) throw this.#fail(`page ${number} of ${name} has a wrong length`);
    this.#take(name, number + 1, pages - 1);
    walk.overflow += pages;
    return () => this.#pages.bytes(number * pageBytes + PAGE_HEADER_BYTES, length);
  }

  /** Takes a page and reads it. */
  #page(name: string, number: number, kind: number): Buffer {
    this.#take(name, number, 1);
    return this.#pages.page(name, number, kind);
  }

  #take(name: string, number: number, count: number): void {
    if (number < META_PAGES || number + count > this.#count || number + count > this.#taken.length) {
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
}
