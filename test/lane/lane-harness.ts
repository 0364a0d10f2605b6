import { TallystickError } from '../../src/errors.js';
import { History } from '../../src/history/history.js';
import { Days } from '../../src/lane/days.js';
import { type ServerMap, Session } from '../../src/lane/greeting.js';
import { HindsightQueue } from '../../src/lane/hindsight-queue.js';
import { HistoryFeed } from '../../src/lane/history-feed.js';
import type { HotName } from '../../src/lane/hot-names.js';
import { Lane } from '../../src/lane/lane.js';
import type { LaneHostParts } from '../../src/lane/lane-host.js';
import { createQuota, Quota } from '../../src/lane/quota.js';
import { configure, recover } from '../../src/lane/recovery.js';
import type { WaitingLimits } from '../../src/lane/waiting-reads.js';
import { GroupCommit } from '../../src/log/group-commit.js';
import type { CounterClass } from '../../src/partition/classes.js';
import { KERNEL_VERSION, Partition } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import {
  decodeHelloAnswer,
  encodeHelloRequest,
  type HelloAnswer,
  type HelloRequest,
} from '../../src/protocol/control.js';
import { encodeExpire } from '../../src/protocol/expiry.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { encodeOnce } from '../../src/protocol/once.js';
import { DEFAULT_LIMITS, Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { partitionOf } from '../../src/protocol/partition-hash.js';
import {
  type AddRequest,
  type DeleteRequest,
  type Expiry,
  encodeAdd,
  encodeDelete,
  encodeGet,
  encodeList,
  encodeSet,
  type SetRequest,
} from '../../src/protocol/request.js';
import {
  type AddAnswer,
  decodeAddAnswer,
  decodeError,
  decodeGetAnswer,
  decodeListAnswer,
  decodeSetAnswer,
  errorOf,
} from '../../src/protocol/response.js';
import { Connection } from '../../src/transport/connection.js';
import { compileWasm } from '../../src/wasm.js';
import { SimHistoryDisk, SimTables } from '../history/sim-tables.js';
import { FLUSH_MILLISECONDS, MemoryMark } from '../log/lane-bench.js';
import { SimCheckpointDisk, SimCheckpoints } from '../log/sim-checkpoints.js';
import { SimDisk, SimLog } from '../log/sim-log.js';
import { ManualClock } from '../support/manual-clock.js';
import { framesOf, type Received } from '../transport/lane-double.js';
import { MemoryTransport } from '../transport/memory-transport.js';
import { replayersOf } from './replaying.js';

export const PARTITIONS = [0, 1] as const;
export const EPOCH = 7;
export const MODULE = compileWasm('kernel');
export const SHAPE = { partitions: PARTITIONS, kernelVersion: KERNEL_VERSION };
export const CONFIGURATION = {
  partitions: PARTITIONS.length,
  secret: new Uint8Array(16).fill(9),
  maximumPages: 1000,
  maximumProducers: 100,
  maximumOperationIds: 100,
  producerIdleMilliseconds: 86_400_000,
  operationIdMilliseconds: 600_000,
  windowBytes: 16_000_000,
  classes: [],
};

export const MAP: ServerMap = {
  server: 'test',
  epoch: EPOCH,
  lanes: [{ host: 'h', port: 1 }],
  partitions: [0, 0],
  limits: DEFAULT_LIMITS,
};

/** A name of each partition. */
export const NAME = PARTITIONS.map((partition) => {
  for (let i = 0; ; i++) if (partitionFor(`name${i}`) === partition) return `name${i}`;
}) as [string, string];

/** So many names of a partition. */
export function namesOf(partition: number, count: number): string[] {
  const names: string[] = [];
  for (let i = 0; names.length < count; i++) if (partitionFor(`name${i}`) === partition) names.push(`name${i}`);
  return names;
}

function partitionFor(name: string): number {
  const bytes = new TextEncoder().encode(name);
  return partitionOf(bytes, 0, bytes.length, PARTITIONS.length);
}

interface HarnessOptions {
  readonly groupBytes?: number;
  readonly quotaPerSecond?: number;
  readonly classes?: readonly CounterClass[];
  readonly waiting?: WaitingLimits;
}

/** A whole lane, from bytes to bytes, over a simulated clock, disk and network. It can crash and come back. */
export class LaneHarness {
  readonly clock = new ManualClock();
  readonly disk = new SimDisk();
  readonly checkpointDisk = new SimCheckpointDisk();
  readonly mark = new MemoryMark();
  readonly failures: TallystickError[] = [];
  readonly hot: HotName[] = [];
  poisoned = false;
  log!: SimLog;
  checkpoints!: SimCheckpoints;
  commit!: GroupCommit;
  lane!: Lane;
  hindsight!: HindsightQueue;
  startReplayer!: LaneHostParts['startReplayer'];
  partitions!: ReadonlyMap<number, Partition>;
  #options: HarnessOptions = {};

  static async start(options: HarnessOptions = {}): Promise<LaneHarness> {
    const harness = new LaneHarness();
    harness.#options = options;
    await harness.recover();
    return harness;
  }

  /** Starts from what is on the disk. */
  async recover(): Promise<void> {
    const { clock, mark } = this;
    const { groupBytes, quotaPerSecond = 0, waiting } = this.#options;
    const log = new SimLog(this.disk, SHAPE, (commit) => clock.setTimer(FLUSH_MILLISECONDS, commit));
    this.log = log;
    this.partitions = new Map(PARTITIONS.map((number) => [number, new Partition(MODULE)]));
    const checkpoints = new SimCheckpoints(this.checkpointDisk, SHAPE, (commit) =>
      clock.setTimer(FLUSH_MILLISECONDS, commit),
    );
    this.checkpoints = checkpoints;
    const onFailed = (error: TallystickError) => this.failures.push(error);
    const start = await recover({ log, mark, checkpoints }, this.partitions);
    this.commit = new GroupCommit({
      log,
      mark,
      clock,
      shape: SHAPE,
      start,
      isPoisoned: () => this.poisoned,
      onFailed,
      ...(groupBytes !== undefined && { groupBytes }),
    });
    const history = new History(new SimTables(new SimHistoryDisk()));
    const feed = new HistoryFeed({ history, partitions: PARTITIONS, clock, onFailed });
    feed.start(this.partitions, { commit: this.commit, onCommitted: () => {} });
    const configuration = { ...CONFIGURATION, classes: this.#options.classes ?? [] };
    configure(this.partitions, this.commit, configuration, clock.wallMilliseconds(), () => {});
    await this.pass(FLUSH_MILLISECONDS * 2);
    this.hindsight = new HindsightQueue({
      ...{ commit: this.commit, clock },
      start: (order, hear) => this.startReplayer(order, hear),
    });
    this.startReplayer = replayersOf({ log, checkpoints, kernel: MODULE }, clock);
    this.lane = new Lane({
      lane: 0,
      partitions: this.partitions,
      commit: this.commit,
      history,
      feed,
      clock,
      days: new Days(this.#options.classes ?? []),
      map: MAP,
      links: [],
      hotPerSecond: 100,
      quota: quotaPerSecond > 0 ? new Quota(createQuota(), quotaPerSecond, clock) : undefined,
      onHot: (hot) => this.hot.push(hot),
      ...(waiting && { waiting }),
      isPoisoned: () => this.poisoned,
      hindsight: this.hindsight,
      describe: () => ({}),
      describePartition: () => ({}),
    });
  }

  /** The process dies; the group that was being written is on the disk or not. */
  crash(stored: boolean): void {
    this.log.crash(stored);
    this.checkpoints.crash(stored);
  }

  pass(milliseconds: number): Promise<void> {
    return pass(this.clock, milliseconds);
  }

  /** Long enough for two flushes. */
  flush(): Promise<void> {
    return this.pass(FLUSH_MILLISECONDS * 3);
  }

  #accept(transport: MemoryTransport): Connection<Session> {
    return new Connection<Session>({
      session: new Session(),
      transport,
      clock: this.clock,
      handler: {
        request: (connection, frame) => this.lane.request(connection, frame),
        isFull: (connection) => this.lane.holds(connection),
        closed: (connection) => this.lane.closed(connection),
      },
    });
  }

  async client(hello: Partial<HelloRequest> = {}): Promise<TestClient> {
    const client = new TestClient((transport) => this.#accept(transport));
    const id = client.sayHello(hello);
    await this.flush();
    client.hello = decodeHelloAnswer(client.answerOf(id).body);
    return client;
  }

  stateHashes(): bigint[] {
    return [...this.partitions.values()].map(({ stateHash }) => stateHash);
  }
}

/** Lets time pass, and what follows from it happen. */
export async function pass(clock: ManualClock, milliseconds: number): Promise<void> {
  const until = clock.monotonicMilliseconds() + milliseconds;
  for (;;) {
    do {
      clock.endTurn();
      await new Promise((resolve) => setImmediate(resolve));
    } while (clock.pendingCallbacks > 0);
    if (clock.monotonicMilliseconds() >= until) return;
    clock.advance(1);
  }
}

export class TestClient {
  readonly transport = new MemoryTransport();
  readonly connection: Connection<Session>;
  hello!: HelloAnswer;
  #next = 1;
  readonly #operations = new Map<number, { operations: number; values: boolean }>();

  constructor(accept: (transport: MemoryTransport) => Connection<Session>) {
    this.connection = accept(this.transport);
    this.transport.handler = this.connection;
  }

  sayHello(hello: Partial<HelloRequest> = {}): number {
    return this.send(Opcode.HELLO, 0, LANE, (writer) =>
      encodeHelloRequest(writer, { version: 1, client: 'test', ...hello }),
    );
  }

  send(opcode: number, flags: number, partition: number, encode: (writer: ByteWriter) => void): number {
    const writer = new ByteWriter();
    encode(writer);
    const id = this.#next++;
    this.transport.deliver(encodeFrame(opcode, flags, partition, id, writer.view()));
    return id;
  }

  add(partition: number, request: Partial<AddRequest>, flags = 0): number {
    const { sequence, operations = [{ key: { name: NAME[partition] as string }, delta: 1n }] } = request;
    const all = flags | (sequence ? Flag.SEQUENCED : 0);
    const id = this.send(Opcode.ADD, all, partition, (writer) =>
      encodeAdd(writer, { operations, ...(sequence && { sequence }) }),
    );
    this.#operations.set(id, { operations: operations.length, values: (all & Flag.VALUES) !== 0 });
    return id;
  }

  /** A batch of one increment under a sequence, answered with its value. */
  numbered(partition: number, sequence: number, delta = 1n, flags: number = Flag.VALUES): number {
    const operations = [{ key: { name: NAME[partition] as string }, delta }];
    return this.add(partition, { sequence: { sequence, unanswered: 0 }, operations }, flags);
  }

  get(partition: number, names: readonly string[], flags = 0, after?: { epoch: number; sequence: number }): number {
    return this.send(Opcode.GET, flags | (after ? Flag.AFTER : 0), partition, (writer) =>
      encodeGet(writer, { keys: names.map((name) => ({ name })), ...(after && { after }) }),
    );
  }

  set(partition: number, request: Omit<SetRequest, 'key'>, flags = 0): number {
    return this.send(Opcode.SET, flags, partition, (writer) =>
      encodeSet(writer, { key: { name: NAME[partition] as string }, ...request }),
    );
  }

  delete(partition: number, request: Omit<DeleteRequest, 'key'> & Partial<DeleteRequest>, flags = 0): number {
    return this.send(Opcode.DELETE, flags | (request.sequence ? Flag.SEQUENCED : 0), partition, (writer) =>
      encodeDelete(writer, { key: { name: NAME[partition] as string }, ...request }),
    );
  }

  /** The first counters of a partition. */
  list(partition: number, flags = 0): number {
    return this.send(Opcode.LIST, flags, partition, (writer) =>
      encodeList(writer, { prefix: new Uint8Array(0), cursor: 0, limit: 100 }),
    );
  }

  expire(partition: number, expiry: Expiry, flags = 0): number {
    return this.send(Opcode.EXPIRE, flags, partition, (writer) =>
      encodeExpire(writer, { key: { name: NAME[partition] as string }, expiry }),
    );
  }

  /** Counts an item once, for the name of a partition. */
  once(partition: number, item: number, flags = 0): number {
    const key = { name: NAME[partition] as string };
    return this.send(Opcode.ONCE, flags, partition, (writer) =>
      encodeOnce(writer, { operations: [{ key, item: Uint8Array.of(item) }] }),
    );
  }

  expiry(partition: number, names: readonly string[], flags = 0): number {
    return this.send(Opcode.EXPIRY, flags, partition, (writer) =>
      encodeGet(writer, { keys: names.map((name) => ({ name })) }),
    );
  }

  get answers(): Received[] {
    return framesOf(this.transport.taken);
  }

  isAnswered(id: number): boolean {
    return this.answers.some(({ requestId }) => requestId === id);
  }

  answerOf(id: number): Received {
    const answer = this.answers.find(({ requestId }) => requestId === id);
    if (!answer) throw new Error(`Request ${id} is not answered.`);
    if (answer.opcode === Opcode.ERROR) throw errorOf(decodeError(answer.body));
    return answer;
  }

  /** The code and the outcome of the ERROR that answers a request. */
  refusal(id: number): string {
    try {
      this.answerOf(id);
      return 'none';
    } catch (error) {
      if (error instanceof TallystickError) return `${error.code} ${error.outcome}`;
      throw error;
    }
  }

  added(id: number): AddAnswer {
    const { operations, values } = this.#operations.get(id) ?? { operations: 0, values: false };
    return decodeAddAnswer(this.answerOf(id).body, operations, values);
  }

  got(id: number): (bigint | undefined)[] {
    return decodeGetAnswer(this.answerOf(id).body).values.map(({ value }) => value);
  }

  /** What a GET's answer says of its partition. */
  progressOf(id: number) {
    const { position, flushed } = decodeGetAnswer(this.answerOf(id).body);
    return { position, flushed };
  }

  listed(id: number) {
    return decodeListAnswer(this.answerOf(id).body);
  }

  /** The answer to a SET or DELETE. */
  wasSet(id: number) {
    return decodeSetAnswer(this.answerOf(id).body);
  }
}
