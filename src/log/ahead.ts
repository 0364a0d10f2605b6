import { fstatSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** So many zeros are written at a time. */
export const AHEAD_BYTES = 1_048_576;
/** Larger transactions lengthen the file themselves; writing their bytes twice takes as long. */
const LARGE_BYTES = 65_536;
/** What a small transaction takes at the most besides its values, roughly: pages of trees, and the rests of pages. */
const TREE_BYTES = 65_536;
const BLOCK_BYTES = 4_096;
const ZEROS = Buffer.alloc(AHEAD_BYTES);

/**
 * Lengthens a file of LMDB by zeros before small transactions need it: a flush after which the file is longer, or has other
 * blocks, has the journal of the file system flushed too. With groups of 2 KB a commit takes a third less, with 20 KB a fifth.
 *
 *   |  pages that LMDB has taken  |  zeros  |        LMDB knows the last page that it took from its meta page,
 *   0                             used      size     and nothing of what is behind it
 *
 * Zeros go behind the end of the file, where nothing is, and never while a transaction is under way, which could lengthen it
 * meanwhile. A death leaves a longer file, and nothing in it.
 */
export class Ahead {
  readonly #path: string;
  readonly #usedBytes: () => number;
  #file: FileHandle | undefined;
  /** Zeros that are left at least, roughly; less than none after transactions that were larger. */
  #room = 0;

  /** @param usedBytes of the file, as of now */
  constructor(path: string, usedBytes: () => number) {
    this.#path = path;
    this.#usedBytes = usedBytes;
  }

  /** To be awaited before each transaction that stores so many bytes of values. @throws what the system throws */
  async before(bytes: number): Promise<void> {
    if (bytes <= LARGE_BYTES) {
      if (this.take(bytes)) return;
      await this.#lengthen();
    }
    this.#room -= bytes + TREE_BYTES;
  }

  /** The same within the call, for a small transaction: false where there are too few zeros. @throws what the system throws */
  take(bytes: number): boolean {
    const most = bytes + TREE_BYTES;
    if (this.#room < most) this.#room = statSync(this.#path).size - this.#usedBytes();
    if (this.#room < most) return false;
    this.#room -= most;
    return true;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #lengthen(): Promise<void> {
    this.#file ??= await open(this.#path, 'r+');
    const { size } = fstatSync(this.#file.fd);
    const end = Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
    const { bytesWritten } = await this.#file.write(ZEROS, 0, ZEROS.length, end);
    this.#room += bytesWritten;
  }
}
