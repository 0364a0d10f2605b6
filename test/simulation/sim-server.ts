import { TallystickError } from '../../src/errors.js';
import { DEFAULT_LIMITS } from '../../src/protocol/opcode.js';
import { anyDamage } from './damage.js';
import { EPOCH, LANE_OF, LANES, shapeOf } from './shape.js';
import { LaneDisk } from './sim-disk.js';
import { type Memory, SimLane, smallRings } from './sim-lane.js';
import { type ClientEnd, SimTransport } from './sim-network.js';
import type { World } from './world.js';

/** Within this long after a failure the process is gone. */
const EXIT_MILLISECONDS = 1_000;

/** The whole server, over all its lives: what production has in threads, processes and files is in this one object. */
export class SimServer {
  readonly disks = LANES.map((lane) => new LaneDisk(shapeOf(lane)));
  state: 'down' | 'starting' | 'up' | 'draining' | 'failed' = 'down';
  lives = 0;
  /** Lives that did not end in order. */
  crashes = 0;
  /** The turn in which storage or a lane failed: nothing is acknowledged in a later one. */
  #failedInTurn: number | undefined;
  readonly #world: World;
  #lanes: readonly SimLane[] = [];
  #watchMemoryUntil = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Whether there is little sense in sending it more. */
  get isStalled(): boolean {
    return this.state !== 'up' || this.#world.faults.isFull || this.#lanes.some(({ isSlow }) => isSlow);
  }

  get isAfterFailure(): boolean {
    return this.#failedInTurn !== undefined && this.#world.turn > this.#failedInTurn;
  }

  /** Connects to a lane; undefined where nobody listens. */
  connect(lane: number, remote: string, client: ClientEnd, tap: (bytes: Uint8Array) => void): SimTransport | undefined {
    const running = this.#lanes[lane];
    if (!running?.clock.isAlive || this.state === 'draining') return undefined;
    const transport = new SimTransport(this.#world, remote, client, tap);
    transport.handler = running.host.accept(transport);
    running.transports.add(transport);
    return transport;
  }

  /** Whether all that was emitted is in the histories. */
  get hasWholeHistory(): boolean {
    return this.#lanes.every((lane) => lane.hasWholeHistory);
  }

  /** Starts from what the disks have. */
  async start(): Promise<void> {
    const { random, clock, trace, faults } = this.#world;
    this.state = 'starting';
    this.#failedInTurn = undefined;
    faults.mayFail = false;
    const isNew = this.lives++ === 0;
    trace('start', this.lives);
    if (!isNew && random.chance(this.#world.damageChance)) await this.#tryDamage();
    const lanes: SimLane[] = [];
    const life = {
      rings: smallRings(this.#world),
      lane: (number: number) => lanes[number],
      isPoisoned: () => this.#failedInTurn !== undefined,
      onFailed: (error: TallystickError) => this.#laneFailed(error),
      onAppend: (number: number) => this.#appended(lanes[number]),
    };
    for (const lane of LANES) lanes.push(await SimLane.open(this.#world, lane, this.disks[lane] as LaneDisk, life));
    this.#lanes = lanes;
    const ready = async () => {
      if (isNew) await Promise.all(lanes.map(({ host }) => host.flushed()));
      clock.after(random.milliseconds(0, 3), () => {
        if (this.#lanes === lanes) this.#serve(isNew);
      });
    };
    void ready();
  }

  /** Every lane dies at once. @param power whether the machine loses its power, and with it what was not synced */
  kill(power: boolean): void {
    const { random, tally, trace } = this.#world;
    if (this.state === 'down') return;
    trace('kill', power ? 1 : 0);
    this.crashes++;
    for (const lane of this.#lanes) {
      this.#noteLoss(lane);
      lane.die();
    }
    const older = random.below(4);
    if (power && older > 0) {
      tally['older head mark']++;
      for (const disk of this.disks) disk.loseMarks(older);
    }
    this.#isDown();
  }

  /** A lane's thread ends by itself: the supervisor poisons the others, and the process ends soon. */
  killLane(number: number): void {
    const lane = this.#lanes[number];
    if (!lane?.clock.isAlive) return;
    this.#world.trace('kill lane', number);
    this.#world.tally['killed lane']++;
    this.#noteLoss(lane);
    lane.die();
    this.#fail();
  }

  /** From now on for so long each group notes the memory that it leaves, so that a crash finds it noted. */
  watchMemory(milliseconds: number): void {
    this.#watchMemoryUntil = this.#world.clock.now + milliseconds;
  }

  /** Ends in order: refuses, flushes, answers, closes. */
  drain(): void {
    const { trace, violate } = this.#world;
    const lanes = this.#lanes;
    this.state = 'draining';
    trace('drain');
    Promise.all(lanes.map(({ host }) => host.drain())).then(
      () => {
        if (this.#lanes !== lanes || this.state !== 'draining') return;
        for (const { disk, memories } of lanes) {
          for (const { partition, sequence } of this.#note(memories))
            if (sequence !== disk.stored.get(partition)) violate('a drained lane has more than the device');
        }
        for (const lane of lanes) lane.die();
        trace('drained');
        this.#isDown();
      },
      () => trace('not drained'), // storage failed meanwhile: onFailed was told
    );
  }

  /** Whoever keeps it running starts it again. */
  #isDown(): void {
    const { clock, random, run } = this.#world;
    this.#lanes = [];
    this.state = 'down';
    clock.after(random.milliseconds(1, 20), () => run(() => this.start()));
  }

  #serve(isNew: boolean): void {
    if (this.state !== 'starting') return;
    const map = {
      server: 'simulated',
      epoch: EPOCH,
      lanes: LANES.map((lane) => ({ host: 'sim', port: 1 + lane })),
      partitions: LANE_OF,
      limits: DEFAULT_LIMITS,
    };
    for (const { host } of this.#lanes) host.serve(map);
    this.state = 'up';
    this.#world.trace('serve');
    if (!isNew) this.#compare();
  }

  /** Storage may fail where it was made to; nothing else may. */
  #laneFailed({ code, message }: TallystickError): void {
    const isExpected = code === 'STORAGE_FAILED' && (this.#world.faults.mayFail || this.#failedInTurn !== undefined);
    if (!isExpected) this.#world.violate(`a lane fails: ${message}`);
    this.#fail();
  }

  #fail(): void {
    const { clock, random, turn } = this.#world;
    if (this.#failedInTurn !== undefined) return;
    this.#world.trace('failed');
    this.#failedInTurn = turn;
    if (this.state !== 'down') this.state = 'failed';
    const { lives } = this;
    clock.after(random.milliseconds(0, EXIT_MILLISECONDS), () => {
      if (this.lives === lives) this.kill(false);
    });
  }

  #appended(lane: SimLane | undefined): void {
    const { clock, random } = this.#world;
    if (lane && (clock.now < this.#watchMemoryUntil || random.chance(0.1))) this.#note(lane.memories);
  }

  #noteLoss({ clock, memories, disk }: SimLane): void {
    if (!clock.isAlive) return;
    const live = this.#note(memories);
    if (live.some(({ partition, sequence }) => sequence > (disk.stored.get(partition) ?? 0)))
      this.#world.tally['lost unflushed tail']++;
  }

  #note(memories: readonly Memory[]): readonly Memory[] {
    for (const { partition, sequence, stateHash } of memories)
      this.#world.oracle.memoryIs(partition, sequence, stateHash);
    return memories;
  }

  /** What came back is what the device has, and is the memory that was. */
  #compare(): void {
    const { oracle, mix } = this.#world;
    for (const { memories, disk } of this.#lanes) {
      for (const { partition, sequence, stateHash } of memories) {
        oracle.recovered(partition, sequence, disk.stored.get(partition) ?? 0);
        if (oracle.knowsMemory(partition, sequence)) this.#world.memoriesCompared++;
        oracle.memoryIs(partition, sequence, stateHash);
        mix(Number(stateHash & 0xffffffffn));
      }
    }
  }

  /** Damages a disk, sees the start refuse, and puts the disk back. */
  async #tryDamage(): Promise<void> {
    const { random, tally, violate, trace } = this.#world;
    const lane = random.pick(LANES);
    const disk = this.disks[lane] as LaneDisk;
    const damage = anyDamage(random, disk);
    if (!damage) return;
    tally[damage.fault]++;
    trace('damage', damage.fault, damage.what);
    try {
      await SimLane.check(this.#world, lane, disk);
      violate(`${damage.fault} (${damage.what}) of lane ${lane} goes unnoticed`);
    } catch (error) {
      if (!(error instanceof TallystickError) || error.code !== 'LOG_CORRUPT')
        violate(`${damage.fault} (${damage.what}) ends in ${error}`);
    }
    damage.mend();
  }
}
