/** One step of one counter; a batch may hold several of the same name. */
export interface Operation {
  readonly name: string;
  readonly delta: bigint;
  /** When it happened, in milliseconds since 1970; absent: when it is applied. */
  readonly time?: number;
}

export interface AggregateLimits {
  /** Operations in a batch; at most 10,000. */
  readonly operations: number;
  /** Bytes of a batch's body; at most 1 MiB, less 128 bytes for its head and cursor. */
  readonly bytes: number;
  /** Operations that one record can add; a sighting has the bytes of two. */
  readonly perRecord: number;
}

/** An operation that goes on summing. */
type Sum = { -readonly [Key in keyof Operation]: Operation[Key] };

/** The increments of one partition that wait to be sent. */
export interface Pending {
  readonly operations: Sum[];
  /** Of increments with a time, the operation that sums those of a minute and a name, and of one sign. */
  readonly ofMinutes: Map<string, Sum>;
  /** Increments that the operations sum up. */
  increments: number;
  /** Items that were seen under names, each once. */
  readonly sightings: Map<string, Set<string>>;
  /** How many these are. */
  items: number;
  bytes: number;
}

/** The key's head (2), the delta (10), a time (7) and some air, so that the estimate is an upper bound. */
const OPERATION_OVERHEAD_BYTES = 24;
const MAX_NAME_BYTES = 1024;
const MIN_I64 = -(2n ** 63n);
const MAX_I64 = 2n ** 63n - 1n;

/** Names are remembered up to this many, or this many characters; then all are forgotten and learnt anew. */
const CACHED_NAMES = 1 << 18;
const CACHED_CHARACTERS = 1 << 25;

/** What is known of a name: its partition, and the operations that collect its increases and its decreases. */
interface Slot {
  readonly partition: number;
  /** The batch that the operations belong to; if it has been taken, new ones must be begun. */
  batch: Pending;
  increase: Sum | undefined;
  decrease: Sum | undefined;
}

/**
 * Sums increments by name, and by minute where they bring a time, until their partition's batch is taken: increases and decreases apart, as the class of
 * a name may keep gross sums. A batch counts as full while one more record still fits, so a batch always ends between two records and never has to be
 * split: its cursor is true as it stands.
 */
export class Aggregate {
  /** Partitions whose batch must be taken before the next record is added. */
  readonly full = new Set<number>();

  readonly #partitionOf: (name: string) => number;
  readonly #operationsWhenFull: number;
  readonly #bytesWhenFull: number;
  readonly #pending: Pending[];
  readonly #slots = new Map<string, Slot>();
  #characters = 0;
  #mostNames = 0;

  constructor(target: { partitions: number; partitionOf(name: string): number }, limits: AggregateLimits) {
    this.#partitionOf = (name) => target.partitionOf(name);
    this.#operationsWhenFull = limits.operations - limits.perRecord + 1;
    this.#bytesWhenFull = limits.bytes - limits.perRecord * (MAX_NAME_BYTES + OPERATION_OVERHEAD_BYTES) + 1;
    this.#pending = Array.from({ length: target.partitions }, emptyBatch);
  }

  /** Distinct names so far; a lower bound once `exact` is false, because names are forgotten to bound the memory. */
  get names(): { count: number; exact: boolean } {
    return { count: Math.max(this.#mostNames, this.#slots.size), exact: this.#mostNames === 0 };
  }

  partitionOf(name: string): number {
    return this.#slots.get(name)?.partition ?? this.#partitionOf(name);
  }

  /** `minute`: the time of the increment, as the beginning of its minute. */
  add(name: string, delta: bigint, minute?: number): void {
    const slot = this.#slots.get(name) ?? this.#learn(name);
    const pending = this.#pending[slot.partition] as Pending;
    pending.increments += 1;
    const open = openSum(slot, pending, name, delta, minute);
    if (open !== undefined) {
      const sum = open.delta + delta;
      if (sum >= MIN_I64 && sum <= MAX_I64) {
        open.delta = sum;
        return;
      }
    }
    const operation = minute === undefined ? { name, delta } : { name, delta, time: minute };
    if (slot.batch !== pending) Object.assign(slot, { batch: pending, increase: undefined, decrease: undefined });
    slot[delta < 0n ? 'decrease' : 'increase'] = operation;
    pending.operations.push(operation);
    if (minute !== undefined) pending.ofMinutes.set(keyOfMinute(name, delta, minute), operation);
    this.#grow(slot.partition, pending, name);
  }

  /** Notes that an item was seen under a name. */
  see(name: string, item: string): void {
    const { partition } = this.#slots.get(name) ?? this.#learn(name);
    const pending = this.#pending[partition] as Pending;
    const items = pending.sightings.get(name) ?? new Set();
    pending.sightings.set(name, items);
    if (items.has(item)) return;
    items.add(item);
    pending.items += 1;
    this.#grow(partition, pending, name, item);
  }

  #grow(partition: number, pending: Pending, ...texts: readonly string[]): void {
    for (const text of texts) pending.bytes += Buffer.byteLength(text) + OPERATION_OVERHEAD_BYTES;
    const operations = Math.max(pending.operations.length, pending.items);
    if (operations >= this.#operationsWhenFull || pending.bytes >= this.#bytesWhenFull) this.full.add(partition);
  }

  /** Whether increments or sightings wait for this partition. */
  has(partition: number): boolean {
    const { operations, items } = this.#pending[partition] as Pending;
    return operations.length > 0 || items > 0;
  }

  /** Hands over what waits for a partition and begins its next batch. */
  take(partition: number): Pending {
    const pending = this.#pending[partition] as Pending;
    this.#pending[partition] = emptyBatch();
    this.full.delete(partition);
    return pending;
  }

  #learn(name: string): Slot {
    if (this.#slots.size >= CACHED_NAMES || this.#characters >= CACHED_CHARACTERS) {
      this.#mostNames = Math.max(this.#mostNames, this.#slots.size);
      this.#slots.clear();
      this.#characters = 0;
    }
    const partition = this.#partitionOf(name);
    const slot: Slot = { partition, batch: FORGOTTEN, increase: undefined, decrease: undefined };
    this.#slots.set(name, slot);
    this.#characters += name.length;
    return slot;
  }
}

/** The operation of a batch that sums the increments of a name and of that sign, in a minute where they have one. */
function openSum(
  { batch, increase, decrease }: Slot,
  pending: Pending,
  name: string,
  delta: bigint,
  minute: number | undefined,
): Sum | undefined {
  const operation = delta < 0n ? decrease : increase;
  if (batch === pending && operation && operation.time === minute) return operation;
  return minute === undefined ? undefined : pending.ofMinutes.get(keyOfMinute(name, delta, minute));
}

const keyOfMinute = (name: string, delta: bigint, minute: number): string =>
  `${delta < 0n ? '-' : '+'}${minute} ${name}`;

const emptyBatch = (): Pending => ({
  operations: [],
  ofMinutes: new Map(),
  increments: 0,
  sightings: new Map(),
  items: 0,
  bytes: 0,
});

/** No partition's batch: stands in a slot until its first operation. */
const FORGOTTEN = emptyBatch();
