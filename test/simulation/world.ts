import { type FaultCounts, noFaults } from './faults.js';
import { Oracle } from './oracle.js';
import { Random } from './random.js';
import { SimClock } from './sim-clock.js';
import { DiskFaults } from './sim-disk.js';
import { SimServer } from './sim-server.js';

/** Something that the server promised did not hold. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Everything that a simulated thing may touch, and the loop that moves it. One seed makes one world. */
export class World {
  readonly seed: number;
  readonly random: Random;
  readonly clock = new SimClock();
  readonly tally: FaultCounts = noFaults();
  readonly faults = new DiskFaults();
  readonly oracle: Oracle;
  readonly server: SimServer;
  /** For the lanes: the most bytes of a group. */
  readonly groupBytes: number;
  /** From so many bytes on a segment of the log is full. */
  readonly segmentBytes: number;
  /** The bound of what recovery may have to read. */
  readonly checkpointTailBytes: number;
  /** How much of the log is kept that recovery does not need. */
  readonly retentionBytes: number;
  /** How likely a start meets a damaged disk first. */
  readonly damageChance = 0.5;
  /** Whether days are dropped. */
  readonly drops: boolean;
  operations = 0;
  memoriesCompared = 0;
  /** Numbers of unique items that are not 0. */
  uniquesCompared = 0;
  /** Durable reads that were answered as of a position before what was known, as they need not wait. */
  readsAtOnce = 0;
  /** Groups that were flushed within the call, by a lane's own thread. */
  flushesWithinCalls = 0;
  /** Counters whose days were dropped. */
  countersDropped = 0;
  checkpointsMade = 0;
  turn = 0;
  /** The lines of the trace, where one is wanted. */
  readonly lines: string[] | undefined;
  #hash = 0x811c9dc5;
  #microtasks = false;
  #jobs: (() => Promise<void>)[] = [];
  #violation: Violation | undefined;

  constructor(seed: number, isTraced: boolean) {
    this.seed = seed;
    this.random = new Random(seed);
    this.lines = isTraced ? [] : undefined;
    // A small group is full after a few entries, so that lanes hold their clients back.
    this.groupBytes = this.random.chance(0.5) ? 0 : 2 ** 21;
    this.segmentBytes = this.random.pick([300, 1_000, 3_000]);
    this.checkpointTailBytes = this.random.pick([1_500, 6_000, 2 ** 30]);
    this.retentionBytes = this.random.pick([0, 2_000, 2 ** 30]);
    this.drops = this.random.chance(0.5);
    this.oracle = new Oracle(this);
    this.server = new SimServer(this);
  }

  /** Of everything that happened, in order: two runs of one seed agree in it. */
  get traceHash(): number {
    return this.#hash >>> 0;
  }

  readonly mix = (value: number): void => {
    this.#hash = Math.imul(this.#hash ^ value, 0x01000193);
    this.#hash ^= this.#hash >>> 15;
  };

  readonly trace = (what: string, ...details: (string | number)[]): void => {
    this.mix(Math.round(this.clock.now * 1_000));
    for (const detail of [what, ...details]) {
      if (typeof detail === 'number') this.mix(detail);
      else for (let i = 0; i < detail.length; i++) this.mix(detail.charCodeAt(i));
    }
    this.lines?.push(`${this.clock.now.toFixed(3).padStart(11)} ${what} ${details.join(' ')}`);
  };

  readonly violate = (what: string): void => {
    this.lines?.push(`VIOLATION ${what}`);
    this.#violation ??= new Violation(what);
  };

  /** Something was settled: what waits for that comes before the turn ends. */
  awaitMicrotasks(): void {
    this.#microtasks = true;
  }

  /** Carries out something asynchronous, within which no simulated time passes, before anything else happens. */
  readonly run = (job: () => Promise<void>): void => {
    this.#jobs.push(job);
  };

  /** Lets things happen until that is so. @throws Violation */
  async until(isSo: () => boolean, withinMilliseconds: number, what: string): Promise<void> {
    const deadline = this.clock.now + withinMilliseconds;
    await this.#settle(false);
    while (!isSo()) {
      const next = this.clock.nextDue;
      if (next === undefined || next > deadline) {
        this.violate(`${what} does not come to its end`);
        break;
      }
      this.clock.advance();
      // Things that come together are sometimes taken in one turn.
      const following = this.clock.nextDue;
      const isShared = following !== undefined && following - this.clock.now < 0.05 && this.random.chance(0.3);
      await this.#settle(isShared);
      if (this.#violation) throw this.#violation;
    }
    if (this.#violation) throw this.#violation;
  }

  async #settle(isShared: boolean): Promise<void> {
    let goesOn = !isShared;
    do {
      for (let job = this.#jobs.shift(); job; job = this.#jobs.shift()) await job();
      if (this.#microtasks) {
        this.#microtasks = false;
        await new Promise(setImmediate);
      }
      if (!goesOn) return;
      this.clock.endTurn();
      this.turn++;
      goesOn = this.clock.hasTurnEnds || this.#microtasks || this.#jobs.length > 0;
    } while (goesOn);
  }
}
