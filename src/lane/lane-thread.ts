import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.js';
import { TallystickError } from '../errors.js';
import { GroupCommit } from '../log/group-commit.js';
import { createLaneStorage, type LaneStorage, openLaneStorage } from '../log/lane-storage.js';
import { KERNEL_VERSION, Partition } from '../partition/partition.js';
import type { StatsMap } from '../protocol/control.js';
import { Connection, noTraffic } from '../transport/connection.js';
import { listenTcp } from '../transport/tcp.js';
import { compileWasm } from '../wasm.js';
import type { LaneConnection } from './answers.js';
import { Session } from './greeting.js';
import { Lane } from './lane.js';
import type { FromLane, LaneOptions, ToLane } from './messages.js';
import { configure, recover } from './recovery.js';

/**
 * The thread of a lane: opens and replays its log, listens, serves, drains. When something breaks it says `failed` and
 * acknowledges nothing more; ending the process is the main thread's.
 *
 *   opening -> recovering -> listening -> serving -> draining -> drained
 */

const options = workerData as LaneOptions;
const clock = systemClock;

// The poisoned word. Written once, 0 to 1, by whichever thread sees storage fail, before it tells anyone; read by
// every lane before every acknowledgement. Atomics are sequentially consistent: what is acknowledged later sees it.
const poison = new Int32Array(options.poison);
const isPoisoned = (): boolean => Atomics.load(poison, 0) !== 0;

function tell(message: FromLane): void {
  parentPort?.postMessage(message);
}

function fail(error: unknown): void {
  Atomics.store(poison, 0, 1);
  const known =
    error instanceof TallystickError ? error : new TallystickError('INTERNAL', String(error), { cause: error });
  tell({ kind: 'failed', code: known.code, detail: known.detail });
}

async function run(): Promise<void> {
  const shape = { partitions: options.partitions, kernelVersion: KERNEL_VERSION };
  if (options.create) await createLaneStorage(options.path, shape);
  const storage = openLaneStorage(options.path, shape);

  const module = compileWasm('kernel');
  const partitions = new Map(options.partitions.map((number) => [number, new Partition(module)]));
  const started = clock.monotonicMilliseconds();
  const start = await recover(storage, partitions);
  const milliseconds = clock.monotonicMilliseconds() - started;
  const commit = new GroupCommit({ ...storage, clock, shape, start, isPoisoned, onFailed: fail });
  configure(partitions, commit, options.configuration, clock.wallMilliseconds());
  // A new directory is ready when its first group is on the device. Another one serves reads on a full disk too.
  if (options.create) await commit.drain();

  const traffic = noTraffic();
  const connections = new Set<LaneConnection>();
  let lane: Lane | undefined;
  const listener = await listenTcp({
    host: options.host,
    port: options.port,
    maxConnections: options.connections,
    accept: (transport) => {
      const connection = new Connection<Session>({
        session: new Session(),
        transport,
        clock,
        traffic,
        handler: {
          request: (from, frame) => {
            if (lane) lane.request(from, frame);
            else from.refuse(frame.requestId, frame.partition, 'OVERLOADED', { detail: 'The server is starting.' });
          },
          isFull: (from) => lane?.isFull(from) ?? false,
          closed: (from) => connections.delete(from),
        },
      });
      connections.add(connection);
      return connection;
    },
  }).catch((error: NodeJS.ErrnoException) => {
    throw unusableAddress(error);
  });
  tell({
    kind: 'listening',
    host: listener.host,
    port: listener.port,
    recovery: { entries: start.entries, bytes: start.bytes, milliseconds },
  });

  const describe = () => ({ connections: connections.size, ...traffic, ...storageStats(commit, storage) });
  async function drain(): Promise<void> {
    const closed = listener.close();
    await lane?.drain();
    for (const connection of connections) connection.close();
    await closed;
    await storage.log.close();
    storage.mark.close();
    tell({ kind: 'drained' });
    parentPort?.close();
  }

  parentPort?.on('message', (message: ToLane) => {
    if (message.kind === 'serve')
      lane = new Lane({ lane: options.lane, partitions, commit, clock, map: message.map, isPoisoned, describe });
    else drain().catch(fail);
  });
}

/** An address that can't be listened on is a matter of the configuration. */
function unusableAddress(cause: NodeJS.ErrnoException): TallystickError {
  const { host, port } = options;
  const detail = cause.code === 'EADDRINUSE' ? `port: ${host}:${port} is in use.` : `listen: ${cause.message}.`;
  return new TallystickError('CONFIG_INVALID', detail, { cause });
}

/** What STATS tells of the log. */
function storageStats(commit: GroupCommit, { log }: LaneStorage): StatsMap {
  const { latency, groupSizes, ...counts } = commit.stats();
  const { usedBytes, fileBytes } = log.stats();
  return {
    log: { ...counts, usedBytes, fileBytes },
    commitMicroseconds: percentiles(latency),
    groupBytes: percentiles(groupSizes),
  };
}

interface Percentiles {
  readonly totalCount: number;
  getValueAtPercentile(percentile: number): number;
}

function percentiles(histogram: Percentiles): Record<'p50' | 'p99' | 'p999' | 'max', number> {
  const at = (percentile: number) => (histogram.totalCount === 0 ? 0 : histogram.getValueAtPercentile(percentile));
  return { p50: at(50), p99: at(99), p999: at(99.9), max: at(100) };
}

run().catch(fail);
