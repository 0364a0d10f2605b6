import type { FailedOperation } from '../../client/index.js';
import { type ErrorCode, TallystickError } from '../../errors.js';
import type { Operation, Pending } from './aggregate.js';
import type { IngestTarget } from './target.js';

/** An increment that the server refused for good, while the rest of its batch was applied. */
export interface Refusal {
  readonly name: string;
  readonly delta: bigint;
  /** As in the operation. */
  readonly time?: number;
  readonly code: ErrorCode;
}

/** So many refusals are kept; all are counted. */
export const REFUSALS_KEPT = 1_000;

/**
 * What became of a step and says nothing about the next batches. All else, from MEMORY_FULL to PRODUCER_FENCED, they
 * would meet too, or they would overtake a batch that was not applied: the ingest stops before more is lost.
 */
const PASSED_OVER: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'OVERFLOW',
  'ALREADY_APPLIED',
  'TIME_TOO_OLD',
  'TIME_AHEAD',
]);

/**
 * The batches on their way: at most one for each partition, so they are applied in order and a batch that fails
 * can't be overtaken by a cursor behind it. The partitions go in parallel.
 */
export class Outbox {
  /** Batches and increments that were acknowledged. */
  batches = 0;
  increments = 0;
  /** Items that were told to have been seen, also those that had been before. */
  sightings = 0;
  refused = 0;
  readonly refusals: Refusal[] = [];
  /** What was refused, by its code. */
  readonly refusedBy = new Map<ErrorCode, number>();
  /** Batches that were applied, but of which nobody knows any more whether the server refused steps of them. */
  answersLost = 0;

  readonly #target: IngestTarget;
  readonly #flights = new Map<number, Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(target: IngestTarget) {
    this.#target = target;
  }

  /** Resolves when nothing of this partition is on its way; rejects once any batch has failed. */
  async ready(partition: number): Promise<void> {
    await this.#flights.get(partition);
    this.throwFailure();
  }

  /** Sends one batch off; only when the partition is `ready`. */
  send(partition: number, pending: Pending, cursor: Uint8Array | undefined): void {
    const flight = this.#fly(partition, pending, cursor)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#flights.delete(partition));
    this.#flights.set(partition, flight);
  }

  /** Resolves when nothing is on its way any more. */
  async settle(): Promise<void> {
    await Promise.all(this.#flights.values());
  }

  /** @throws what the first batch failed with, if one did */
  throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #fly(partition: number, pending: Pending, cursor: Uint8Array | undefined): Promise<void> {
    const { operations } = pending;
    await this.#see(pending);
    const failed = await this.#apply(partition, operations, cursor);
    const failure = failed.find(({ error }) => !PASSED_OVER.has(error.code))?.error;
    if (failure === undefined || failed.length < operations.length) {
      this.batches += 1;
      this.increments += pending.increments;
    }
    for (const { index, name, error } of failed) {
      if (error.outcome !== 'refused') continue;
      this.refused += 1;
      this.refusedBy.set(error.code, (this.refusedBy.get(error.code) ?? 0) + 1);
      const { delta, time } = operations[index] as Operation;
      const refusal = { name, delta, code: error.code };
      if (this.refused <= REFUSALS_KEPT) this.refusals.push(time === undefined ? refusal : { ...refusal, time });
    }
    if (failed.some(({ error }) => error.code === 'ALREADY_APPLIED')) this.answersLost += 1;
    if (failure !== undefined) throw failure;
  }

  /** Before the cursor says so: an item that is told again after a crash counts once all the same. */
  async #see({ sightings, items }: Pending): Promise<void> {
    await Promise.all([...sightings].map(([name, seen]) => this.#target.see(name, [...seen])));
    this.sightings += items;
  }

  async #apply(
    partition: number,
    operations: readonly Operation[],
    cursor: Uint8Array | undefined,
  ): Promise<readonly FailedOperation[]> {
    try {
      return await this.#target.batchTo(partition, operations, {
        values: false,
        ...(cursor && { cursor }),
      });
    } catch (error) {
      // Applied once, before a lost connection; the server keeps only so many bytes of answers for the retry.
      if (!(error instanceof TallystickError) || error.code !== 'ALREADY_APPLIED') throw error;
      this.answersLost += 1;
      return [];
    }
  }
}
