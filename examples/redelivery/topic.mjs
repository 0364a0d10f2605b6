/**
 * A log that delivers as Kafka does: each message at least once. What was handed out and not committed comes again, to whoever consumes then; besides,
 * some messages come twice, and neighbours change places, as they do where producers retry and partitions are consumed at a time.
 */

/** Messages that may change places. */
const WINDOW = 32;
const TWICE = 0.05;
/** A consumer commits how far it has come from time to time, not for each message. */
const COMMIT_EVERY = 100;

export class Topic {
  #messages;
  #random;
  #committed = 0;
  #done = new Set();
  #uncommitted = 0;
  deliveries = 0;

  /** @param random gives numbers from 0 up to 1 */
  constructor(messages, random) {
    this.#messages = messages;
    this.#random = random;
  }

  get isConsumed() {
    return this.#done.size === this.#messages.length;
  }

  /** What a consumer that starts now is handed, each with its offset. */
  *deliver() {
    this.#done = new Set([...this.#done].filter((offset) => offset < this.#committed));
    this.#uncommitted = 0;
    for (let from = this.#committed; from < this.#messages.length; from += WINDOW) {
      const offsets = this.#messages.slice(from, from + WINDOW).flatMap((_, i) => this.#oneOrTwo(from + i));
      for (const offset of this.#shuffled(offsets)) {
        this.deliveries++;
        yield { offset, message: this.#messages[offset] };
      }
    }
  }

  /** A consumer says that it has dealt with a message. */
  done(offset) {
    this.#done.add(offset);
    if (++this.#uncommitted < COMMIT_EVERY) return;
    this.#uncommitted = 0;
    while (this.#done.has(this.#committed)) this.#committed++;
  }

  #oneOrTwo(offset) {
    return this.#random() < TWICE ? [offset, offset] : [offset];
  }

  /** Fisher and Yates. */
  #shuffled(offsets) {
    for (let i = offsets.length - 1; i > 0; i--) {
      const j = Math.floor(this.#random() * (i + 1));
      [offsets[i], offsets[j]] = [offsets[j], offsets[i]];
    }
    return offsets;
  }
}
