import { TallystickError } from '../../src/errors.js';
import type { FromCheckpointer, ToCheckpointer } from '../../src/lane/checkpoint-messages.js';
import { Checkpointer } from '../../src/lane/checkpointer.js';
import { LaneHost } from '../../src/lane/lane-host.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { decodeStatsAnswer, encodeHelloRequest, encodeStatsRequest } from '../../src/protocol/control.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import { ANSWER, DEFAULT_LIMITS, LANE, Opcode } from '../../src/protocol/opcode.js';
import { compileWasm } from '../../src/wasm.js';
import { SimCheckpoints } from '../log/sim-checkpoints.js';
import { anyDamage } from './damage.js';
import { CHECKPOINT_TAIL_BYTES, CONFIGURATION, EPOCH, LANE_OF, LANES, partitionsOf, shapeOf } from './shape.js';
import { ProcessClock } from './sim-clock.js';
import { LaneDisk, SimMark, WatchedLog } from './sim-disk.js';
import { type ClientEnd, SimTransport } from './sim-network.js';
import type { World } from './world.js';

const KERNEL = compileWasm('kernel');
/** Within this long after a failure the process is gone. */
const EXIT_MILLISECONDS = 1_000;

/** One lane of one life of the server. */
interface RunningLane {
  readonly number: number;
  readonly clock: ProcessClock;
  readonly log: WatchedLog;
  readonly host: LaneHost;
  readonly transports: Set<SimTransport>;
  readonly monitor: Monitor;
}

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
  #lanes: RunningLane[] = [];
  #watchMemoryUntil = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Whether there is little sense in sending it more. */
  get isStalled(): boolean {
    return this.state !== 'up' || this.#world.faults.isFull || this.#lanes.some(({ log }) => log.isSlow);
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

  /** Starts from what the disks have. */
  async start(): Promise<void> {
    const { random, clock, trace } = this.#world;
    this.state = 'starting';
    this.#failedInTurn = undefined;
    const isNew = this.lives++ === 0;
    trace('start', this.lives);
    if (!isNew) await this.#tryDamage();
    this.#lanes = await Promise.all(LANES.map((lane) => this.#open(lane)));
    const ready = async () => {
      if (isNew) await Promise.all(this.#lanes.map(({ host }) => host.flushed()));
      clock.after(random.milliseconds(0, 3), () => this.#serve(isNew));
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
      this.#end(lane);
    }
    const older = random.below(4);
    if (power && older > 0) {
      tally['older head mark']++;
      for (const { marks } of this.disks) marks.splice(Math.max(1, marks.length - older));
    }
    this.#isDown();
  }

  /** A lane's thread ends by itself: the supervisor poisons the others, and the process ends soon. */
  killLane(number: number): void {
    const lane = this.#lanes[number];
    if (!lane?.clock.isAlive) return;
    this.#world.trace('kill lane', number);
    this.#noteLoss(lane);
    this.#end(lane);
    this.#fail();
  }

  /** From now on for so long each group notes the memory that it leaves, so that a crash finds it noted. */
  watchMemory(milliseconds: number): void {
    this.#watchMemoryUntil = this.#world.clock.now + milliseconds;
  }

  /** Ends in order: refuses, flushes, answers, closes. */
  drain(): void {
    const { trace, violate } = this.#world;
    this.state = 'draining';
    trace('drain');
    const lives = this.lives;
    Promise.all(this.#lanes.map(({ host }) => host.drain())).then(
      () => {
        if (this.lives !== lives || this.state !== 'draining') return;
        for (const { number, monitor } of this.#lanes) {
          const { stored } = this.disks[number] as LaneDisk;
          for (const { partition, sequence } of this.#noteMemory(monitor))
            if (sequence !== stored.get(partition)) violate('a drained lane has more than the device');
        }
        for (const lane of this.#lanes) this.#end(lane);
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

  async #open(number: number): Promise<RunningLane> {
    const { clock: simClock, random, oracle } = this.#world;
    const clock = new ProcessClock(simClock);
    const disk = this.disks[number] as LaneDisk;
    const isAlive = () => clock.isAlive;
    const log = new WatchedLog(this.#world, disk, isAlive, (group) => {
      oracle.appended(number, group);
      if (simClock.now < this.#watchMemoryUntil || random.chance(0.1)) {
        const monitor = this.#lanes[number]?.monitor;
        if (monitor) this.#noteMemory(monitor);
      }
    });
    const host = await LaneHost.open({
      ...this.#parts(number, log, clock),
      isPoisoned: () => this.#failedInTurn !== undefined,
      onFailed: () => this.#fail(),
    });
    await this.#checkAudit(number, log);
    return { number, clock, log, host, transports: new Set(), monitor: new Monitor(host) };
  }

  /** The audit items are those of the changes that are on the device. */
  async #checkAudit(number: number, log: WatchedLog): Promise<void> {
    const { oracle, violate } = this.#world;
    const { stored } = this.disks[number] as LaneDisk;
    let items = 0;
    await log.audit(() => {
      items++;
    });
    const changes = partitionsOf(number).reduce(
      (sum, partition) => sum + oracle.auditedUpTo(partition, stored.get(partition) ?? 0),
      0,
    );
    if (items !== changes) violate(`lane ${number} has ${items} audit items for ${changes} changes`);
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
    if (isNew) for (const { monitor } of this.#lanes) monitor.memories();
    else this.#compare();
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

  #end({ clock, log, transports }: RunningLane): void {
    if (!clock.isAlive) return;
    clock.die();
    log.die();
    for (const transport of transports) transport.serverDied(this.#world.random.chance(0.5));
  }

  #noteLoss({ number, monitor, clock }: RunningLane): void {
    if (!clock.isAlive) return;
    const { stored } = this.disks[number] as LaneDisk;
    const live = this.#noteMemory(monitor);
    if (live.some(({ partition, sequence }) => sequence > (stored.get(partition) ?? 0)))
      this.#world.tally['lost unflushed tail']++;
  }

  #noteMemory(monitor: Monitor): readonly Memory[] {
    const memories = monitor.memories();
    for (const { partition, sequence, hash } of memories) this.#world.oracle.memoryIs(partition, sequence, hash);
    return memories;
  }

  /** What came back is what the device has, and is the memory that was. */
  #compare(): void {
    const { oracle, violate } = this.#world;
    for (const { number, monitor } of this.#lanes) {
      const { stored } = this.disks[number] as LaneDisk;
      const memories = monitor.memories();
      if (memories.length !== stored.size) violate(`lane ${number} does not tell its memory`);
      for (const { partition, sequence, hash } of memories) {
        oracle.recovered(partition, sequence, stored.get(partition) ?? 0);
        if (oracle.knowsMemory(partition, sequence)) this.#world.memoriesCompared++;
        oracle.memoryIs(partition, sequence, hash);
        this.#world.mix(Number(BigInt(`0x${hash}`) & 0xffffffffn));
      }
    }
  }

  /** Damages a disk, sees the start refuse, and puts the disk back. */
  async #tryDamage(): Promise<void> {
    const { random, tally, violate, trace } = this.#world;
    if (!random.chance(this.#world.damageChance)) return;
    const lane = random.pick(LANES);
    const disk = this.disks[lane] as LaneDisk;
    const damage = anyDamage(random, disk);
    if (!damage) return;
    tally[damage.fault]++;
    trace('damage', damage.fault, damage.what);
    const clock = new ProcessClock(this.#world.clock);
    clock.die();
    const log = new WatchedLog(
      this.#world,
      disk,
      () => false,
      () => {},
    );
    try {
      await LaneHost.open({ ...this.#parts(lane, log, clock), isPoisoned: () => false, onFailed: () => {} });
      await log.audit(() => {});
      violate(`${damage.fault} (${damage.what}) of lane ${lane} goes unnoticed`);
    } catch (error) {
      if (!(error instanceof TallystickError) || error.code !== 'LOG_CORRUPT')
        violate(`${damage.fault} (${damage.what}) ends in ${error}`);
    }
    damage.mend();
  }

  #parts(number: number, log: WatchedLog, clock: ProcessClock) {
    const disk = this.disks[number] as LaneDisk;
    const { random } = this.#world;
    const commitLater = (commit: () => void) => clock.setTimer(random.milliseconds(0.2, 2), commit);
    const checkpoints = new SimCheckpoints(disk.checkpoints, disk.shape, commitLater);
    return {
      lane: number,
      partitions: partitionsOf(number),
      configuration: CONFIGURATION,
      storage: {
        log,
        mark: new SimMark(this.#world, disk),
        checkpoints,
      },
      kernel: KERNEL,
      links: [],
      clock,
      connectCheckpointer: (report: (message: FromCheckpointer) => void) => {
        const checkpointer = new Checkpointer({ log, checkpoints, kernel: KERNEL, clock, report });
        return (message: ToCheckpointer) => checkpointer.hear(message);
      },
      checkpointTailBytes: CHECKPOINT_TAIL_BYTES,
      groupBytes: this.#world.groupBytes,
    };
  }
}

interface Memory {
  readonly partition: number;
  readonly sequence: number;
  readonly hash: string;
}

/** A connection of the simulation's own, over no network: asks a lane for its memory between two events. */
class Monitor {
  readonly #connection: ReturnType<LaneHost['accept']>;
  readonly #reader = new FrameReader();
  #answer: { readonly id: number; readonly body: Uint8Array } | undefined;
  #isGreeted = false;
  #lastId = 1;

  constructor(host: LaneHost) {
    this.#connection = host.accept({
      remote: 'monitor',
      unsentBytes: 0,
      write: (bytes) => {
        this.#reader.push(bytes, ({ opcode, requestId, body }) => {
          if (opcode === (Opcode.HELLO | ANSWER)) this.#isGreeted = true;
          if (opcode === (Opcode.STATS | ANSWER)) this.#answer = { id: requestId, body: body.slice() };
        });
      },
      pause: () => {},
      resume: () => {},
      close: () => {},
      destroy: () => {},
    });
  }

  /** The position of each partition and the hash of its memory; none if the lane does not answer at once. */
  memories(): readonly Memory[] {
    const writer = new ByteWriter();
    if (!this.#isGreeted) {
      encodeHelloRequest(writer, { version: 1, client: 'monitor' });
      this.#ask(Opcode.HELLO, 1, writer);
    }
    if (!this.#isGreeted) return [];
    encodeStatsRequest(writer, { stateHash: true });
    this.#ask(Opcode.STATS, ++this.#lastId, writer);
    if (this.#answer?.id !== this.#lastId) return [];
    const { partitions } = decodeStatsAnswer(this.#answer.body);
    return partitions.map(({ partition, sequence, stateHash }) => ({ partition, sequence, hash: String(stateHash) }));
  }

  #ask(opcode: number, id: number, body: ByteWriter): void {
    this.#connection.data(encodeFrame(opcode, 0, LANE, id, body.view()));
    this.#connection.flush();
    body.reset();
  }
}
