import { nameOfId } from '../../src/backup/partition-counters.js';
import type { TallystickError } from '../../src/errors.js';
import { DEFAULT_RETENTION } from '../../src/history/roll-up.js';
import { Checkpointer } from '../../src/lane/checkpointer.js';
import { LaneHost, type LaneHostParts } from '../../src/lane/lane-host.js';
import type { Link, Rings } from '../../src/lane/link.js';
import { createRing } from '../../src/lane/ring.js';
import { decodeBegin } from '../../src/log/begin.js';
import type { Partition } from '../../src/partition/partition.js';
import { compileWasm } from '../../src/wasm.js';
import { plannerOf } from '../history/homes.js';
import { replayersOf } from '../lane/replaying.js';
import { CONFIGURATION, DROPPING, LANES, partitionsOf } from './shape.js';
import { ProcessClock } from './sim-clock.js';
import { type LaneDisk, SimMark, WatchedCheckpoints, WatchedHistory, WatchedLog } from './sim-disk.js';
import type { SimTransport } from './sim-network.js';
import type { World } from './world.js';

const KERNEL = compileWasm('kernel');
const MESSAGE_LATENCY = [0.01, 0.3] as const;

/** The memory of a partition at its position, as XXH64. */
export interface Memory {
  readonly partition: number;
  readonly sequence: number;
  readonly stateHash: bigint;
}

/** What one life of the server gives to each of its lanes. */
export interface ServerLife {
  /** `rings[from][to]` */
  readonly rings: readonly (readonly Rings[])[];
  /** The lane of that number, once it is there. */
  readonly lane: (number: number) => SimLane | undefined;
  readonly isPoisoned: () => boolean;
  readonly onFailed: (error: TallystickError) => void;
  readonly onAppend: (lane: number) => void;
}

/** The rings of a life of the server: shared memory as in production, but small, so that they are often full. */
export function smallRings({ random }: World): Rings[][] {
  const capacity = random.pick([256, 2_048, 16_384]);
  return LANES.map(() => LANES.map(() => ({ requests: createRing(capacity), answers: createRing(capacity) })));
}

/** One lane of one life of the server: what production has in two threads. */
export class SimLane {
  readonly number: number;
  readonly clock: ProcessClock;
  readonly disk: LaneDisk;
  readonly transports = new Set<SimTransport>();
  readonly #world: World;
  readonly #life: ServerLife;
  readonly #log: WatchedLog;
  readonly #checkpoints: WatchedCheckpoints;
  readonly #history: WatchedHistory;
  #host: LaneHost | undefined;

  private constructor(world: World, number: number, disk: LaneDisk, life: ServerLife) {
    this.#world = world;
    this.number = number;
    this.disk = disk;
    this.#life = life;
    this.clock = new ProcessClock(world.clock);
    this.#log = new WatchedLog(world, disk, this.clock, (group) => {
      world.oracle.appended(number, group, (partition, id) =>
        nameOfId(this.host.partitions.get(partition) as Partition, id),
      );
      life.onAppend(number);
    });
    this.#checkpoints = new WatchedCheckpoints(world, disk, this.clock);
    this.#history = new WatchedHistory(world, disk, this.clock);
  }

  /** Starts from what the disk has, and reads all of it. @throws TallystickError LOG_CORRUPT */
  static async open(world: World, number: number, disk: LaneDisk, life: ServerLife): Promise<SimLane> {
    const lane = new SimLane(world, number, disk, life);
    lane.#host = await LaneHost.open(lane.#parts());
    await lane.#checkAudit();
    return lane;
  }

  /** Reads all that a start reads, and nothing more comes of it. @throws TallystickError LOG_CORRUPT */
  static async check(world: World, number: number, disk: LaneDisk): Promise<void> {
    const life: ServerLife = {
      rings: smallRings(world),
      lane: () => undefined,
      isPoisoned: () => false,
      onFailed: () => {},
      onAppend: () => {},
    };
    const lane = new SimLane(world, number, disk, life);
    lane.clock.die();
    await LaneHost.open(lane.#parts());
    await lane.#log.audit(() => {});
  }

  get host(): LaneHost {
    return this.#host as LaneHost;
  }

  /** What it has in memory. */
  get memories(): readonly Memory[] {
    return [...this.host.partitions].map(([partition, { sequence, stateHash }]) => ({
      partition,
      sequence,
      stateHash,
    }));
  }

  /** Whether all that was emitted is in its history. */
  get hasWholeHistory(): boolean {
    return (this.host.describe().history as { readonly pendingItems: number }).pendingItems === 0;
  }

  get isSlow(): boolean {
    return this.#log.isSlow;
  }

  /** The thread ends, and with it its checkpointer. */
  die(): void {
    if (!this.clock.isAlive) return;
    this.clock.die();
    this.#log.die();
    this.#checkpoints.die();
    this.#history.die();
    for (const transport of this.transports) transport.serverDied(this.#world.random.chance(0.5));
  }

  #parts(): LaneHostParts {
    const { groupBytes, checkpointTailBytes } = this.#world;
    return {
      lane: this.number,
      partitions: partitionsOf(this.number),
      configuration: CONFIGURATION,
      storage: { log: this.#log, mark: new SimMark(this.#world, this.disk), checkpoints: this.#checkpoints },
      history: this.#history,
      planner: plannerOf(this.#history),
      retention: this.#world.drops ? DROPPING : DEFAULT_RETENTION,
      kernel: KERNEL,
      clock: this.clock,
      collect: () => {},
      connectCheckpointer: (hear) => this.#connectCheckpointer(hear),
      startReplayer: replayersOf({ log: this.#log, checkpoints: this.#checkpoints, kernel: KERNEL }, this.clock),
      checkpointTailBytes,
      hotPerSecond: 1,
      quota: undefined,
      onHot: () => {},
      links: this.#links(),
      isPoisoned: this.#life.isPoisoned,
      onFailed: this.#life.onFailed,
      groupBytes,
    };
  }

  #connectCheckpointer(hear: Parameters<LaneHostParts['connectCheckpointer']>[0]) {
    const toLane = this.#messages(hear);
    const checkpointer = new Checkpointer({
      log: this.#log,
      checkpoints: this.#checkpoints,
      kernel: KERNEL,
      clock: this.clock,
      collect: () => {},
      report: (message) => {
        if (message.kind === 'made') this.#world.checkpointsMade++;
        toLane(message);
      },
    });
    return this.#messages((message: Parameters<Checkpointer['hear']>[0]) => checkpointer.hear(message));
  }

  #links(): Link[] {
    const { rings } = this.#life;
    return LANES.filter((other) => other !== this.number).map((other) => {
      const ring = this.#messages(() => {
        const woken = this.#life.lane(other);
        if (woken?.clock.isAlive) woken.host.woken();
      });
      return {
        lane: other,
        out: rings[this.number]?.[other] as Rings,
        in: rings[other]?.[this.number] as Rings,
        wake: () => ring(undefined),
      };
    });
  }

  /** A message port to another thread: what is sent arrives a bit later, in order. */
  #messages<T>(receive: (message: T) => void): (message: T) => void {
    const { clock, random } = this.#world;
    let last = 0;
    return (message) => {
      last = Math.max(last, clock.now + random.milliseconds(...MESSAGE_LATENCY));
      this.clock.setTimer(last - clock.now, () => {
        receive(message);
        this.#world.awaitMicrotasks();
      });
    };
  }

  /** The audit items are those of the changes that are in the log that is kept. */
  async #checkAudit(): Promise<void> {
    const { oracle, violate } = this.#world;
    let items = 0;
    await this.#log.audit(() => {
      items++;
    });
    const oldest = this.disk.disk.segments.get(this.#log.firstRecord);
    const begin = oldest && decodeBegin(oldest.begin);
    const changes = partitionsOf(this.number).map((partition) =>
      oracle.audited(partition, begin?.heads.get(partition)?.sequence ?? 0, this.disk.stored.get(partition) ?? 0),
    );
    const expected = changes.reduce((sum, count) => sum + count, 0);
    if (items !== expected) violate(`lane ${this.number} has ${items} audit items for ${expected} changes`);
  }
}
