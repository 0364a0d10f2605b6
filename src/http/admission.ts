import { TallystickError } from '../errors.js';

/** What a server has in hand at most. Beyond it a request is refused at once, which costs less than to let all of them wait. */
export interface AdmissionLimits {
  /** Requests that are being answered. */
  readonly requests: number;
  /** With so many in hand reads are refused: who reads can ask again, and what is left over is for those who count. */
  readonly requestsForReads: number;
  /** Bytes of bodies that came in part or are being answered. */
  readonly bodyBytes: number;
}

export const DEFAULT_ADMISSION: AdmissionLimits = {
  requests: 4_096,
  requestsForReads: 2_048,
  bodyBytes: 64 * 1_048_576,
};

export type Load = 'read' | 'write' | 'probe';

/** Counts what is in hand, and says whether there is room for more. */
export class Admission {
  readonly #limits: AdmissionLimits;
  #requests = 0;
  #bodyBytes = 0;
  #whenIdle: (() => void) | undefined;

  constructor(limits: AdmissionLimits = DEFAULT_ADMISSION) {
    this.#limits = limits;
  }

  get requests(): number {
    return this.#requests;
  }

  get bodyBytes(): number {
    return this.#bodyBytes;
  }

  /** Throws OVERLOADED. Probes are let in always: a server that is busy is alive. */
  enter(load: Load): void {
    const { requests, requestsForReads } = this.#limits;
    const most = load === 'read' ? requestsForReads : load === 'write' ? requests : Number.POSITIVE_INFINITY;
    if (this.#requests >= most) throw new TallystickError('OVERLOADED', `${this.#requests} requests are in hand.`);
    this.#requests++;
  }

  leave(): void {
    this.#requests--;
    if (this.#requests === 0) this.#whenIdle?.();
  }

  /** For a body of so many bytes. */
  hasRoom(bytes: number): boolean {
    return this.#bodyBytes + bytes <= this.#limits.bodyBytes;
  }

  /** Throws OVERLOADED. */
  takeBytes(bytes: number): void {
    if (!this.hasRoom(bytes))
      throw new TallystickError('OVERLOADED', `${this.#bodyBytes} bytes of bodies are in hand.`);
    this.#bodyBytes += bytes;
  }

  giveBytes(bytes: number): void {
    this.#bodyBytes -= bytes;
  }

  /** Resolves when nothing is in hand; call it once. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenIdle = resolve;
      if (this.#requests === 0) resolve();
    });
  }
}
