import { type Config, type ConfigInput, defaultShape, loadConfig } from './config.js';
import { DataDirectory } from './directory.js';
import type { TallystickError } from './errors.js';
import { HttpServer } from './http/http-server.js';
import type { HotName } from './lane/hot-names.js';
import type { LaneStatus, Place } from './lane/messages.js';
import { Supervisor, type SupervisorState } from './lane/supervisor.js';
import { MAXIMUM_PAGES, PAGE_BYTES } from './partition/partition.js';
import type { HelloAnswer } from './protocol/control.js';
import { DEFAULT_LIMITS } from './protocol/opcode.js';
import { VERSION } from './version.js';

export { VERSION };

/**
 * A server in this process: binds configuration, data directory, log check and lanes. `tallystick serve` is this and
 * signals.
 *
 * Set UV_THREADPOOL_SIZE to three times the number of lanes plus 4 before Node starts: flushes of logs, checkpoints and histories take
 * threads of the pool.
 */
export interface Server {
  readonly state: SupervisorState;
  /** `tallystick://host:port`: of the first lane; the SDK finds the others from there. */
  readonly url: string;
  /** `ws://host:port`: the same for WebSocket; undefined without `wsPort`. */
  readonly wsUrl: string | undefined;
  /** `http://host:port`; undefined without `httpPort`. */
  readonly httpUrl: string | undefined;
  readonly lanes: readonly LaneStatus[];
  /** Resolves if storage or a thread fails: nothing is acknowledged any more, and the process should exit. */
  readonly failed: Promise<TallystickError>;
  /** Flushes and answers what was applied, then closes. Rejects if that fails. */
  close(): Promise<void>;
}

export interface Warnings {
  /** Every ten seconds: of a counter that takes `hotPerSecond` operations a second or more. */
  readonly onHot: (hot: HotName) => void;
  /** Who was to go on from a position that only the log knows begins anew instead. */
  readonly onLookFailed: (error: TallystickError) => void;
}

/**
 * Starts a server and resolves when it serves.
 *
 * @param options any keys of the configuration (docs in README.md); missing ones have their defaults
 * @param warnings what is called where something is worth a look and the server goes on
 * @throws TallystickError CONFIG_INVALID, DIRECTORY_IN_USE, DIRECTORY_INVALID, LOG_CORRUPT
 */
export async function startServer(
  options: ConfigInput | Config = {},
  warnings: Partial<Warnings> = {},
): Promise<Server> {
  const config = loadConfig(options);
  const directory = DataDirectory.open(config.dataDir, config, defaultShape());
  try {
    return await serve(config, directory, { onHot: () => {}, onLookFailed: () => {}, ...warnings });
  } catch (error) {
    directory.close();
    throw error;
  }
}

async function serve(config: Config, directory: DataDirectory, warnings: Warnings): Promise<Server> {
  const { manifest } = directory;
  const create = manifest.state === 'creating';
  const { lanes } = directory;
  if (create) directory.discardUnfinished();

  let tellFailed: (error: TallystickError) => void = () => {};
  const failed = new Promise<TallystickError>((resolve) => {
    tellFailed = resolve;
  });
  const supervisor = await Supervisor.start(
    {
      lanes,
      create,
      configuration: configurationOf(config, directory),
      log: {
        kind: config.log,
        segmentBytes: config.logSegmentBytes,
        retention: {
          bytes: Math.floor(config.logRetentionBytes / lanes.length),
          milliseconds: config.logRetentionSeconds * 1000,
        },
      },
      host: config.listen,
      port: config.port,
      webSocket: config.wsPort === undefined ? undefined : { port: config.wsPort, origins: config.wsOrigins },
      connections: config.connections,
      checkpointTailBytes: config.checkpointTailBytes,
      retention: {
        minuteHours: config.historyMinuteHours,
        hourDays: config.historyHourDays,
        dayDays: config.historyDayDays ?? Number.POSITIVE_INFINITY,
      },
      hotPerSecond: config.hotPerSecond,
      quotaPerSecond: config.quotaPerSecond,
      ...warnings,
      map: { server: `tallystick/${VERSION}`, epoch: manifest.epoch, limits: DEFAULT_LIMITS, ...rulesOf(config) },
      onFailed: tellFailed,
    },
    () => directory.markReady(),
  );
  const first = supervisor.lanes[0] as LaneStatus;
  const http = await startHttp(config, first, tellFailed).catch(async (error: unknown) => {
    await supervisor.drain();
    throw error;
  });
  return {
    get state() {
      return supervisor.state;
    },
    url: `tallystick://${authority(first)}`,
    wsUrl: first.webSocket && `ws://${authority(first.webSocket)}`,
    httpUrl: http && `http://${authority(http.place)}`,
    lanes: supervisor.lanes,
    failed,
    close: async () => {
      try {
        // Its requests are answered by the lanes, which end in order though it may not
        await http?.drain();
      } finally {
        await supervisor.drain();
        directory.close();
      }
    },
  };
}

/** In a thread of its own, which reaches the lanes as any client does; undefined where it is not asked for. */
async function startHttp(
  config: Config,
  lane: Place,
  onFailed: (error: TallystickError) => void,
): Promise<HttpServer | undefined> {
  if (config.httpPort === undefined) return undefined;
  const options = {
    url: `tallystick://${authority({ ...lane, host: REACHABLE[lane.host] ?? lane.host })}`,
    host: config.listen,
    port: config.httpPort,
    hosts: config.httpHosts,
    metricsNames: config.metricsNames,
    connections: config.connections,
    operationIdMilliseconds: config.operationIdSeconds * 1000,
  };
  return HttpServer.start(options, onFailed);
}

/** Where this machine reaches what listens on all addresses. */
const REACHABLE: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

const authority = ({ host, port }: Place): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** What clients are told of the classes: where any is not exact, and where any keeps gross sums. */
function rulesOf({ classes }: Config): Partial<Pick<HelloAnswer, 'accuracy' | 'gross'>> {
  const accuracy = classes.map(({ pattern, accuracy = 'exact' }) => ({ pattern, accuracy }));
  const gross = classes.map(({ pattern, gross = false }) => ({ pattern, gross }));
  return {
    ...(accuracy.some((rule) => rule.accuracy !== 'exact') ? { accuracy } : {}),
    ...(gross.some((rule) => rule.gross) ? { gross } : {}),
  };
}

function configurationOf(config: Config, directory: DataDirectory) {
  const partitions = directory.manifest.lanes.flat().length;
  return {
    partitions,
    secret: directory.secret,
    maximumPages: Math.min(MAXIMUM_PAGES, Math.floor(config.memory / partitions / PAGE_BYTES)),
    maximumProducers: config.producers,
    maximumOperationIds: config.operationIds,
    producerIdleMilliseconds: config.producerIdleSeconds * 1000,
    operationIdMilliseconds: config.operationIdSeconds * 1000,
    classes: config.classes,
    windowBytes: Math.floor(config.windowMemory / partitions),
  };
}
