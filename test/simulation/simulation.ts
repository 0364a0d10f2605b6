import { Opcode } from '../../src/protocol/opcode.js';
import { encodeGet } from '../../src/protocol/request.js';
import { decodeGetAnswer } from '../../src/protocol/response.js';
import { encodeUniques } from '../../src/protocol/uniques.js';
import type { FaultCounts } from './faults.js';
import { droppedIn, historyFault } from './history-oracle.js';
import { bodyOf, refusalOf } from './link.js';
import { withRecycledMemory } from './recycled-memory.js';
import { KEPT_FROM_DAY, LANE_OF, LANES, LEDGER_NAMES, MIXED_NAMES, PARTITIONS, UNIQUE_DAYS } from './shape.js';
import type { LaneDisk } from './sim-disk.js';
import { Workload } from './workload.js';
import { Violation, World } from './world.js';

/** What one seed came to. */
export interface SeedReport {
  readonly seed: number;
  readonly operations: number;
  readonly crashes: number;
  readonly simulatedMilliseconds: number;
  readonly memoriesCompared: number;
  readonly uniquesCompared: number;
  readonly readsAtOnce: number;
  readonly flushesWithinCalls: number;
  readonly countersDropped: number;
  readonly checkpointsMade: number;
  readonly faults: FaultCounts;
  /** Of everything that happened: the same for every run of the seed. */
  readonly traceHash: number;
  /** What did not hold; absent if everything did. */
  readonly violation?: string;
  /** One line for each thing that happened, if it was asked for. */
  readonly trace?: readonly string[];
}

const OPERATIONS = 500;
const SETTLE_MILLISECONDS = 120_000;

/** Machines and people that break things, each as often as its weight says. */
const HARM = {
  kill: 3,
  power: 2,
  'kill lane': 2,
  'failed flush': 2,
  'silent flush': 1,
  'failed mark': 1,
  'failed checkpoint': 2,
  'failed history': 2,
  drain: 1,
  'slow flush': 2,
  'full disk': 4,
  'wall forward': 4,
  'wall back': 3,
} as const;

/** Runs one seed from an empty directory to the last comparison. */
export async function simulate(seed: number, isTraced = false): Promise<SeedReport> {
  const world = new World(seed, isTraced);
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // refusals are errors, and there are many
  let violation: string | undefined;
  try {
    await withRecycledMemory(() => new Simulation(world).run());
  } catch (error) {
    violation = error instanceof Violation ? error.message : `${error instanceof Error ? error.stack : error}`;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  return {
    seed,
    operations: world.operations,
    crashes: world.server.crashes,
    simulatedMilliseconds: world.clock.now,
    memoriesCompared: world.memoriesCompared,
    uniquesCompared: world.uniquesCompared,
    readsAtOnce: world.readsAtOnce,
    flushesWithinCalls: world.flushesWithinCalls,
    countersDropped: world.countersDropped,
    checkpointsMade: world.checkpointsMade,
    faults: world.tally,
    traceHash: world.traceHash,
    ...(violation !== undefined && { violation }),
    ...(world.lines && { trace: world.lines }),
  };
}

class Simulation {
  readonly #world: World;
  readonly #workload: Workload;
  /** Nothing is broken any more. */
  #isSettling = false;
  /** How many operations there are when something breaks next. */
  #nextHarm = 0;

  constructor(world: World) {
    this.#world = world;
    this.#workload = new Workload(world);
  }

  async run(): Promise<void> {
    const { server } = this.#world;
    this.#world.run(() => server.start());
    await this.#until(() => server.state === 'up', 'the first start');
    this.#act();
    await this.#until(() => this.#world.operations >= OPERATIONS && server.crashes > 0, 'the work');
    this.#isSettling = true;
    this.#mend();
    this.#comeBack();
    await this.#until(() => server.state === 'up' && this.#workload.isIdle, 'the settling');
    server.kill(false);
    await this.#until(() => server.state === 'up', 'the last start');
    await this.#compare();
  }

  #until(isSo: () => boolean, what: string): Promise<void> {
    return this.#world.until(isSo, SETTLE_MILLISECONDS, what);
  }

  #act(): void {
    const { clock, random, server } = this.#world;
    if (this.#isSettling) return;
    for (let left = random.between(1, 4); left > 0; left--) this.#workload.act();
    this.#harm();
    if (random.chance(0.06)) this.#workload.misbehave();
    const pause = server.isStalled ? random.milliseconds(2, 100) : random.milliseconds(0.1, 2);
    clock.after(pause, () => this.#act());
  }

  #comeBack(): void {
    const { clock, random } = this.#world;
    this.#workload.comeBack();
    clock.after(random.milliseconds(5, 30), () => this.#comeBack());
  }

  /** Breaks something now and then, as the work goes on. */
  #harm(): void {
    const { random, operations } = this.#world;
    if (operations < this.#nextHarm) return;
    this.#nextHarm = operations + random.between(40, 240);
    this.#break(random.weighted(HARM));
  }

  #break(what: keyof typeof HARM): void {
    const { server, faults, trace, random } = this.#world;
    trace('harm', what);
    if (what === 'kill' || what === 'power' || what === 'kill lane') this.#killSoon(what);
    else if (what === 'failed flush') faults.nextFlush = 'failed';
    else if (what === 'silent flush') faults.nextFlush = 'silent';
    else if (what === 'slow flush') faults.nextFlush = 'slow';
    else if (what === 'failed mark') faults.nextMarkFails = true;
    else if (what === 'failed checkpoint') faults.nextCheckpointWrite = random.chance(0.7) ? 'failed' : 'silent';
    else if (what === 'failed history') faults.nextHistoryWrite = random.chance(0.7) ? 'failed' : 'silent';
    else if (what === 'full disk') this.#fillDisk();
    else if (what === 'drain') {
      if (server.state === 'up') server.drain();
    } else this.#setWallClock(what === 'wall forward');
  }

  /** The memory that each group leaves is noted from now until the crash. */
  #killSoon(how: 'kill' | 'power' | 'kill lane'): void {
    const { clock, random, server, tally } = this.#world;
    server.watchMemory(6);
    clock.after(random.milliseconds(0, 6), () => {
      if (this.#isSettling || server.state === 'down') return;
      if (how === 'kill lane') {
        server.killLane(random.pick(LANES));
      } else {
        tally['killed server']++;
        server.kill(how === 'power');
      }
    });
  }

  #fillDisk(): void {
    const { clock, random, faults, tally } = this.#world;
    if (faults.isFull) return;
    faults.isFull = true;
    clock.after(random.milliseconds(1, 1_500), () => {
      if (!faults.isFull) return;
      faults.isFull = false;
      tally['room again']++;
    });
  }

  #setWallClock(isForward: boolean): void {
    const { clock, random, tally } = this.#world;
    tally[isForward ? 'wall clock forward' : 'wall clock back']++;
    const minute = 60_000;
    if (!isForward) clock.stepWall(-random.between(1, 2 * 24 * 60 * minute));
    else
      clock.stepWall(
        random.chance(0.5) ? random.between(1, 15 * minute) : random.between(61 * minute, 48 * 60 * minute),
      );
  }

  #mend(): void {
    const { faults } = this.#world;
    faults.isFull = false;
    faults.nextFlush = undefined;
    faults.nextMarkFails = false;
    faults.nextCheckpointWrite = undefined;
    faults.nextHistoryWrite = undefined;
  }

  /** What everybody was told, against what the last life of the server shows, name by name. */
  async #compare(): Promise<void> {
    const { oracle, server, violate, mix } = this.#world;
    const [reader] = this.#workload.clients;
    let compared = 0;
    const isThere = (partition: number) => reader?.link(partition)?.life === server.lives;
    await this.#until(() => PARTITIONS.every(isThere), 'the last connection');
    for (const partition of PARTITIONS) {
      const names = [...(LEDGER_NAMES[partition] as string[]), ...(MIXED_NAMES[partition] as string[])];
      const keys = names.map((name) => ({ name }));
      const body = bodyOf((writer) => encodeGet(writer, { keys }));
      reader?.link(partition)?.send(Opcode.GET, 0, partition, body, {
        keys,
        done: (answer) => {
          compared++;
          if (refusalOf(answer)) return violate('the last read is refused');
          const { position, values } = decodeGetAnswer(answer.body);
          names.forEach((name, index) => {
            const value = values[index]?.value ?? 0n;
            mix(Number(BigInt.asUintN(32, value)));
            const known = oracle.models[partition];
            const sum = this.#workload.ledger.get(name) ?? 0n;
            if (value !== (known?.valueAt(name, position) ?? 0n)) violate(`${name} is ${value} at the end`);
            if (name.startsWith('ledger') && value !== sum)
              violate(`${name} is ${value}, what was told sums up to ${sum}`);
          });
        },
      });
    }
    await this.#until(() => compared === PARTITIONS.length, 'the last read');
    await this.#compareUniques();
    await this.#until(() => server.hasWholeHistory, 'the history');
    for (const partition of PARTITIONS) {
      const { history } = server.disks[LANE_OF[partition] as number] as LaneDisk;
      const keptFrom = this.#world.drops ? KEPT_FROM_DAY : 0;
      const wrong = historyFault(partition, oracle.models[partition]?.applied ?? [], history, keptFrom);
      if (wrong) throw new Violation(wrong);
      this.#world.countersDropped += droppedIn(partition, history).size;
    }
  }

  /** What was seen, ever and in the longest windows, of which the oracle judges the answers. */
  async #compareUniques(): Promise<void> {
    const [reader] = this.#workload.clients;
    const windows = [undefined, { unit: 'hours', length: 24 }, { unit: 'days', length: UNIQUE_DAYS }] as const;
    let [asked, answered] = [0, 0];
    for (const partition of PARTITIONS) {
      const keys = (MIXED_NAMES[partition] as string[]).map((name) => ({ name }));
      for (const window of windows) {
        const uniques = { wanted: 'each' as const, ...(window && { window }) };
        const body = bodyOf((writer) => encodeUniques(writer, { ...uniques, keys }));
        asked++;
        reader?.link(partition)?.send(Opcode.UNIQUES, 0, partition, body, {
          keys,
          uniques,
          done: (answer) => {
            answered++;
            if (refusalOf(answer)) this.#world.violate('the last numbers of unique items are refused');
          },
        });
      }
    }
    await this.#until(() => answered === asked, 'the last numbers of unique items');
  }
}
