import { onTestFinished } from 'vitest';
import { type Client, type ConnectOptions, connect } from '../../src/client/index.js';

/** Long enough for a server that is started anew on a busy machine; no test waits so long where all is well. */
export const TIMEOUT_MILLISECONDS = 240_000;

/** A client of the SDK that disconnects with the test that runs. */
export async function clientOfTest(server: { readonly url: string }, options: ConnectOptions = {}): Promise<Client> {
  const client = await connect(server.url, { timeout: TIMEOUT_MILLISECONDS, ...options });
  // What it could not flush is the test's business, not that of taking it away.
  onTestFinished(() => client.close({ timeout: 1 }).catch(() => {}));
  return client;
}
