import { nameOfId } from '../backup/partition-counters.js';
import { EFFECT_BYTES } from '../lane/recovery.js';
import type { LogEntry } from '../log/record.js';
import { Kind, type Partition } from '../partition/partition.js';
import { decodeSteps } from '../partition/steps.js';
import { decodeExpire } from '../protocol/expiry.js';
import { decodeOnce } from '../protocol/once.js';
import { Opcode } from '../protocol/opcode.js';
import { decodeAdd, decodeDelete, decodeSet, type Key, type Sequence } from '../protocol/request.js';
import { decodeMerge, decodeSee } from '../protocol/uniques.js';

/** What the entries that are not kept asked for. */

export interface DroppedCounter {
  /** Where no kept counter has its id: `id <slot>.<generation>`. */
  readonly name: string;
  /** The sum of what was to be added, by SET and DELETE too; steps with bounds or an operation id may have been refused, and items counted before. */
  readonly delta: bigint;
  readonly operations: number;
}

export interface DroppedProducer {
  /** The number that the partition gave it. */
  readonly producer: number;
  readonly batches: number;
  /** The first and the last of its sequences. */
  readonly sequences: readonly [first: number, last: number];
}

export interface Dropped {
  /** Sequences of the partition from the first one that is not kept to the last one that anything tells of. */
  readonly from: number;
  readonly through: number;
  /** So many of their entries can still be read; the lists below are of these. */
  readonly readable: number;
  /** Of the first and the last of them, in milliseconds since 1970. */
  readonly times: readonly [first: number, last: number] | undefined;
  readonly counters: readonly DroppedCounter[];
  readonly producers: readonly DroppedProducer[];
}

/** Takes the entries that are not kept, in any order, and sums up what they asked for. */
export class DroppedEntries {
  readonly #kept: Partition;
  readonly #counters = new Map<string, { name: string; delta: bigint; operations: number }>();
  readonly #producers = new Map<number, { producer: number; batches: number; sequences: [number, number] }>();
  readonly #sequences = new Set<number>();
  #times: [number, number] | undefined;

  /** @param kept tells the names of ids */
  constructor(kept: Partition) {
    this.#kept = kept;
  }

  take({ kind, flags, sequence, producer, milliseconds, body }: LogEntry): void {
    if (this.#sequences.has(sequence)) return;
    this.#sequences.add(sequence);
    const [first, last] = this.#times ?? [milliseconds, milliseconds];
    this.#times = [Math.min(first, milliseconds), Math.max(last, milliseconds)];
    const { counters, batch } = askedBy(kind, flags, body);
    for (const { key, delta } of counters) this.#add(key, delta);
    if (batch) this.#batch(producer, batch.sequence);
  }

  /** @param known the last sequence that anything tells of besides the entries */
  summary(from: number, known: number): Dropped {
    const last = [...this.#sequences].reduce((most, sequence) => Math.max(most, sequence), 0);
    const counters = [...this.#counters.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return {
      from,
      through: Math.max(known, last),
      readable: this.#sequences.size,
      times: this.#times,
      counters,
      producers: [...this.#producers.values()],
    };
  }

  #add(key: Key, delta: bigint): void {
    const name = 'name' in key ? key.name : (nameOfId(this.#kept, key) ?? `id ${key.slot}.${key.generation}`);
    const counter = this.#counters.get(name) ?? { name, delta: 0n, operations: 0 };
    counter.delta += delta;
    counter.operations++;
    this.#counters.set(name, counter);
  }

  #batch(producer: number, sequence: number): void {
    const found = this.#producers.get(producer) ?? { producer, batches: 0, sequences: [sequence, sequence] };
    found.batches++;
    found.sequences = [Math.min(found.sequences[0], sequence), Math.max(found.sequences[1], sequence)];
    this.#producers.set(producer, found);
  }
}

interface Asked {
  readonly counters: readonly { readonly key: Key; readonly delta: bigint }[];
  readonly batch?: Sequence | undefined;
}

/** What a body asks of counters: nothing where it is no request. */
function askedBy(kind: number, flags: number, body: Uint8Array): Asked {
  switch (kind) {
    case Opcode.ADD:
    case Kind.STEPS: {
      const { operations, sequence } = (kind === Opcode.ADD ? decodeAdd : decodeSteps)(body, flags);
      return { counters: operations, batch: sequence };
    }
    case Opcode.ONCE: {
      const { operations, sequence } = decodeOnce(body, flags);
      return { counters: operations.map(({ key, delta = 1n }) => ({ key, delta })), batch: sequence };
    }
    case Opcode.SEE: {
      const { sightings, sequence } = decodeSee(body, flags);
      return { counters: sightings.map(({ key }) => ({ key, delta: 0n })), batch: sequence };
    }
    case Opcode.MERGE:
    case Opcode.EXPIRE: {
      const { key, sequence } = (kind === Opcode.MERGE ? decodeMerge : decodeExpire)(body, flags);
      return { counters: [{ key, delta: 0n }], batch: sequence };
    }
    case Opcode.SET:
    case Opcode.DELETE: {
      const end = body.length - EFFECT_BYTES;
      const delta = new DataView(body.buffer, body.byteOffset + end, EFFECT_BYTES).getBigInt64(0, true);
      const { key, sequence } = (kind === Opcode.SET ? decodeSet : decodeDelete)(body.subarray(0, end), flags);
      return { counters: [{ key, delta }], batch: sequence };
    }
    default:
      return { counters: [] };
  }
}
