import type { Clock } from '../clock.js';
import { codeOfStatus, type ErrorCode, OK } from '../errors.js';
import { distribution, LATENCY_BOUNDS, microseconds, recordMilliseconds } from '../log/histogram.js';
import { ByteReader } from '../protocol/bytes.js';
import type { StatsMap } from '../protocol/control.js';
import { Opcode } from '../protocol/opcode.js';
import { SampleDistances } from './sample-distances.js';

/** The mean distance of writes whose time is taken: to take it of all would cost one of a single operation some percent. */
const SAMPLE = 16;

/** Requests whose answers begin with the operations that were refused, and those that begin with the status of their one. */
const LISTED: ReadonlySet<number> = new Set([Opcode.ADD, Opcode.SEE, Opcode.ONCE]);
const SINGLE: ReadonlySet<number> = new Set([Opcode.SET, Opcode.DELETE]);

/**
 * What a lane has acknowledged, for STATS: how many writes by the kind of their acknowledgement, how long it took from the frame to the
 * acknowledgement, by a sample, and the operations within them that their counters refused.
 */
export class Acks {
  readonly #clock: Clock;
  readonly #durable = { count: 0, latency: microseconds() };
  readonly #applied = { count: 0, latency: microseconds() };
  readonly #refusals = new Map<ErrorCode, number>();
  /** Of all whose time is not taken. */
  readonly #untimed = (isShown: boolean): void => this.#durableEnded(isShown, undefined);
  #skip = 0;
  readonly #distances = new SampleDistances(SAMPLE);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** To be called when a write has come: when it began, for those whose time is taken. */
  begin(): number | undefined {
    if (this.#skip-- > 0) return undefined;
    this.#skip = this.#distances.next() - 1;
    return this.#clock.monotonicMilliseconds();
  }

  /** Is to be told of a durable write when it has ended, and whether that was shown. */
  whenDurable(began: number | undefined): (isShown: boolean) => void {
    return began === undefined ? this.#untimed : (isShown) => this.#durableEnded(isShown, began);
  }

  applied(began: number | undefined): void {
    this.#count(this.#applied, began);
  }

  /** Counts what was refused of a request that was applied, by what the kernel answers. */
  take(kind: number, answer: Uint8Array): void {
    if (answer.length === 0 || answer[0] === 0) return; // no operation, or OK
    if (SINGLE.has(kind)) this.#refuse(answer[0] as number);
    if (!LISTED.has(kind)) return;
    const reader = new ByteReader(answer);
    for (let left = reader.varint(); left > 0; left--) {
      reader.varint();
      this.#refuse(reader.u8());
    }
  }

  describe(): StatsMap {
    const [durable, applied] = [this.#durable, this.#applied];
    return {
      acks: { durable: durable.count, applied: applied.count },
      ackMicroseconds: {
        durable: { ...distribution(durable.latency, LATENCY_BOUNDS) },
        applied: { ...distribution(applied.latency, LATENCY_BOUNDS) },
      },
      operationsRefused: Object.fromEntries(this.#refusals),
    };
  }

  #durableEnded(isShown: boolean, began: number | undefined): void {
    if (isShown) this.#count(this.#durable, began);
  }

  #count(kind: { count: number; readonly latency: ReturnType<typeof microseconds> }, began: number | undefined): void {
    kind.count++;
    if (began !== undefined) recordMilliseconds(kind.latency, this.#clock.monotonicMilliseconds() - began);
  }

  #refuse(status: number): void {
    if (status === OK) return;
    const code = codeOfStatus(status);
    this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + 1);
  }
}
