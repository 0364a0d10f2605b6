import type { KernelExports } from './kernel-exports.js';

/** Which counters of a partition were touched by bodies that are not on the device (src/kernel/dirty.ts). */
export class Dirty {
  readonly #kernel: KernelExports;

  constructor(kernel: KernelExports) {
    this.#kernel = kernel;
  }

  get isKept(): boolean {
    return this.#kernel.keepsDirty() !== 0;
  }

  /** Begins to keep it: for two groups everything is dirty. */
  keep(): void {
    this.#kernel.keepDirty(1);
  }

  end(): void {
    this.#kernel.keepDirty(0);
  }

  /** To be called when a group is sealed, the one before being on the device. */
  seal(): void {
    this.#kernel.sealDirty();
  }

  /** Whether all counters of the GET that was read last exist, and none is dirty. To be asked while it is kept, before the next call. */
  get areReadClean(): boolean {
    return this.#kernel.areClean() !== 0;
  }
}
