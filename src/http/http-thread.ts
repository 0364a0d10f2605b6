import { parentPort, workerData } from 'node:worker_threads';
import { connectIn } from '../client/connect.js';
import { nodeEnvironment } from '../client/environment.js';
import { systemClock } from '../clock.js';
import { asTallystickError, TallystickError } from '../errors.js';
import { Backend } from './backend.js';
import { Figures } from './figures.js';
import { IdempotencyKeys } from './idempotency.js';
import { listenHttp } from './listener.js';
import type { FromHttp, HttpOptions, ToHttp } from './messages.js';
import { routes } from './routes.js';
import { Service } from './service.js';

/**
 * The thread of HTTP: a client of the lanes like any other, over the loopback, so that it shares nothing with them and its
 * requests become batches by themselves.
 *
 *   connecting -> listening -> draining -> drained
 */

const options = workerData as HttpOptions;

/** For the lanes to answer a request. It must end within the time that a shutdown takes. */
const DEADLINE_MILLISECONDS = 5_000;
/** What its client is asked was gathered in a turn (gatherer.ts): it is not to wait for the end of another one. */
const ENVIRONMENT = {
  ...nodeEnvironment,
  clock: { ...systemClock, endOfTurn: (callback: () => void) => process.nextTick(callback) },
};

function tell(message: FromHttp): void {
  parentPort?.postMessage(message);
}

function fail(error: unknown): void {
  const known = asTallystickError(error);
  tell({ kind: 'failed', code: known.code, detail: known.detail });
}

async function run(): Promise<void> {
  const { url, host, port, hosts, metricsNames, connections, operationIdMilliseconds } = options;
  const backend = await Backend.open(
    () => connectIn(ENVIRONMENT, url, { timeout: DEADLINE_MILLISECONDS, resend: false }),
    systemClock,
  );
  const keys = new IdempotencyKeys(systemClock, operationIdMilliseconds);
  const figures = new Figures(metricsNames);
  const service = new Service({ backend, routes, keys, hosts, figures, clock: systemClock });
  const listener = await listenHttp(service, { host, port, maxConnections: connections, clock: systemClock }).catch(
    async (cause: NodeJS.ErrnoException) => {
      await backend.close();
      const isInUse = cause.code === 'EADDRINUSE';
      const detail = isInUse ? `httpPort: ${host}:${port} is in use.` : `httpPort: ${cause.message}.`;
      throw new TallystickError('CONFIG_INVALID', detail, { cause });
    },
  );
  parentPort?.on('message', (_: ToHttp) => {
    drain().catch(fail);
  });
  tell({ kind: 'listening', host: listener.host, port: listener.port });

  async function drain(): Promise<void> {
    await listener.close();
    await backend.close();
    tell({ kind: 'drained' });
    parentPort?.close();
  }
}

run().catch(fail);
