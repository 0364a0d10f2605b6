import { createHash } from 'node:crypto';
import type { Clock } from '../clock.js';
import { TallystickError } from '../errors.js';

/**
 * `Idempotency-Key`: a request with a key happens once. What makes it so is the server: each operation of the request has an
 * operation id that comes from the key and its place in the request, so a repeat changes nothing and gets the first values, also
 * after a crash. Ids are kept by partition, and another request under the key may go elsewhere; so this remembers, as long as it
 * lives, what each key was first used for:
 *
 *   key unknown                 remembered; go on
 *   being answered              KEY_IN_PROGRESS
 *   the same request            go on: the server finds the ids
 *   another request             OPERATION_CONFLICT
 *   refused, nothing happened   forgotten: a request that was malformed may be put right under its key
 */

/** A key is at most 255 characters; with what it was used for and its time that is about 512 bytes. */
const MOST_KEYS = 65_536;
const LONGEST_KEY = 255;

interface Use {
  readonly fingerprint: string;
  /** After it the server has forgotten the ids too. */
  readonly until: number;
  isOpen: boolean;
  /** Whether any of it was applied, or may have been, by any request with the key. */
  happened: boolean;
}

export class IdempotencyKeys {
  readonly #clock: Clock;
  readonly #milliseconds: number;
  readonly #most: number;
  /** In the order in which they were used first. */
  readonly #uses = new Map<string, Use>();

  /** `milliseconds`: for how long the server remembers operation ids. */
  constructor(clock: Clock, milliseconds: number, most = MOST_KEYS) {
    this.#clock = clock;
    this.#milliseconds = milliseconds;
    this.#most = most;
  }

  /** Throws KEY_IN_PROGRESS, OPERATION_CONFLICT, INVALID_ARGUMENT. Each key that began ends. */
  begin(key: string, request: string): void {
    if (!KEY.test(key)) {
      throw new TallystickError('INVALID_ARGUMENT', `Idempotency-Key is 1 to ${LONGEST_KEY} visible characters.`);
    }
    const fingerprint = createHash('sha256').update(request).digest('base64');
    const now = this.#clock.monotonicMilliseconds();
    const known = this.#uses.get(key);
    if (known?.isOpen) throw new TallystickError('KEY_IN_PROGRESS');
    if (known && known.until > now) {
      if (known.fingerprint !== fingerprint)
        throw new TallystickError('OPERATION_CONFLICT', 'The Idempotency-Key was used for another request.');
      known.isOpen = true;
      return;
    }
    this.#uses.delete(key);
    this.#makeRoom(now);
    this.#uses.set(key, { fingerprint, until: now + this.#milliseconds, isOpen: true, happened: false });
  }

  /** `happened`: whether any of it was applied, or may have been. */
  end(key: string, happened: boolean): void {
    const use = this.#uses.get(key);
    if (!use) return;
    use.isOpen = false;
    use.happened ||= happened;
    if (!use.happened) this.#uses.delete(key);
  }

  #makeRoom(now: number): void {
    for (const [key, { until, isOpen }] of this.#uses) {
      if (isOpen) continue;
      if (until > now && this.#uses.size < this.#most) return;
      this.#uses.delete(key);
    }
  }
}

const KEY = new RegExp(`^[\\x21-\\x7e]{1,${LONGEST_KEY}}$`);

/** The operation id of one operation of a request with a key. */
export const operationIdOf = (key: string, index: number): string => `Idempotency-Key ${index} ${key}`;
