import type { TallystickError } from '../../src/errors.js';
import { DEFAULT_RETENTION } from '../../src/history/roll-up.js';
import type { FromCheckpointer, ToCheckpointer } from '../../src/lane/checkpoint-messages.js';
import { Checkpointer } from '../../src/lane/checkpointer.js';
import { LaneHost } from '../../src/lane/lane-host.js';
import type { CounterClass } from '../../src/partition/classes.js';
import {
  decodeHelloAnswer,
  decodeStatsAnswer,
  encodeHelloRequest,
  encodeStatsRequest,
  type HelloRequest,
  type StatsAnswer,
} from '../../src/protocol/control.js';
import { LANE, Opcode } from '../../src/protocol/opcode.js';
import { plannerOf } from '../history/homes.js';
import { SimHistoryDisk, SimTables } from '../history/sim-tables.js';
import { FLUSH_MILLISECONDS, MemoryMark } from '../log/lane-bench.js';
import { SimCheckpointDisk, SimCheckpoints } from '../log/sim-checkpoints.js';
import { SimDisk, SimLog } from '../log/sim-log.js';
import { ManualClock } from '../support/manual-clock.js';
import { CONFIGURATION, MAP, MODULE, namesOf, PARTITIONS, pass, SHAPE, TestClient } from './lane-harness.js';
import { replayersOf } from './replaying.js';

export const TAIL_BYTES = 65_536;
/** Bytes of log that `write` makes, about: seven an increment, once its counters are there. */
export const WRITE_BYTES = 2_000;
const NAMES = PARTITIONS.map((partition) => namesOf(partition, 285));

/** A lane as it is composed in the server, with its checkpointer, over simulated clock, disks and network. */
export class HostHarness {
  readonly clock = new ManualClock();
  readonly disk = new SimDisk();
  readonly checkpointDisk = new SimCheckpointDisk();
  readonly historyDisk = new SimHistoryDisk();
  readonly mark = new MemoryMark();
  readonly failures: TallystickError[] = [];
  /** How often the lane had its garbage collected. */
  collections = 0;
  /** How many checkpointers were started. */
  checkpointers = 0;
  /** What lane and checkpointer said to each other. */
  readonly told: ToCheckpointer[] = [];
  readonly heard: FromCheckpointer[] = [];
  /** Up to which record the log was released. */
  readonly released: number[] = [];
  /** What becomes of a message to the checkpointer on its way; undefined where it is lost. */
  intercept: (message: ToCheckpointer) => ToCheckpointer | undefined = (message) => message;
  log!: SimLog;
  checkpoints!: SimCheckpoints;
  history!: SimTables;
  host!: LaneHost;
  #checkpointer!: Checkpointer;

  /** Of the next start. */
  classes: readonly CounterClass[];

  constructor(classes: readonly CounterClass[]) {
    this.classes = classes;
  }

  static async start(classes: readonly CounterClass[] = []): Promise<HostHarness> {
    const harness = new HostHarness(classes);
    await harness.open();
    return harness;
  }

  /** Starts from what is on the disks. */
  async open(): Promise<void> {
    const { clock, mark } = this;
    const commitLater = (commit: () => void) => clock.setTimer(FLUSH_MILLISECONDS, commit);
    const log = new SimLog(this.disk, SHAPE, commitLater);
    const checkpoints = new SimCheckpoints(this.checkpointDisk, SHAPE, commitLater);
    log.release = async (records) => {
      this.released.push(records);
    };
    const history = new SimTables(this.historyDisk, commitLater);
    this.log = log;
    this.checkpoints = checkpoints;
    this.history = history;
    this.host = await LaneHost.open({
      lane: 0,
      partitions: PARTITIONS,
      configuration: { ...CONFIGURATION, classes: this.classes },
      storage: { log, mark, checkpoints },
      history,
      planner: plannerOf(history),
      retention: DEFAULT_RETENTION,
      kernel: MODULE,
      clock,
      collect: () => this.collections++,
      connectCheckpointer: (hear) => this.#connect(hear),
      startReplayer: replayersOf({ log, checkpoints, kernel: MODULE }, clock),
      checkpointTailBytes: TAIL_BYTES,
      hotPerSecond: 0,
      quota: undefined,
      onHot: () => {},
      links: [],
      isPoisoned: () => this.failures.length > 0,
      onFailed: (error) => this.failures.push(error),
    });
    await this.pass(2 * FLUSH_MILLISECONDS);
    this.host.serve(MAP);
  }

  #connect(hear: (message: FromCheckpointer) => void): (message: ToCheckpointer) => void {
    const { log, checkpoints, clock } = this;
    this.checkpointers++;
    this.#checkpointer = new Checkpointer({
      ...{ log, checkpoints, kernel: MODULE, clock, collect: () => {} },
      report: (message) => {
        this.heard.push(message);
        hear(message);
      },
    });
    return (message) => {
      this.told.push(message);
      const arrived = this.intercept(message);
      if (arrived) this.#checkpointer.hear(arrived);
    };
  }

  /** Sends the last message to the checkpointer again. */
  replay(): void {
    const last = this.told.at(-1);
    if (last) this.#checkpointer.hear(last);
  }

  /** The process dies; what was being written is on the disks or not. */
  crash(stored: boolean): void {
    this.log.crash(stored);
    this.checkpoints.crash(stored);
    this.history.crash(stored);
  }

  pass(milliseconds: number): Promise<void> {
    return pass(this.clock, milliseconds);
  }

  /** Lets a long time pass in which little happens, and that by steps of half a second. */
  async idle(milliseconds: number): Promise<void> {
    for (let passed = 0; passed < milliseconds; passed += 500) {
      this.clock.advance(500);
      await this.pass(0);
    }
  }

  async client(hello: Partial<HelloRequest> = {}): Promise<TestClient> {
    const client = new TestClient((transport) => this.host.accept(transport));
    const id = client.send(Opcode.HELLO, 0, LANE, (writer) =>
      encodeHelloRequest(writer, { version: 1, client: 'test', ...hello }),
    );
    await this.pass(hello.producer ? 3 * FLUSH_MILLISECONDS : 0);
    client.hello = decodeHelloAnswer(client.answerOf(id).body);
    return client;
  }

  async stats(): Promise<StatsAnswer> {
    const client = await this.client();
    const id = client.send(Opcode.STATS, 0, LANE, (writer) => encodeStatsRequest(writer, { stateHash: true }));
    await this.pass(0);
    return decodeStatsAnswer(client.answerOf(id).body);
  }

  /** The partitions of the orders so far. */
  get orders(): number[] {
    return this.told.flatMap((message) => (message.kind === 'checkpoint' ? [message.order.partition] : []));
  }
}

/** One request that changes many counters; its id. */
export function write(client: TestClient, partition: number): number {
  const operations = (NAMES[partition] ?? []).map((name) => ({ key: { name }, delta: 2n ** 34n }));
  return client.add(partition, { operations });
}

/** Requests until the lane's log has so many bytes more, group by group. */
export async function writeBytes(
  harness: HostHarness,
  client: TestClient,
  bytes: number,
  partition = 0,
): Promise<number[]> {
  const ids: number[] = [];
  for (let written = 0; written < bytes; written += WRITE_BYTES) {
    ids.push(write(client, partition));
    await harness.pass(FLUSH_MILLISECONDS + 1);
  }
  return ids;
}
