import type { Operation } from '../../src/cli/ingest/aggregate.js';
import type { IngestTarget } from '../../src/cli/ingest/target.js';
import type { ToldPoint } from '../../src/cli/sdk.js';
import type { FailedOperation } from '../../src/client/index.js';
import { TallystickError } from '../../src/errors.js';

const MIN_I64 = -(2n ** 63n);
const MAX_I64 = 2n ** 63n - 1n;

/** What a server keeps: it outlives the targets, as a data directory outlives connections. */
export class FakeServer {
  readonly values = new Map<string, bigint>();
  /** What increments with a time came to, by that time and their name. */
  readonly minutes = new Map<string, bigint>();
  readonly cursors = new Map<number, Uint8Array>();
  /** Of SETs and DELETEs. */
  readonly reasons: string[] = [];
  /** The kind of each read. */
  readonly reads: string[] = [];
  /** What was asked of histories, and what is answered. */
  readonly asked: unknown[] = [];
  /** When counters end. */
  readonly expiries = new Map<string, number>();
  readonly points: ToldPoint[] = [];
  /** What was seen under names. More than `exactUniques` are told as an estimate. */
  readonly uniques = new Map<string, Set<string>>();
  exactUniques = 3;
  /** What subscriptions tell, and how they were asked for. */
  readonly events: unknown[] = [];
  readonly subscribed: unknown[] = [];
  /** For each lane its hottest counters. */
  readonly hot: { readonly name: string; readonly perSecond: number }[][] = [];
  /** What it tells of itself. */
  stats: unknown = { server: 'fake', lanes: [{ increments: 12n }, { increments: 3 }] };
  /** Counters that lists have given. */
  listed = 0;
  batches = 0;
  emptyBatches = 0;

  constructor(readonly partitions: number) {}

  partitionOf(name: string): number {
    let hash = 7;
    for (const byte of Buffer.from(name)) hash = (hash * 31 + byte) >>> 0;
    return hash % this.partitions;
  }

  apply(partition: number, operations: readonly Operation[], cursor: Uint8Array | undefined): FailedOperation[] {
    this.batches += 1;
    if (operations.length === 0) this.emptyBatches += 1;
    if (cursor !== undefined) this.cursors.set(partition, cursor.slice());
    return operations.flatMap(({ name, delta, time }, index) => {
      if (this.partitionOf(name) !== partition) throw new TallystickError('WRONG_PARTITION');
      const value = (this.values.get(name) ?? 0n) + delta;
      if (value < MIN_I64 || value > MAX_I64) return [{ index, name, error: new TallystickError('OVERFLOW') }];
      this.values.set(name, value);
      const minute = `${time} ${name}`;
      if (time !== undefined) this.minutes.set(minute, (this.minutes.get(minute) ?? 0n) + delta);
      return [];
    });
  }

  get total(): bigint {
    return [...this.values.values()].reduce((sum, value) => sum + value, 0n);
  }
}

export interface Crash {
  /** The batch that fails, counted from 0; all later ones fail too. */
  readonly at: number;
  /** Whether that batch was applied before its answer was lost. */
  readonly applied: boolean;
}

/** One connection to a fake server. It checks the limits of the protocol, and answers after as many turns as it is told. */
export class FakeTarget implements IngestTarget {
  readonly partitions: number;
  readonly cursors: ReadonlyMap<number, Uint8Array>;
  mostInFlight = 0;
  readonly batchSizes: number[] = [];
  readonly #inFlight = new Set<number>();
  #batches = 0;

  constructor(
    readonly server: FakeServer,
    readonly options: {
      crash?: Crash;
      turns?: (batch: number) => number;
      limits?: { operations: number; bytes: number };
    } = {},
  ) {
    this.partitions = server.partitions;
    this.cursors = new Map(server.cursors);
  }

  partitionOf(name: string): number {
    return this.server.partitionOf(name);
  }

  async incrementOnce(
    name: string,
    item: string,
    { delta = 1n, within = '24h' }: { delta?: bigint; within?: string },
  ): Promise<{ counted: boolean; value: bigint }> {
    if (within !== '24h') throw new TallystickError('NOT_TRACKED');
    const [seen] = await this.see(name, [item]);
    const counted = seen?.isNew ?? false;
    const value = (this.server.values.get(name) ?? 0n) + (counted ? delta : 0n);
    this.server.values.set(name, value);
    return { counted, value };
  }

  async see(name: string, items: readonly string[]): Promise<{ isNew: boolean; exact: boolean }[]> {
    const seen = this.server.uniques.get(name) ?? new Set();
    this.server.uniques.set(name, seen);
    return items.map((item) => {
      const isNew = !seen.has(item);
      seen.add(item);
      return { isNew, exact: seen.size <= this.server.exactUniques };
    });
  }

  async batchTo(
    partition: number,
    operations: readonly Operation[],
    { cursor }: { cursor?: Uint8Array },
  ): Promise<readonly FailedOperation[]> {
    const batch = this.#batches++;
    const { crash, turns, limits = { operations: 10_000, bytes: 1 << 20 } } = this.options;
    const bytes = operations.reduce((sum, { name }) => sum + Buffer.byteLength(name) + 12, 128);
    if (operations.length > limits.operations) throw new TallystickError('TOO_MANY_OPERATIONS');
    if (bytes > limits.bytes) throw new TallystickError('FRAME_TOO_LARGE');
    if ((cursor?.length ?? 0) > 64) throw new TallystickError('BAD_REQUEST');
    if (this.#inFlight.has(partition)) throw new Error('Two batches of one partition are in flight.');
    this.#inFlight.add(partition);
    this.mostInFlight = Math.max(this.mostInFlight, this.#inFlight.size);
    this.batchSizes.push(operations.length);
    for (let turn = turns?.(batch) ?? 0; turn > 0; turn -= 1) await Promise.resolve();
    this.#inFlight.delete(partition);
    const dead = crash !== undefined && batch >= crash.at;
    const lost = dead && !(batch === crash.at && crash.applied);
    const entries = lost ? [] : this.server.apply(partition, operations, cursor);
    if (dead) throw new TallystickError('TIMEOUT');
    return entries;
  }
}
