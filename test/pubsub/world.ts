import type { Address, Channel, ChannelEvents } from '../../src/client/transport.js';
import type { Clock, Timer, TurnClock } from '../../src/clock.js';
import type { TallystickError } from '../../src/errors.js';
import { DEFAULT_RETENTION } from '../../src/history/roll-up.js';
import { Checkpointer } from '../../src/lane/checkpointer.js';
import { LaneHost } from '../../src/lane/lane-host.js';
import { createRings } from '../../src/lane/link.js';
import { replayEntry } from '../../src/lane/recovery.js';
import type { LogEntry } from '../../src/log/record.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { KERNEL_VERSION, Partition } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeGet } from '../../src/protocol/request.js';
import { decodeGetAnswer } from '../../src/protocol/response.js';
import type { Transport, TransportHandler } from '../../src/transport/transport.js';
import { plannerOf } from '../history/homes.js';
import { SimHistoryDisk, SimTables } from '../history/sim-tables.js';
import { CONFIGURATION, MAP, MODULE, pass } from '../lane/lane-harness.js';
import { nothingFound, replayersOf } from '../lane/replaying.js';
import { FLUSH_MILLISECONDS, MemoryMark } from '../log/lane-bench.js';
import { SimCheckpointDisk, SimCheckpoints } from '../log/sim-checkpoints.js';
import { SimDisk, SimLog } from '../log/sim-log.js';
import { NO_MARK } from '../log/writer.js';
import { ManualClock } from '../support/manual-clock.js';

/** More than any test writes: there are no checkpoints. */
const TAIL_BYTES = 2 ** 30;
/** Which partitions each lane owns. */
const LANES = [[0], [1]] as const;
/** Bytes that the network takes of a connection to a client that does not read. */
const SOCKET_BYTES = 65_536;

/** The clock as one life of a server has it: nothing fires in a process that is dead. */
class MortalClock implements TurnClock {
  isAlive = true;
  readonly #clock: TurnClock;

  constructor(clock: TurnClock) {
    this.#clock = clock;
  }

  wallMilliseconds(): number {
    return this.#clock.wallMilliseconds();
  }

  monotonicMilliseconds(): number {
    return this.#clock.monotonicMilliseconds();
  }

  setTimer(milliseconds: number, callback: () => void): Timer {
    return this.#clock.setTimer(milliseconds, () => {
      if (this.isAlive) callback();
    });
  }

  endOfTurn(callback: () => void): void {
    this.#clock.endOfTurn(() => {
      if (this.isAlive) callback();
    });
  }

  afterTurn(callback: () => void): void {
    this.#clock.afterTurn(() => {
      if (this.isAlive) callback();
    });
  }
}

/** A connection within the process. Bytes arrive at the end of the turn, those to a client only while it reads. */
export class Pipe implements Transport, Channel {
  readonly remote = 'pipe:1';
  handler!: TransportHandler;
  #isReading = true;
  #isOpen = true;
  #isPaused = false;
  readonly #clock: Clock;
  readonly #events: ChannelEvents;
  #toClient: Uint8Array[] = [];
  #toServer: Uint8Array[] = [];
  #unsent = 0;

  constructor(clock: Clock, events: ChannelEvents) {
    this.#clock = clock;
    this.#events = events;
    this.#soon(() => this.#events.opened());
  }

  /** Whether the client takes what comes. */
  set isReading(isReading: boolean) {
    this.#isReading = isReading;
    this.#soon(() => this.#deliver());
  }

  /** What goes to the server, and what to the client, is one end each. */
  get client(): Channel {
    return {
      write: (bytes) => {
        this.#toServer.push(bytes.slice());
        this.#soon(() => this.#deliverToServer());
      },
      flush: () => undefined,
      close: () => this.#end(),
    };
  }

  get unsentBytes(): number {
    return Math.max(0, this.#unsent - SOCKET_BYTES);
  }

  write(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    // the system takes a copy
    this.#toClient.push(bytes.slice());
    this.#unsent += bytes.length;
    this.#soon(() => this.#deliver());
  }

  flush(): void {}

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#soon(() => this.#deliverToServer());
  }

  close(): void {
    this.destroy();
  }

  /** Either end goes, and the other hears of it. */
  destroy(): void {
    if (!this.#isOpen) return;
    this.#end();
    this.#clock.endOfTurn(() => this.#events.closed());
  }

  /** The server has died: the client hears of it, and nobody else. */
  cut(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#clock.endOfTurn(() => this.#events.closed());
  }

  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#clock.endOfTurn(() => this.handler.closed());
  }

  #soon(act: () => void): void {
    this.#clock.endOfTurn(() => {
      if (this.#isOpen) act();
    });
  }

  #deliver(): void {
    const wasUnsent = this.unsentBytes > 0;
    while (this.#isReading && this.#isOpen && this.#toClient.length > 0) {
      const bytes = this.#toClient.shift() as Uint8Array;
      this.#unsent -= bytes.length;
      this.#events.received(bytes);
    }
    if (wasUnsent && this.unsentBytes === 0 && this.#isOpen) this.handler.drain();
  }

  #deliverToServer(): void {
    while (!this.#isPaused && this.#isOpen && this.#toServer.length > 0) {
      this.handler.data(this.#toServer.shift() as Uint8Array);
    }
  }
}

/** What survives a crash of a lane. */
class LaneHome {
  readonly disk = new SimDisk();
  readonly mark = new MemoryMark();
  readonly history = new SimHistoryDisk();
}

/** A server of two lanes, with a partition each, over simulated disks and a network, that can die and come back. */
export class World {
  readonly clock = new ManualClock();
  readonly failures: TallystickError[] = [];
  readonly homes = LANES.map(() => new LaneHome());
  isUp = false;
  /** How often it was looked back into the log. */
  replays = 0;
  readonly #classes: readonly CounterClass[];
  /** Else what is past is known from memory alone. */
  readonly #isLogKept: boolean;
  #life = new MortalClock(this.clock);
  #logs: SimLog[] = [];
  #hosts: LaneHost[] = [];
  #recovered: readonly number[] = [];
  readonly #pipes = new Set<Pipe>();

  private constructor(classes: readonly CounterClass[], isLogKept: boolean) {
    this.#classes = classes;
    this.#isLogKept = isLogKept;
  }

  static async start(classes: readonly CounterClass[] = [], isLogKept = true): Promise<World> {
    const world = new World(classes, isLogKept);
    await world.recover();
    return world;
  }

  async recover(): Promise<void> {
    const life = new MortalClock(this.clock);
    this.#life = life;
    const rings = createRings(LANES.length);
    const hosts: LaneHost[] = [];
    this.#logs = [];
    for (const lane of LANES.keys()) hosts.push(await this.#open(lane, life, rings, hosts));
    // A crash may have left more than the mark says
    if (this.#hosts.length > 0)
      this.#recovered = hosts.map(({ partitions }, lane) => partitions.get(lane)?.sequence ?? 0);
    this.#hosts = hosts;
    await this.pass(FLUSH_MILLISECONDS * 2);
    const map = {
      ...MAP,
      lanes: LANES.map((_, lane) => ({ host: 'h', port: lane + 1 })),
      partitions: LANES.flatMap((partitions, lane) => partitions.map(() => lane)),
    };
    for (const host of hosts) host.serve(map);
    this.isUp = true;
    await this.pass(0);
  }

  async #open(lane: number, clock: MortalClock, rings: ReturnType<typeof createRings>, hosts: LaneHost[]) {
    const { disk, mark, history: historyDisk } = this.homes[lane] as LaneHome;
    const partitions = LANES[lane] as readonly number[];
    const shape = { partitions, kernelVersion: KERNEL_VERSION };
    const later = (commit: () => void) => clock.setTimer(FLUSH_MILLISECONDS, commit);
    const log = new SimLog(disk, shape, later);
    this.#logs.push(log);
    const checkpoints = new SimCheckpoints(new SimCheckpointDisk(), shape, later);
    const history = new SimTables(historyDisk, later);
    const others = [...LANES.keys()].filter((other) => other !== lane);
    const start = this.#isLogKept ? replayersOf({ log, checkpoints, kernel: MODULE }, clock) : nothingFound(clock);
    return LaneHost.open({
      ...{ lane, partitions, clock, history, kernel: MODULE, collect: () => {} },
      configuration: { ...CONFIGURATION, classes: this.#classes },
      storage: { log, mark, checkpoints },
      planner: plannerOf(history),
      retention: DEFAULT_RETENTION,
      connectCheckpointer: (report) => {
        const checkpointer = new Checkpointer({ log, checkpoints, kernel: MODULE, clock, collect: () => {}, report });
        return (message) => checkpointer.hear(message);
      },
      startReplayer: (order, hear) => {
        this.replays++;
        return start(order, hear);
      },
      checkpointTailBytes: TAIL_BYTES,
      hotPerSecond: 0,
      quota: undefined,
      onHot: () => {},
      links: others.map((other) => ({
        lane: other,
        out: rings[lane]?.[other] as never,
        in: rings[other]?.[lane] as never,
        wake: () => clock.endOfTurn(() => hosts[other]?.woken()),
      })),
      isPoisoned: () => this.failures.length > 0,
      onFailed: (error) => this.failures.push(error),
    });
  }

  /** The process dies; a group that was being written is on the disk or not. */
  crash(isStored: () => boolean): void {
    this.isUp = false;
    this.#life.isAlive = false;
    for (const log of this.#logs) log.crash(isStored());
    for (const pipe of this.#pipes) pipe.cut();
    this.#pipes.clear();
  }

  /** Connects to the lane of a port, if the server is there. */
  open({ port }: Pick<Address, 'port'>, events: ChannelEvents): Pipe {
    const pipe = new Pipe(this.clock, events);
    if (!this.isUp) {
      pipe.handler = { data: () => {}, drain: () => {}, closed: () => {} };
      pipe.cut();
      return pipe;
    }
    pipe.handler = (this.#hosts[port - 1] as LaneHost).accept(pipe);
    this.#pipes.add(pipe);
    return pipe;
  }

  pass(milliseconds: number): Promise<void> {
    return pass(this.clock, milliseconds);
  }

  /** Lets a longer time pass, by steps. */
  async idle(milliseconds: number, step = 50): Promise<void> {
    for (let passed = 0; passed < milliseconds; passed += step) {
      this.clock.advance(step);
      await this.pass(0);
    }
  }

  /** What is on the device of a partition. */
  flushed(partition: number): number {
    const mark = (this.homes[partition] as LaneHome).mark.mark.heads.get(partition)?.sequence ?? 0;
    return Math.max(mark, this.#recovered[partition] ?? 0);
  }

  /** What the log on the device of a partition makes of some names, position by position. */
  async truth(partition: number, names: readonly string[]): Promise<Truth> {
    const shape = { partitions: [partition], kernelVersion: KERNEL_VERSION };
    const log = new SimLog((this.homes[partition] as LaneHome).disk, shape, () => {});
    const kernel = new Partition(MODULE);
    const truth = new Truth(names);
    const writer = new ByteWriter();
    encodeGet(writer, { keys: names.map((name) => ({ name })) });
    const keys = writer.copy();
    const partitions = new Map([[partition, kernel]]);
    const visit = (entry: LogEntry) => {
      replayEntry(partitions, entry);
      kernel.read(keys);
      truth.add(
        kernel.sequence,
        decodeGetAnswer(Uint8Array.of(0, 0, ...kernel.answer)).values.map(({ value }) => value),
      );
    };
    await log.replay({ mark: NO_MARK, visit });
    return truth;
  }
}

/** The values of some names at each position of a partition. */
export class Truth {
  readonly names: readonly string[];
  readonly #values: (readonly (bigint | undefined)[] | undefined)[] = [];

  constructor(names: readonly string[]) {
    this.names = names;
  }

  get position(): number {
    return this.#values.length - 1;
  }

  add(position: number, values: readonly (bigint | undefined)[]): void {
    this.#values[position] = values;
  }

  /** Undefined where there is no such counter. @throws where that position was never on the device */
  at(position: number, name: string): bigint | undefined {
    const values = this.#values[position];
    if (!values) throw new Error(`Position ${position} is not on the device, which has ${this.position}.`);
    return values[this.names.indexOf(name)];
  }
}
