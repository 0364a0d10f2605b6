import { TallystickError } from '../errors.js';
import type { Stream } from './stream.js';

/**
 * Feeds of lanes that all streams may have together, one for each partition that a stream follows something of. A lane gives a client 1,024; those of
 * streams that nobody reads any more take up to 32 KB each here, until their clients are cut off.
 */
const MOST_FEEDS = 1_000;

/** The streams that are open. */
export class Streams {
  readonly #open = new Set<Stream>();
  readonly #most: number;
  #feeds = 0;

  constructor(most = MOST_FEEDS) {
    this.#most = most;
  }

  /** How many there are. */
  get count(): number {
    return this.#open.size;
  }

  /** Throws OVERLOADED. What was claimed is given back. */
  claim(feeds: number): void {
    if (this.#feeds + feeds > this.#most)
      throw new TallystickError('OVERLOADED', `${this.#feeds} partitions are followed over HTTP.`);
    this.#feeds += feeds;
  }

  giveBack(feeds: number): void {
    this.#feeds -= feeds;
  }

  add(stream: Stream): void {
    this.#open.add(stream);
  }

  remove(stream: Stream): void {
    this.#open.delete(stream);
  }

  /** Ends them all, and tells why. */
  fail(error: TallystickError): void {
    for (const stream of this.#open) stream.fail(error);
  }
}
