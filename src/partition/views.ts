/** Longer views are made anew each time. */
const KEPT_BYTES = 64;

/**
 * Views of an array from one place on. Short ones are kept by their length: to make one takes as long as to copy what it shows, and a frame of one operation has no
 * other bytes.
 */
export class Views {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #kept: Uint8Array[];

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.#kept = Array.from({ length: KEPT_BYTES + 1 }, (_, length) => bytes.subarray(start, start + length));
  }

  of(length: number): Uint8Array {
    return this.#kept[length] ?? this.#bytes.subarray(this.#start, this.#start + length);
  }
}
