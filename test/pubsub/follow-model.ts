import { checkHeard } from '../../load/heard.mjs';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd, encodeDelete, encodeSet } from '../../src/protocol/request.js';
import { namesOf } from '../lane/lane-harness.js';
import { Random } from '../support/random.js';
import { Reader, SdkReader, Wire, type Wish } from './readers.js';
import { type Truth, World } from './world.js';

/**
 * Writers write at random, and the server dies and comes back. Readers read, stall, lose their connections and go on. In the end the log that
 * is on the device says what every counter was at every position, and everything that any reader was told is held against that (load/heard.mjs).
 */

const PARTITIONS = [0, 1] as const;
/** Names that are written to, of each partition; behind them those that only make snapshots long. */
const HOT = 6;
const BULK = 6_000;
const STEPS = 120;
/** After it nothing is kept any more for who took nothing meanwhile. */
const LITTLE_IDLE = 1_300;
/** After it is forgotten what nobody followed meanwhile. */
const LONG_IDLE = 67_500;

export interface FollowReport {
  frames: number;
  told: number;
  resets: number;
  resumed: number;
  crashes: number;
  /** Looks back into the log. */
  replays: number;
  /** Events of the SDK. */
  events: number;
}

/** Plays one seed. @throws Error what a reader was told wrong */
export async function follow(seed: number): Promise<FollowReport> {
  // the log is kept, or memory alone knows what was
  const run = new Run(seed, await World.start([], isLogKept(seed)));
  try {
    return await run.play();
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
  }
}

const isLogKept = (seed: number): boolean => seed % 4 > 0;

class Run {
  readonly #seed: number;
  readonly #random: Random;
  readonly #world: World;
  readonly #names: readonly (readonly string[])[];
  readonly #hot: readonly (readonly string[])[];
  readonly #readers: Reader[] = [];
  readonly #sdk: SdkReader;
  readonly #report: FollowReport = { frames: 0, told: 0, resets: 0, resumed: 0, crashes: 0, replays: 0, events: 0 };
  /** Those of this seed's readers; where none is 0, what is flushed is published later. */
  readonly #intervals: readonly number[];
  #writer: Wire | undefined;
  #isBulk = false;

  constructor(seed: number, world: World) {
    this.#seed = seed;
    this.#random = new Random(seed);
    this.#world = world;
    const bulk = this.#random.oneIn(4) ? BULK : 0;
    this.#names = PARTITIONS.map((partition) => namesOf(partition, HOT + bulk));
    // some of the last ones too, to which a snapshot comes late
    this.#hot = this.#names.map((names) => [...new Set([...names.slice(0, HOT), ...names.slice(-2)])]);
    this.#isBulk = bulk > 0;
    this.#intervals = this.#random.pick([
      [0, 0, 10, 30],
      [10, 30, 200],
    ]);
    this.#sdk = new SdkReader(world, this.#random, this.#hot.flat(), this.#intervals);
  }

  async play(): Promise<FollowReport> {
    const world = this.#world;
    const random = this.#random;
    if (this.#isBulk) await this.#fill();
    await this.#sdk.start();
    for (let step = 0; step < STEPS; step++) {
      await this.#step();
      for (const reader of this.#readers) if (random.oneIn(2)) reader.step();
      this.#sdk.step();
      if (random.oneIn(2)) await world.pass(random.below(6));
    }
    await this.#settle();
    for (const partition of PARTITIONS) {
      const truth = await world.truth(partition, this.#hot[partition] as string[]);
      for (const reader of this.#readers) if (reader.wish.partition === partition) this.#check(reader, truth);
      this.#sdk.check(partition, truth);
    }
    this.#report.events = this.#sdk.events;
    this.#report.replays = world.replays;
    await this.#sdk.stop();
    if (world.failures.length > 0) throw world.failures[0];
    return this.#report;
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const reader = this.#readers.length > 0 ? random.pick(this.#readers) : undefined;
    const chance = random.below(100);
    if (chance < 55) this.#write();
    else if (chance < 63 && this.#readers.length < 8) this.#readers.push(new Reader(this.#world, random, this.#wish()));
    else if (chance < 72) reader?.stall(!reader.isStalled);
    else if (chance < 76) reader?.drop();
    else if (chance < 79) reader?.end();
    else if (chance < 84) this.#sdk.pause();
    else if (chance < 86) this.#sdk.drop();
    else if (chance < 88) await this.#crash();
    else if (chance < 92) await this.#world.idle(random.pick([random.below(200), LITTLE_IDLE]));
    else if (chance < 93) await this.#world.idle(LONG_IDLE, 2_500);
    else await this.#world.pass(random.below(12));
  }

  #wish(): Wish {
    const random = this.#random;
    const partition = random.below(2);
    const hot = this.#hot[partition] as string[];
    // so many that they take several frames
    const many = random.oneIn(2) ? hot.filter(() => random.oneIn(2)) : (this.#names[partition] as string[]);
    const names = random.oneIn(2) ? many : undefined;
    const prefix = random.pick(['', 'name', (hot[0] as string).slice(0, 5)]);
    const interval = random.pick(this.#intervals);
    return { partition, prefix, interval, names: names?.length === 0 ? [hot[0] as string] : names };
  }

  /** Sends a request that changes something. */
  #write(): void {
    const random = this.#random;
    const wire = this.#writer;
    if (!wire || wire.isClosed) {
      this.#writer = new Wire(
        this.#world,
        random.below(2),
        false,
        () => {},
        () => {},
      );
      return;
    }
    if (!wire.isOpen) return;
    const partition = random.below(2);
    const name = () => ({ name: random.pick(this.#hot[partition] as string[]) });
    const flags = random.oneIn(2) ? Flag.APPLIED : 0;
    const kind = random.below(10);
    if (this.#isBulk && random.oneIn(20)) {
      const operations = (this.#names[partition] as string[]).map((each) => ({ key: { name: each }, delta: 1n }));
      wire.send(Opcode.ADD, flags, partition, (writer) => encodeAdd(writer, { operations }));
    } else if (kind === 0) {
      wire.send(Opcode.DELETE, flags, partition, (writer) => encodeDelete(writer, { key: name(), reason: 'r' }));
    } else if (kind === 1) {
      const value = random.oneIn(4) ? 2n ** 63n - 1n : BigInt(random.below(100)) - 50n;
      wire.send(Opcode.SET, flags, partition, (writer) => encodeSet(writer, { key: name(), value, reason: 'r' }));
    } else {
      const operations = Array.from({ length: 1 + random.below(5) }, () => ({
        key: name(),
        delta: random.oneIn(8) ? -(2n ** 62n) : BigInt(random.below(9)) - 3n,
      }));
      const atomic = random.oneIn(4) ? Flag.ATOMIC : 0;
      wire.send(Opcode.ADD, flags | atomic, partition, (writer) => encodeAdd(writer, { operations }));
    }
  }

  /** Writes every name once. */
  async #fill(): Promise<void> {
    const wire = new Wire(
      this.#world,
      0,
      false,
      () => {},
      () => {},
    );
    await this.#world.pass(10);
    for (const partition of PARTITIONS) {
      const operations = (this.#names[partition] as string[]).map((name) => ({ key: { name }, delta: 1n }));
      wire.send(Opcode.ADD, 0, partition, (writer) => encodeAdd(writer, { operations }));
    }
    await this.#world.pass(10);
  }

  async #crash(): Promise<void> {
    this.#report.crashes++;
    this.#world.crash(() => this.#random.oneIn(2));
    await this.#world.pass(this.#random.below(20));
    await this.#world.recover();
  }

  /** Until everyone has been told everything. */
  async #settle(): Promise<void> {
    this.#sdk.isPaused = false;
    for (let round = 0; round < 60; round++) {
      for (const reader of this.#readers) {
        reader.stall(false);
        reader.step();
      }
      this.#sdk.step();
      await this.#world.pass(4);
      if (round % 6 === 0) await this.#world.idle(400);
    }
    await this.#world.idle(11_000, 500);
  }

  /** Holds what a reader was told against what was. */
  #check(reader: Reader, truth: Truth): void {
    const { names, prefix } = reader.wish;
    const follows = (name: string) => names?.includes(name) ?? name.startsWith(prefix);
    if (isLogKept(this.#seed) && reader.begunAnew > 0) throw new Error('A reader begins anew though the log is kept.');
    const { frames, told, resets, resumed } = checkHeard(reader.heard, { follows, truth });
    this.#report.frames += frames;
    this.#report.told += told;
    this.#report.resets += resets;
    this.#report.resumed += resumed;
    const last = reader.heard.at(-1);
    if (last === undefined || last === 'again' || !last.answer.whole)
      throw new Error('A reader was not told everything.');
    if (last.answer.position !== truth.position)
      throw new Error(`A reader was told up to ${last.answer.position} of ${truth.position}.`);
  }
}
