import { copyLane, type LaneSink } from '../backup/copy-lane.js';
import { describe, readLaneState } from '../backup/lane-state.js';
import { LaneTarget } from '../backup/lane-target.js';
import { countersOf, type PartitionCounter } from '../backup/partition-counters.js';
import { DataDirectory } from '../directory.js';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import { LOG_BEGIN } from '../log/replay.js';
import { Kind, MAXIMUM_PAGES, Partition } from '../partition/partition.js';
import { ByteWriter } from '../protocol/bytes.js';
import { DEFAULT_LIMITS, Flag, Opcode } from '../protocol/opcode.js';
import { partitionOf } from '../protocol/partition-hash.js';
import { writeExtendedDelta, writeNameKey, writeOperationByName, writeSequence } from '../protocol/request.js';
import { compileWasm } from '../wasm.js';
import { type NewCursor, newCursors } from './cursors.js';
import { type Bringing, bringsOf, keepsOf, mergesOf, takeUniques } from './uniques.js';

/** A data directory of another with other lanes, or other partitions. The old one is only read. */

export interface Wanted {
  readonly lanes: number;
  readonly partitions: number;
}

export interface Repartitioned {
  readonly epoch: number;
  readonly lanes: number;
  readonly partitions: number;
  readonly counters: number;
  /** Of all values. */
  readonly sum: bigint;
  /** Named ones that have a cursor. */
  readonly producers: number;
}

export interface RepartitionOptions {
  /** Go on although operations with these ids could then be applied again. */
  readonly forgetsOperationIds: boolean;
  /** Now, since 1970. */
  readonly milliseconds: number;
  /** Is told how many partitions are read, rebuilt or written. */
  readonly onProgress: (partitions: number) => void;
}

/** What the limits of a server allow at most: it sets its own at its start. */
const MOST_PRODUCERS = 1_048_576;
/** What was seen by hour and day is taken whatever it comes to. */
const MOST_WINDOW_BYTES = Number.MAX_SAFE_INTEGER;
const BATCH_BYTES = DEFAULT_LIMITS.frame / 2;
/** The kernel takes no longer step of its clock for time that has passed. */
const CLOCK_STEP_MILLISECONDS = 3_600_000;

/**
 * Makes the directory `into`, under a new epoch. With as many partitions as before each partition is what it was, and its history. With another number
 * the counters go to where their names belong now, with their unique items, also by hour and day, and those that count once, and the producers that have cursors with them; the sessions of all producers
 * end, because what a client sends again of an old partition must not be counted by a new one.
 *
 * It takes the memory of all partitions and of one lane. If the process dies on the way, what is there is no directory that a
 * server takes.
 *
 * @throws TallystickError LOG_CORRUPT, CURSORS_DIFFER, OPERATION_IDS_LIVE, CONFIG_INVALID where `into` is there, STORAGE_FULL,
 * STORAGE_FAILED
 */
export async function repartition(
  directory: DataDirectory,
  into: string,
  wanted: Wanted,
  options: RepartitionOptions,
): Promise<Repartitioned> {
  const old = directory.lanes.flatMap((lane) => lane.partitions).length;
  const rebuilt = old === wanted.partitions ? undefined : await rebuild(directory, wanted.partitions, options);
  const made = DataDirectory.createForRestore(into, wanted, directory.secret);
  try {
    const targets = made.lanes.map((place) => new LaneTarget(place));
    const partitions = new Map<number, Partition>();
    const sink = sinkOf(targets, options, partitions);
    try {
      for (const [number, partition] of rebuilt ?? []) {
        await sink.state(describe(number, partition, LOG_BEGIN, options.milliseconds), partition);
      }
      const kernel = compileWasm('kernel');
      for (const lane of rebuilt ? [] : directory.lanes) await copyLane(lane, kernel, options.milliseconds, sink);
    } finally {
      for (const target of targets) await target.close();
    }
    for (const target of targets) await target.begin();
    made.markReady();
    return {
      epoch: made.manifest.epoch,
      lanes: made.lanes.length,
      partitions: partitions.size,
      ...summary(partitions),
    };
  } finally {
    made.close();
  }
}

/** Writes partitions where they belong, and keeps them. Their log begins at their sequence, chained to their state. */
function sinkOf(
  targets: readonly LaneTarget[],
  { onProgress }: RepartitionOptions,
  partitions: Map<number, Partition>,
): LaneSink {
  const targetOf = (number: number) => targets.find(({ place }) => place.partitions.includes(number)) as LaneTarget;
  return {
    rows: (number, rows) => targetOf(number).takeRows(number, rows),
    gone: (number, counters) => targetOf(number).removeRows(number, counters),
    history: async (number, sequence, since) => targetOf(number).knowsHistory(number, { sequence, since }),
    state: async (manifest, partition) => {
      const place = { ...LOG_BEGIN, sequence: partition.sequence, hash: partition.stateHash };
      await targetOf(manifest.partition).take({ ...manifest, place }, (index) => partition.page(index));
      partitions.set(manifest.partition, partition);
      onProgress(1);
    },
  };
}

/** The partitions of a directory as another number of them. */
async function rebuild(
  directory: DataDirectory,
  count: number,
  options: RepartitionOptions,
): Promise<ReadonlyMap<number, Partition>> {
  const rebuilt = new Rebuilt(count, directory.secret, options.milliseconds);
  let old = 0;
  for await (const [number, partition] of partitionsOf(directory, options)) {
    if (!options.forgetsOperationIds) expireOperationIds(number, partition, options.milliseconds);
    rebuilt.take(number, partition);
    old++;
  }
  rebuilt.finish(old);
  return rebuilt.partitions;
}

async function* partitionsOf(directory: DataDirectory, { milliseconds, onProgress }: RepartitionOptions) {
  const kernel = compileWasm('kernel');
  for (const { path, partitions } of directory.lanes) {
    for (const { partition, manifest } of await readLaneState(path, partitions, kernel, milliseconds)) {
      yield [manifest.partition, partition] as const;
      onProgress(1);
    }
  }
}

/** Lets the time pass that has passed. @throws TallystickError OPERATION_IDS_LIVE where some are not old enough yet */
function expireOperationIds(number: number, partition: Partition, now: number): void {
  const none = new Uint8Array(0);
  while (partition.statistics.operationIds > 0) {
    const before = partition.statistics.operationIds;
    const isNow = partition.time >= now;
    partition.apply(Kind.TICK, 0, 0, 0, Math.min(now, partition.time + CLOCK_STEP_MILLISECONDS), none);
    const left = partition.statistics.operationIds;
    if (isNow && left === before) {
      throw new TallystickError('OPERATION_IDS_LIVE', `Partition ${number} has ${left} of them.`);
    }
  }
}

/** Lets the counters go that are past their time. */
function endDue(partition: Partition, now: number): void {
  while (partition.hasDue(now)) partition.apply(Kind.TICK, 0, 0, 0, now, new Uint8Array(0));
}

/** Operations for one partition. */
interface OpenBatch {
  readonly body: ByteWriter;
  operations: number;
}

/** Partitions in the making: counters, cursors, and incarnations behind all that there were. */
class Rebuilt {
  readonly partitions = new Map<number, Partition>();
  readonly #milliseconds: number;
  readonly #batches: readonly OpenBatch[];
  readonly #cursors = new Map<string, Map<number, Uint8Array>>();
  readonly #name = new ByteWriter();
  /** Of the partitions that keep uniques: all have the same, which the next start would give them. */
  #classes: Uint8Array = new Uint8Array(0);
  /** By new partition. */
  readonly #bringings: readonly Bringing[][];
  #incarnation = 0;
  /** The latest clock of the old partitions: what they keep for some time they keep by a clock of their own. */
  #clock = 0;

  constructor(count: number, secret: Uint8Array, milliseconds: number) {
    this.#milliseconds = milliseconds;
    this.#batches = Array.from({ length: count }, () => ({ body: new ByteWriter(), operations: 0 }));
    this.#bringings = Array.from({ length: count }, () => []);
    const kernel = compileWasm('kernel');
    for (let number = 0; number < count; number++) {
      const partition = new Partition(kernel);
      partition.configure(
        {
          partition: number,
          partitions: count,
          secret,
          maximumPages: MAXIMUM_PAGES,
          maximumProducers: MOST_PRODUCERS,
          maximumOperationIds: 0,
          producerIdleMilliseconds: 0,
          operationIdMilliseconds: 0,
          windowBytes: MOST_WINDOW_BYTES,
        },
        milliseconds,
      );
      this.partitions.set(number, partition);
    }
  }

  /** Takes what an old partition counts, and the cursors in it. */
  take(number: number, partition: Partition): void {
    endDue(partition, this.#milliseconds);
    for (const counter of countersOf(partition)) this.#add(counter);
    for (const bringings of [mergesOf(partition), bringsOf(partition), keepsOf(partition)]) {
      for (const bringing of bringings) {
        this.#classes = partition.classes;
        this.#bringings[this.#partitionOf(bringing.name)]?.push(bringing);
      }
    }
    this.#clock = Math.max(this.#clock, partition.clock);
    this.#incarnation = Math.max(this.#incarnation, partition.incarnation);
    for (const { id, isNamed, cursor } of partition.producers()) {
      if (!cursor || !isNamed) continue; // nobody comes back as one without a name
      const producer = Buffer.from(id).toString('hex');
      const cursors = this.#cursors.get(producer) ?? new Map<number, Uint8Array>();
      this.#cursors.set(producer, cursors.set(number, cursor));
    }
  }

  /** Once all of the `old` partitions were taken. @throws TallystickError CURSORS_DIFFER */
  finish(old: number): void {
    const cursors = newCursors(this.#cursors, old, this.partitions.size);
    for (const [number, partition] of this.partitions) {
      this.#send(number);
      partition.startClock(this.#clock);
      const bringings = this.#bringings[number] ?? [];
      if (bringings.length > 0) takeUniques(partition, this.#classes, bringings, this.#milliseconds);
    }
    for (const partition of this.partitions.values()) partition.startIncarnations(this.#incarnation);
    for (const cursor of cursors) this.#open(cursor);
  }

  #add({ name, value, expires }: PartitionCounter): void {
    const number = this.#partitionOf(name);
    const batch = this.#batches[number] as OpenBatch;
    if (expires === 0) writeOperationByName(batch.body, name, value);
    else {
      writeNameKey(batch.body, name, true);
      writeExtendedDelta(batch.body, value, { expiry: { at: expires } });
    }
    batch.operations++;
    if (batch.operations === DEFAULT_LIMITS.batch || batch.body.length > BATCH_BYTES) this.#send(number);
  }

  #partitionOf(name: string): number {
    this.#name.reset();
    const end = this.#name.name(name);
    return partitionOf(this.#name.buffer, 0, end, this.partitions.size);
  }

  #send(number: number): void {
    const batch = this.#batches[number] as OpenBatch;
    if (batch.operations === 0) return;
    const body = new ByteWriter(batch.body.length + 8);
    body.varint(batch.operations);
    body.bytes(batch.body.view());
    this.#apply(number, Opcode.ADD, 0, body.view());
    batch.body.reset();
    batch.operations = 0;
  }

  /** A producer with its cursor, as by a batch of a session that is over. */
  #open({ producer, partition: number, cursor }: NewCursor): void {
    const partition = this.#apply(number, Kind.OPEN_PRODUCER, 0, Buffer.from(`${producer}01`, 'hex'));
    const { producer: handle, incarnation } = partition.openedProducer;
    const body = new ByteWriter();
    writeSequence(body, 1, 0, cursor);
    body.varint(0);
    this.#apply(number, Opcode.ADD, Flag.SEQUENCED, body.view(), handle, incarnation);
  }

  #apply(number: number, kind: number, flags: number, body: Uint8Array, handle = 0, incarnation = 0): Partition {
    const partition = this.partitions.get(number) as Partition;
    const status = partition.apply(kind, flags, handle, incarnation, this.#milliseconds, body);
    if (status !== OK) {
      throw new TallystickError('INTERNAL', `Partition ${number} refuses what it is to take: ${codeOfStatus(status)}.`);
    }
    return partition;
  }
}

function summary(partitions: ReadonlyMap<number, Partition>) {
  let counters = 0;
  let sum = 0n;
  const producers = new Set<string>();
  for (const partition of partitions.values()) {
    counters += partition.statistics.counters;
    for (const { value } of countersOf(partition)) sum += value;
    for (const { id, isNamed, cursor } of partition.producers()) {
      if (cursor && isNamed) producers.add(Buffer.from(id).toString('hex'));
    }
  }
  return { counters, sum, producers: producers.size };
}
