import type { TallystickError } from '../../src/errors.js';
import { DEFAULT_RETENTION } from '../../src/history/roll-up.js';
import { Checkpointer } from '../../src/lane/checkpointer.js';
import { LaneHost } from '../../src/lane/lane-host.js';
import { createRings, type Rings } from '../../src/lane/link.js';
import { createRing } from '../../src/lane/ring.js';
import { KERNEL_VERSION } from '../../src/partition/partition.js';
import { decodeHelloAnswer, type HelloRequest } from '../../src/protocol/control.js';
import { plannerOf } from '../history/homes.js';
import { SimHistoryDisk, SimTables } from '../history/sim-tables.js';
import { FLUSH_MILLISECONDS, MemoryMark } from '../log/lane-bench.js';
import { SimCheckpointDisk, SimCheckpoints } from '../log/sim-checkpoints.js';
import { SimDisk, SimLog } from '../log/sim-log.js';
import { ManualClock } from '../support/manual-clock.js';
import { CONFIGURATION, MAP, MODULE, pass, TestClient } from './lane-harness.js';
import { replayersOf } from './replaying.js';

/** More than any test writes: there are no checkpoints. */
const TAIL_BYTES = 2 ** 30;

/** Which partitions each lane owns: lane 0 has partition 0, lane 1 has partition 1. */
const LANES = [[0], [1]] as const;

/** What a lane has beside its host. */
class SimLane {
  readonly disk = new SimDisk();
  readonly mark = new MemoryMark();
  log!: SimLog;
  host!: LaneHost;
  /** How often another lane woke it. */
  woken = 0;
  /** While true it does not notice that it is woken, as a thread that is busy. */
  isBusy = false;
}

interface RingBytes {
  readonly requests: number;
  readonly answers: number;
}

/** All lanes of a server over a simulated clock, disks and network, in one thread; their rings are the real ones. */
export class MeshHarness {
  readonly clock = new ManualClock();
  readonly lanes = LANES.map(() => new SimLane());
  readonly failures: TallystickError[] = [];
  poisoned = false;
  readonly #rings: (Rings | undefined)[][];

  private constructor(ringBytes: RingBytes | undefined) {
    const pair = ({ requests, answers }: RingBytes) => ({
      requests: createRing(requests),
      answers: createRing(answers),
    });
    this.#rings =
      ringBytes === undefined
        ? createRings(LANES.length)
        : LANES.map((_, from) => LANES.map((_, to) => (from === to ? undefined : pair(ringBytes))));
  }

  /** @param ringBytes of each ring, where it shall be smaller than usual */
  static async start(ringBytes?: number | RingBytes): Promise<MeshHarness> {
    const bytes = typeof ringBytes === 'number' ? { requests: ringBytes, answers: ringBytes } : ringBytes;
    const harness = new MeshHarness(bytes);
    for (const lane of LANES.keys()) await harness.#open(lane);
    await harness.pass(FLUSH_MILLISECONDS * 2);
    const map = {
      ...MAP,
      lanes: LANES.map((_, lane) => ({ host: 'h', port: lane + 1 })),
      partitions: LANES.flatMap((partitions, lane) => partitions.map(() => lane)),
    };
    for (const { host } of harness.lanes) host.serve(map);
    await harness.pass(0);
    return harness;
  }

  lane(index: number): SimLane {
    return this.lanes[index] as SimLane;
  }

  async #open(index: number): Promise<void> {
    const { clock } = this;
    const lane = this.lane(index);
    const partitions = LANES[index] as readonly number[];
    const shape = { partitions, kernelVersion: KERNEL_VERSION };
    const later = (commit: () => void) => clock.setTimer(FLUSH_MILLISECONDS, commit);
    lane.log = new SimLog(lane.disk, shape, later);
    const checkpoints = new SimCheckpoints(new SimCheckpointDisk(), shape, later);
    const history = new SimTables(new SimHistoryDisk(), later);
    const others = [...LANES.keys()].filter((other) => other !== index);
    lane.host = await LaneHost.open({
      lane: index,
      partitions,
      configuration: CONFIGURATION,
      storage: { log: lane.log, mark: lane.mark, checkpoints },
      history,
      planner: plannerOf(history),
      retention: DEFAULT_RETENTION,
      kernel: MODULE,
      clock,
      collect: () => {},
      connectCheckpointer: (report) => {
        const checkpointer = new Checkpointer({
          log: lane.log,
          checkpoints,
          kernel: MODULE,
          clock,
          collect: () => {},
          report,
        });
        return (message) => checkpointer.hear(message);
      },
      startReplayer: replayersOf({ log: lane.log, checkpoints, kernel: MODULE }, clock),
      checkpointTailBytes: TAIL_BYTES,
      hotPerSecond: 0,
      quota: undefined,
      onHot: () => {},
      links: others.map((other) => ({
        lane: other,
        out: this.#rings[index]?.[other] as Rings,
        in: this.#rings[other]?.[index] as Rings,
        wake: () => this.#wake(other),
      })),
      isPoisoned: () => this.poisoned,
      onFailed: (error) => {
        this.poisoned = true;
        this.failures.push(error);
      },
    });
  }

  #wake(index: number): void {
    const lane = this.lane(index);
    lane.woken++;
    const ring = () => {
      if (lane.isBusy) this.clock.setTimer(1, ring);
      else lane.host.woken();
    };
    this.clock.endOfTurn(ring);
  }

  pass(milliseconds: number): Promise<void> {
    return pass(this.clock, milliseconds);
  }

  /** Long enough for two flushes. */
  flush(): Promise<void> {
    return this.pass(FLUSH_MILLISECONDS * 3);
  }

  /** A client that is connected to that lane and has said nothing. */
  stranger(lane: number): TestClient {
    return new TestClient((transport) => this.lane(lane).host.accept(transport));
  }

  /** A client of that lane alone. */
  async direct(lane: number, hello: Partial<HelloRequest> = {}): Promise<TestClient> {
    const client = this.stranger(lane);
    const id = client.sayHello(hello);
    await this.flush();
    client.hello = decodeHelloAnswer(client.answerOf(id).body);
    return client;
  }

  /** A client that reaches all partitions through that lane. */
  indirect(lane: number, hello: Partial<HelloRequest> = {}): Promise<TestClient> {
    return this.direct(lane, { ...hello, direct: false });
  }
}
