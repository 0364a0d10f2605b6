import type { Transport, TransportHandler } from '../../src/transport/transport.js';

/** A transport whose other end is a test: what it wrote is taken, and what it reads is delivered, only by calls here. */
export class MemoryTransport implements Transport {
  readonly remote = 'memory:1';
  /** Set by the test right after it made the handler. */
  handler: TransportHandler | undefined;
  /** Every write, uncopied, so that a change before it was taken shows. */
  readonly writes: Uint8Array[] = [];
  /** All bytes that were taken. */
  taken: number[] = [];
  /** Whether the client takes everything at once, as it is written. */
  takesAll = true;
  isPaused = false;
  isClosing = false;
  isDestroyed = false;
  #unsent: Uint8Array[] = [];
  #undelivered: Uint8Array[] = [];

  get unsentBytes(): number {
    return this.#unsent.reduce((sum, { length }) => sum + length, 0);
  }

  write(bytes: Uint8Array): void {
    if (this.isClosing || this.isDestroyed) return;
    this.writes.push(bytes);
    this.#unsent.push(bytes);
    if (this.takesAll) this.#takeUnsent(Number.POSITIVE_INFINITY);
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  close(): void {
    this.isClosing = true;
  }

  destroy(): void {
    this.isDestroyed = true;
    this.handler?.closed();
  }

  /** The client takes so many bytes of what was written. */
  take(bytes: number = Number.POSITIVE_INFINITY): void {
    const before = this.unsentBytes;
    this.#takeUnsent(bytes);
    if (before > 0 && this.unsentBytes === 0) this.handler?.drain();
  }

  /** The client sends. While paused it waits; each chunk is overwritten once it was handed over. */
  deliver(...chunks: Uint8Array[]): void {
    this.#undelivered.push(...chunks.map((chunk) => chunk.slice()));
    while (!this.isPaused && !this.isDestroyed && this.#undelivered.length > 0) {
      const chunk = this.#undelivered.shift() as Uint8Array;
      this.handler?.data(chunk);
      chunk.fill(0xee);
    }
  }

  #takeUnsent(bytes: number): void {
    let left = bytes;
    while (left > 0 && this.#unsent.length > 0) {
      const next = this.#unsent[0] as Uint8Array;
      const piece = next.subarray(0, left);
      for (const byte of piece) this.taken.push(byte);
      left -= piece.length;
      if (piece.length < next.length) this.#unsent[0] = next.subarray(piece.length);
      else this.#unsent.shift();
    }
  }
}
