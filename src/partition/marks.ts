import type { KernelExports } from './kernel-exports.js';

// src/kernel/layout.ts; a test holds the two together.
const REGISTER_NEXT = 16;
const REGISTER_MARKED = 524;
const RECEIVE = 0x1000;
const MARKS = 0x101000;
const ANSWER = 0x180000;
const H_SLOTS = 0x600000 + 64;
const MARKED_SLOTS = 491_520;
const MARKS_OF_A_CALL = 16_384;

/** Which counters of a partition were touched, a bit each by their slots, up to some hundred thousands (src/kernel/touched.ts): views of kernel memory. */
export class Marks {
  readonly #memory: WebAssembly.Memory;
  readonly #kernel: KernelExports;
  readonly #view: DataView;

  /** @param view of the memory from its start on */
  constructor(memory: WebAssembly.Memory, kernel: KernelExports, view: DataView) {
    this.#memory = memory;
    this.#kernel = kernel;
    this.#view = view;
  }

  /** Whether there may be any. */
  get any(): boolean {
    return this.#view.getUint32(REGISTER_MARKED, true) > 0;
  }

  /** Those of all slots. */
  get words(): Uint32Array {
    const slots = this.#view.getUint32(H_SLOTS, true);
    return new Uint32Array(this.#memory.buffer, MARKS, Math.ceil(Math.min(slots, MARKED_SLOTS) / 32));
  }

  clear(): void {
    if (!this.any) return;
    this.#view.setUint32(REGISTER_MARKED, 0, true);
    this.words.fill(0);
  }

  /**
   * Reads the counters that are marked and have a bit in `among`, in the order of their slots, some at a time: their slots, and their values as numbers, NaN where one is
   * beyond 2^53 - 1, infinite where the counter does not exist. Both are valid during the call of `take` alone. One call of the kernel for thousands of counters, whose
   * memory it goes through from one end to the other.
   */
  read(among: Uint32Array, take: (slots: Uint32Array, values: Float64Array) => void): void {
    if (!this.any) return;
    const { buffer } = this.#memory;
    const words = Math.min(among.length, this.words.length);
    const bits = new Uint32Array(buffer, RECEIVE, words);
    let from = 0;
    do {
      bits.set(among.subarray(0, words));
      const count = this.#kernel.readMarked(words, from);
      from = this.#view.getUint32(REGISTER_NEXT, true);
      if (count === 0) continue;
      take(new Uint32Array(buffer, ANSWER + MARKS_OF_A_CALL * 8, count), new Float64Array(buffer, ANSWER, count));
    } while (from > 0);
  }
}
