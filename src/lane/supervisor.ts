import { MessageChannel, Worker } from 'node:worker_threads';
import { systemClock } from '../clock.js';
import { TallystickError } from '../errors.js';
import type { Retention } from '../history/roll-up.js';
import { AppendGuard, createAppends } from './append-watch.js';
import type { ServerMap } from './greeting.js';
import type { HotName } from './hot-names.js';
import { createRings, type Rings } from './link.js';
import type {
  FromLane,
  LaneOptions,
  LaneStatus,
  LogSettings,
  ThreadLink,
  ToLane,
  WebSocketSettings,
} from './messages.js';
import { createQuota } from './quota.js';
import type { LaneConfiguration } from './recovery.js';

/**
 * Starts the lanes' threads, tells them of each other, and ends them.
 *
 *   starting -> serving -> draining -> stopped
 *        \__________\__________\___-> failed (for good: storage or a thread broke; the process must exit)
 */
export type SupervisorState = 'starting' | 'serving' | 'draining' | 'stopped' | 'failed';

export interface SupervisorOptions {
  /** For each lane its directory and its partitions. */
  readonly lanes: readonly { readonly path: string; readonly partitions: readonly number[] }[];
  readonly create: boolean;
  readonly configuration: LaneConfiguration;
  readonly log: LogSettings;
  readonly host: string;
  /** Of the first lane; the others follow. 0 = any free ports. */
  readonly port: number;
  /** With the port of the first lane, as above; undefined where WebSocket is not spoken. */
  readonly webSocket: WebSocketSettings | undefined;
  /** Of each port. */
  readonly connections: number;
  /** Bytes of each lane's log that a start may have to read. */
  readonly checkpointTailBytes: number;
  /** For how long histories keep minutes and hours. */
  readonly retention: Retention;
  /** Operations a second on one counter of which `onHot` is told, every ten seconds; 0: it never is. */
  readonly hotPerSecond: number;
  readonly quotaPerSecond: number;
  readonly onHot: (hot: HotName) => void;
  /** A lane could not look back into its log for a reader, who then begins anew. */
  readonly onLookFailed: (error: TallystickError) => void;
  readonly map: Omit<ServerMap, 'lanes' | 'webSocketLanes' | 'partitions'>;
  /** Called once when the state becomes `failed`. */
  readonly onFailed: (error: TallystickError) => void;
}

interface LaneThread {
  readonly worker: Worker;
  readonly listening: Deferred<LaneStatus>;
  readonly drained: Deferred<void>;
  readonly exited: Deferred<void>;
  isDrained: boolean;
}

/** A promise that another place settles; its rejection is always handled, since not every one of them is awaited. */
class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: TallystickError) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => {});
  }
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #poison = new SharedArrayBuffer(4);
  readonly #quota = createQuota();
  readonly #appends: SharedArrayBuffer;
  readonly #guard: AppendGuard;
  readonly #threads: LaneThread[] = [];
  #state: SupervisorState = 'starting';
  #lanes: readonly LaneStatus[] = [];

  private constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#appends = createAppends(options.lanes.length);
    this.#guard = new AppendGuard(this.#appends, systemClock, (lane) =>
      this.#fail(new TallystickError('STORAGE_FAILED', `A group of lane ${lane} was not answered for 10 s.`)),
    );
  }

  /**
   * Resolves when every lane has recovered and serves. Rejects when that failed and no thread runs any more.
   *
   * @throws TallystickError LOG_CORRUPT, …
   */
  static async start(options: SupervisorOptions, beforeServing: () => void): Promise<Supervisor> {
    const supervisor = new Supervisor(options);
    try {
      await supervisor.#start(beforeServing);
      return supervisor;
    } catch (error) {
      supervisor.#fail(error as TallystickError);
      await Promise.all(supervisor.#threads.map(({ exited }) => exited.promise));
      throw error;
    }
  }

  get state(): SupervisorState {
    return this.#state;
  }

  get lanes(): readonly LaneStatus[] {
    return this.#lanes;
  }

  /** Lets every lane flush and answer what it has, and end. Rejects if that fails. */
  async drain(): Promise<void> {
    if (this.#state !== 'serving')
      throw new TallystickError('INTERNAL', `A server that is ${this.#state} cannot drain.`);
    this.#state = 'draining';
    this.#tellAll({ kind: 'drain' });
    await Promise.all(this.#threads.map(({ drained }) => drained.promise));
    this.#guard.close();
    this.#state = 'stopped';
  }

  async #start(beforeServing: () => void): Promise<void> {
    const { lanes, map } = this.#options;
    const links = threadLinks(lanes.length);
    lanes.forEach((_, lane) => {
      this.#threads.push(this.#spawn(lane, links[lane] as ThreadLink[]));
    });
    this.#lanes = await Promise.all(this.#threads.map(({ listening }) => listening.promise));
    beforeServing();
    const partitions: number[] = [];
    lanes.forEach((lane, index) => {
      for (const partition of lane.partitions) partitions[partition] = index;
    });
    const addresses = this.#lanes.map(({ host, port }) => ({ host, port }));
    const webSocketLanes = this.#lanes.flatMap(({ webSocket }) => webSocket ?? []);
    this.#tellAll({ kind: 'serve', map: { ...map, lanes: addresses, webSocketLanes, partitions } });
    this.#state = 'serving';
  }

  #tellAll(message: ToLane): void {
    for (const { worker } of this.#threads) worker.postMessage(message);
  }

  #spawn(lane: number, links: readonly ThreadLink[]): LaneThread {
    const {
      create,
      configuration,
      log,
      host,
      port,
      webSocket,
      connections,
      checkpointTailBytes,
      retention,
      hotPerSecond,
      quotaPerSecond,
      lanes,
    } = this.#options;
    const { path, partitions } = lanes[lane] as SupervisorOptions['lanes'][number];
    const workerData: LaneOptions = {
      lane,
      path,
      create,
      partitions,
      configuration,
      log,
      host,
      port: portOf(lane, port),
      webSocket: webSocket && { ...webSocket, port: portOf(lane, webSocket.port) },
      connections,
      checkpointTailBytes,
      retention,
      hotPerSecond,
      quotaPerSecond,
      quota: this.#quota,
      poison: this.#poison,
      appends: this.#appends,
      links,
    };
    const transferList = links.map(({ bell }) => bell);
    const worker = new Worker(new URL('./lane-thread.js', import.meta.url), {
      workerData,
      transferList,
      name: `lane ${lane}`,
    });
    const thread: LaneThread = {
      worker,
      listening: new Deferred(),
      drained: new Deferred(),
      exited: new Deferred(),
      isDrained: false,
    };
    worker.on('message', (message: FromLane) => this.#hear(thread, message));
    worker.on('error', (cause) =>
      this.#fail(new TallystickError('INTERNAL', `Lane ${lane} broke: ${cause}.`, { cause })),
    );
    worker.on('exit', () => {
      thread.exited.resolve();
      if (!thread.isDrained) this.#fail(new TallystickError('INTERNAL', `Lane ${lane} ended by itself.`));
    });
    return thread;
  }

  #hear(thread: LaneThread, message: FromLane): void {
    if (message.kind === 'listening') thread.listening.resolve(message);
    else if (message.kind === 'hot') this.#options.onHot(message.hot);
    else if (message.kind === 'lookFailed')
      this.#options.onLookFailed(new TallystickError(message.code, message.detail));
    else if (message.kind === 'failed') this.#fail(new TallystickError(message.code, message.detail));
    else {
      thread.isDrained = true;
      thread.drained.resolve();
    }
  }

  #fail(error: TallystickError): void {
    // Before anything else, so that no other lane acknowledges from here on.
    Atomics.store(new Int32Array(this.#poison), 0, 1);
    if (this.#state === 'failed') return;
    const isStarted = this.#state !== 'starting';
    this.#state = 'failed';
    this.#guard.close();
    for (const { listening, drained } of this.#threads) {
      listening.reject(error);
      drained.reject(error);
    }
    if (isStarted) this.#options.onFailed(error);
    else this.#tellAll({ kind: 'drain' }); // those that came up go down again, in order
  }
}

/** The port of a lane, from that of the first. */
const portOf = (lane: number, first: number): number => (first === 0 ? 0 : first + lane);

/** For each lane its ways to the others: the rings of each pair, and a channel whose messages say only that one rang. */
function threadLinks(lanes: number): ThreadLink[][] {
  const rings = createRings(lanes);
  const links: ThreadLink[][] = rings.map(() => []);
  for (let first = 0; first < lanes; first++) {
    for (let second = first + 1; second < lanes; second++) {
      const { port1, port2 } = new MessageChannel();
      const [out, back] = [rings[first]?.[second] as Rings, rings[second]?.[first] as Rings];
      links[first]?.push({ lane: second, out, in: back, bell: port1 });
      links[second]?.push({ lane: first, out: back, in: out, bell: port2 });
    }
  }
  return links;
}
