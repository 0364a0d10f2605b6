import { mkdir } from 'node:fs/promises';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.js';
import { asTallystickError, TallystickError } from '../errors.js';
import { RollUpPool } from '../history/roll-up-pool.js';
import { createHistory, openHistory } from '../history/storage.js';
import { closeLaneStorage, createLaneStorage, historyPath, openLaneStorage } from '../log/lane-storage.js';
import { KERNEL_VERSION } from '../partition/partition.js';
import { listenTcp } from '../transport/tcp.js';
import type { Listener, Transport } from '../transport/transport.js';
import { compileWasm } from '../wasm.js';
import { appendsOf } from './append-watch.js';
import type { FromCheckpointer, ToCheckpointer } from './checkpoint-messages.js';
import type { CheckpointThreadOptions } from './checkpoint-thread.js';
import { collecting } from './collecting.js';
import { LaneHost } from './lane-host.js';
import type { FromLane, LaneOptions, ToLane } from './messages.js';
import { Quota } from './quota.js';
import type { FromReplayer, ReplayOrder } from './replay-messages.js';
import type { ReplayThreadOptions } from './replay-thread.js';

/**
 * The thread of a lane: opens and replays its log, listens, serves, drains. When something breaks it says `failed` and
 * acknowledges nothing more; ending the process is the main thread's.
 *
 *   opening -> recovering -> listening -> serving -> draining -> drained
 */

const options = workerData as LaneOptions;

// The poisoned word. Written once, 0 to 1, by whichever thread sees storage fail, before it tells anyone; read by
// every lane before every acknowledgement. Atomics are sequentially consistent: what is acknowledged later sees it.
const poison = new Int32Array(options.poison);
const isPoisoned = (): boolean => Atomics.load(poison, 0) !== 0;

function tell(message: FromLane): void {
  parentPort?.postMessage(message);
}

function fail(error: unknown): void {
  Atomics.store(poison, 0, 1);
  const known = asTallystickError(error);
  tell({ kind: 'failed', code: known.code, detail: known.detail });
}

/** Starts the thread of the checkpointer, which from then on lives as long as this one. */
function connectCheckpointer(hear: (message: FromCheckpointer) => void): (message: ToCheckpointer) => void {
  const { lane, path, partitions } = options;
  const workerData: CheckpointThreadOptions = { path, partitions };
  const name = `checkpoint ${lane}`;
  const worker = new Worker(new URL('./checkpoint-thread.js', import.meta.url), { workerData, name });
  let stopped = false;
  worker.on('message', (message: FromCheckpointer) => {
    stopped ||= message.kind === 'stopped';
    hear(message);
  });
  const broke = (cause: unknown) => fail(new TallystickError('INTERNAL', `The ${name} broke: ${cause}.`, { cause }));
  worker.on('error', broke);
  worker.on('exit', (code) => {
    if (!stopped) broke(`it ended with ${code}`);
  });
  return (message) => worker.postMessage(message);
}

/** Starts a thread for one look back, which is nobody's harm where it fails. */
function startReplayer(order: ReplayOrder, hear: (message: FromReplayer) => void): () => void {
  const { lane, path, partitions } = options;
  const workerData: ReplayThreadOptions = { path, partitions, order };
  const worker = new Worker(new URL('./replay-thread.js', import.meta.url), { workerData, name: `replay ${lane}` });
  const pass = (message: FromReplayer): void => {
    if (message.kind === 'failed') tell({ ...message, kind: 'lookFailed' });
    hear(message);
  };
  worker.on('message', pass);
  worker.on('error', (error: unknown) => pass({ kind: 'failed', code: 'INTERNAL', detail: String(error) }));
  worker.on('exit', () => pass({ kind: 'ended' }));
  return () => worker.postMessage('stop');
}

async function run(): Promise<void> {
  const { lane, partitions, path, create, configuration, quotaPerSecond } = options;
  const shape = { partitions, kernelVersion: KERNEL_VERSION };
  const { kind, segmentBytes, retention } = options.log;
  if (create) {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await createHistory(path);
    await createLaneStorage(path, shape, { kind });
  }
  const kept = { ...retention, clock: systemClock };
  const storage = await openLaneStorage(path, shape, { kind, segmentBytes, retention: kept });
  const history = openHistory(path);
  const rollUpPool = new RollUpPool(historyPath(path));
  const kernel = compileWasm('kernel');
  const host = await LaneHost.open({
    lane,
    partitions,
    configuration,
    storage,
    history,
    planner: rollUpPool,
    retention: options.retention,
    kernel,
    clock: systemClock,
    collect: collecting(),
    connectCheckpointer,
    startReplayer,
    checkpointTailBytes: options.checkpointTailBytes,
    hotPerSecond: options.hotPerSecond,
    quota: quotaPerSecond > 0 ? new Quota(options.quota, quotaPerSecond, systemClock) : undefined,
    onHot: (hot) => tell({ kind: 'hot', hot }),
    links: options.links.map(({ bell, ...link }) => ({ ...link, wake: () => bell.postMessage(null) })),
    watch: appendsOf(options.appends, lane),
    isPoisoned,
    onFailed: fail,
  });
  for (const { bell } of options.links) {
    bell.on('message', () => host.woken());
    // It must not keep a thread that failed to start; one that serves is kept by the port to the main thread
    bell.unref();
  }
  // A new directory is ready when its first group is on the device. Another one serves reads on a full disk too.
  if (create) await host.flushed();

  const { status, stop } = await listenFor(host);
  tell({ kind: 'listening', ...status, recovery: host.recovery });

  async function drain(): Promise<void> {
    await stop();
    await rollUpPool.close();
    await history.close();
    await closeLaneStorage(storage);
    tell({ kind: 'drained' });
    parentPort?.close();
  }

  parentPort?.on('message', (message: ToLane) => {
    if (message.kind === 'serve') host.serve(message.map);
    else drain().catch(fail);
  });
}

/** Opens the lane's ports; `stop` ends them and drains the host. */
async function listenFor(host: LaneHost) {
  const network = { host: options.host, maxConnections: options.connections };
  const { port, webSocket } = options;
  const listeners: Listener[] = [];
  const stop = async (): Promise<void> => {
    const closed = Promise.all(listeners.map((listener) => listener.close()));
    await host.drain();
    await closed;
  };
  try {
    const accept = (transport: Transport) => host.accept(transport);
    const tcp = await listenOn('port', port, listenTcp({ ...network, port, accept }));
    listeners.push(tcp);
    const status = { host: tcp.host, port: tcp.port };
    if (!webSocket) return { status, stop };
    const { listenWebSocket } = await import('../transport/websocket.js'); // it takes a megabyte a lane
    const acceptWeb = (transport: Transport) => host.accept(transport, 'webSocket');
    const web = { ...network, ...webSocket, clock: systemClock, accept: acceptWeb };
    const second = await listenOn('wsPort', webSocket.port, listenWebSocket(web));
    listeners.push(second);
    return { status: { ...status, webSocket: { host: second.host, port: second.port } }, stop };
  } catch (error) {
    // A port that listens would keep a thread that failed to start
    await stop();
    throw error;
  }
}

/** An address that can't be listened on is a matter of the configuration: of the key that names it. */
async function listenOn(key: string, port: number, listening: Promise<Listener>): Promise<Listener> {
  try {
    return await listening;
  } catch (error) {
    const cause = error as NodeJS.ErrnoException;
    const isInUse = cause.code === 'EADDRINUSE';
    const detail = isInUse ? `${key}: ${options.host}:${port} is in use.` : `listen: ${cause.message}.`;
    throw new TallystickError('CONFIG_INVALID', detail, { cause });
  }
}

run().catch(fail);
