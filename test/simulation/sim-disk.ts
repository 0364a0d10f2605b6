import type { Change } from '../../src/history/tables.js';
import type { CheckpointManifest, NewPage } from '../../src/log/checkpoint.js';
import type { AppendOutcome, HeadMark, LogShape, Mark, SealedGroup } from '../../src/log/log.js';
import { SimHistoryDisk, SimTables } from '../history/sim-tables.js';
import { SimCheckpointDisk, SimCheckpoints } from '../log/sim-checkpoints.js';
import { SimDisk, SimLog } from '../log/sim-log.js';
import type { ProcessClock } from './sim-clock.js';
import type { World } from './world.js';

/** Storage of one lane, over all lives of the server: what survives is here. */

/** The last marks that were written, the newest last. A loss of power may leave any of them. */
const KEPT_MARKS = 4;

export class LaneDisk {
  readonly disk = new SimDisk();
  readonly checkpoints = new SimCheckpointDisk();
  readonly history = new SimHistoryDisk();
  readonly shape: LogShape;
  readonly marks: Mark[];
  /** For each partition the last sequence that is on the device, and the record that is the last one. */
  readonly stored = new Map<number, number>();
  storedGroup = 0;
  /** The group up to which the head mark must say that all was flushed, whatever it says. */
  promisedGroup = 0;

  constructor(shape: LogShape) {
    this.shape = shape;
    const heads = new Map(shape.partitions.map((partition) => [partition, { sequence: 0, hash: 0n }]));
    this.marks = [{ group: 0, heads }];
    for (const partition of shape.partitions) this.stored.set(partition, 0);
  }

  get mark(): Mark {
    return this.marks.at(-1) as Mark;
  }

  addMark({ group, heads }: Mark): void {
    this.marks.push({ group, heads });
    if (this.marks.length > KEPT_MARKS) this.marks.shift();
  }

  /** A loss of power: the newest marks were not on the device. */
  loseMarks(count: number): void {
    this.marks.splice(Math.max(1, this.marks.length - count));
    this.promisedGroup = Math.min(this.promisedGroup, this.mark.group);
  }

  isStored({ group, heads }: SealedGroup): void {
    if (group <= this.storedGroup) return;
    this.storedGroup = group;
    for (const [partition, { sequence }] of heads) this.stored.set(partition, sequence);
  }
}

/** Faults that wait for the next chance to happen, on whichever lane that is. */
export class DiskFaults {
  isFull = false;
  /** Whether something has happened since the start that makes a lane fail. */
  mayFail = false;
  nextFlush: 'failed' | 'silent' | 'slow' | undefined;
  nextMarkFails = false;
  nextCheckpointWrite: 'failed' | 'silent' | undefined;
  nextHistoryWrite: 'failed' | 'silent' | undefined;
}

/** The log of one life of a lane: SimLog, whose appends are seen, take time and meet the faults of the machine. */
export class WatchedLog extends SimLog {
  #appendedAt = 0;
  /** Of those that were appended in this life; -1 before the first. */
  #lastFlushed = -1;
  readonly #world: World;
  readonly #disk: LaneDisk;
  readonly #onAppend: (group: SealedGroup) => void;
  readonly #delay: { milliseconds: number };
  readonly #seen: { group: SealedGroup | undefined; isStored: boolean };

  constructor(world: World, disk: LaneDisk, clock: ProcessClock, onAppend: (group: SealedGroup) => void) {
    const delay = { milliseconds: 0 };
    const seen: { group: SealedGroup | undefined; isStored: boolean } = { group: undefined, isStored: false };
    const commitLater = (commit: () => void) => {
      const { group, isStored } = seen;
      clock.setTimer(delay.milliseconds, () => {
        this.#countEmptySegment(commit);
        if (group && isStored) disk.isStored(group);
        world.awaitMicrotasks();
      });
    };
    super(disk.disk, disk.shape, commitLater, {
      segmentBytes: world.segmentBytes,
      retention: { bytes: world.retentionBytes, milliseconds: 7 * 86_400_000, clock },
    });
    this.#world = world;
    this.#disk = disk;
    this.#onAppend = onAppend;
    this.#delay = delay;
    this.#seen = seen;
  }

  override append(group: SealedGroup) {
    this.#plan(group);
    return super.append(group).then((outcome) => {
      if (outcome.kind === 'flushed') this.#lastFlushed = group.group;
      return outcome;
    });
  }

  /** No time passes meanwhile: where the device would be slow, or never answer, it is the pool's. */
  override appendNow(group: SealedGroup) {
    const { random, faults } = this.#world;
    if (faults.nextFlush === 'slow' || faults.nextFlush === 'silent' || random.chance(0.5)) return undefined;
    this.#plan(group);
    let outcome: AppendOutcome | undefined;
    this.#countEmptySegment(() => {
      outcome = super.appendNow(group);
    });
    this.#world.flushesWithinCalls++;
    if (this.#seen.isStored) this.#disk.isStored(group);
    if (outcome?.kind === 'flushed') this.#lastFlushed = group.group;
    return outcome;
  }

  #plan(group: SealedGroup): void {
    const { random, faults, tally, trace } = this.#world;
    // The next group comes when the one before is flushed and marked.
    if (group.group === this.#lastFlushed + 1) this.#disk.promisedGroup = this.#lastFlushed;
    this.#onAppend(group);
    this.#appendedAt = this.#world.clock.now;
    this.#delay.milliseconds = random.chance(0.05) ? random.milliseconds(5, 40) : random.milliseconds(0.2, 2);
    this.#seen.group = group;
    this.#seen.isStored = true;
    const planned = faults.nextFlush;
    if (faults.isFull) {
      tally['full disk']++;
      this.#seen.isStored = false;
      this.script.push({ kind: 'full', segment: random.chance(0.5) });
    } else if (planned === 'slow') {
      tally['slow flush']++;
      faults.nextFlush = undefined;
      this.#delay.milliseconds = random.milliseconds(500, 4_000);
    } else if (planned) {
      tally[planned === 'failed' ? 'failed flush' : 'unanswered flush']++;
      faults.nextFlush = undefined;
      faults.mayFail = true;
      this.#seen.isStored = random.chance(0.5);
      this.script.push({ kind: planned, stored: this.#seen.isStored, segment: random.chance(0.5) });
    }
    trace('append', group.group, group.records.length, group.entries);
  }

  /** Whether the device takes longer than usual. */
  get isSlow(): boolean {
    return this.busy && this.#world.clock.now - this.#appendedAt > 5;
  }

  /** The process dies. */
  die(): void {
    const { random, tally } = this.#world;
    const isStored = this.busy && random.chance(0.5);
    if (isStored && this.#seen.group) {
      tally['stored unanswered group']++;
      this.#disk.isStored(this.#seen.group);
    }
    this.#countEmptySegment(() => this.crash(isStored, random.chance(0.5)));
  }

  #countEmptySegment(write: () => void): void {
    const { segments } = this.#disk.disk;
    const before = segments.size;
    write();
    const newest = segments.get(Math.max(...segments.keys()));
    if (segments.size > before && newest?.records.size === 0) this.#world.tally['empty segment']++;
  }
}

/** The checkpoints of one life of a lane, with the same faults. */
export class WatchedCheckpoints extends SimCheckpoints {
  readonly #world: World;
  #busy = 0;

  constructor(world: World, disk: LaneDisk, clock: ProcessClock) {
    super(disk.checkpoints, disk.shape, (commit) => {
      clock.setTimer(world.random.milliseconds(0.2, 2), () => {
        commit();
        world.awaitMicrotasks();
      });
    });
    this.#world = world;
  }

  override write(partition: number, generation: number, pages: readonly NewPage[]): Promise<AppendOutcome> {
    this.#plan();
    return this.#watched(super.write(partition, generation, pages));
  }

  override publish(manifest: CheckpointManifest): Promise<AppendOutcome> {
    this.#plan();
    return this.#watched(super.publish(manifest));
  }

  die(): void {
    const { random, tally } = this.#world;
    if (this.#busy > 0) tally['crash within a checkpoint']++;
    this.crash(random.chance(0.5));
  }

  #plan(): void {
    const { random, faults, tally } = this.#world;
    const planned = faults.nextCheckpointWrite;
    if (faults.isFull) {
      tally['full disk for a checkpoint']++;
      this.script.push({ kind: 'full' });
    } else if (planned) {
      tally['failed checkpoint']++;
      faults.nextCheckpointWrite = undefined;
      faults.mayFail = true;
      this.script.push({ kind: planned, stored: random.chance(0.5) });
    }
  }

  #watched(outcome: Promise<AppendOutcome>): Promise<AppendOutcome> {
    this.#busy++;
    return outcome.finally(() => this.#busy--);
  }
}

/** The history of one life of a lane, with the same faults. */
export class WatchedHistory extends SimTables {
  readonly #world: World;
  #busy = false;

  constructor(world: World, disk: LaneDisk, clock: ProcessClock) {
    super(disk.history, (commit) => {
      clock.setTimer(world.random.milliseconds(0.2, 2), () => {
        commit();
        world.awaitMicrotasks();
      });
    });
    this.#world = world;
  }

  override commit(change: Change): Promise<AppendOutcome> {
    const { random, faults, tally } = this.#world;
    const planned = faults.nextHistoryWrite;
    if (faults.isFull) {
      tally['full disk for the history']++;
      this.script.push({ kind: 'full' });
    } else if (planned) {
      tally['failed history']++;
      faults.nextHistoryWrite = undefined;
      faults.mayFail = true;
      this.script.push({ kind: planned, stored: random.chance(0.5) });
    }
    this.#busy = true;
    return super.commit(change).finally(() => {
      this.#busy = false;
    });
  }

  die(): void {
    const { random, tally } = this.#world;
    if (this.#busy) tally['crash within the history']++;
    this.crash(random.chance(0.5));
  }
}

export class SimMark implements HeadMark {
  readonly #world: World;
  readonly #disk: LaneDisk;

  constructor(world: World, disk: LaneDisk) {
    this.#world = world;
    this.#disk = disk;
  }

  read(): Mark {
    return this.#disk.mark;
  }

  write(mark: Mark): void {
    const { faults, tally } = this.#world;
    if (faults.nextMarkFails) {
      faults.nextMarkFails = false;
      faults.mayFail = true;
      tally['failed head mark']++;
      throw new Error('The device does not take the head mark.');
    }
    this.#disk.addMark(mark);
  }

  close(): void {}
}
