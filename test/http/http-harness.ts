import { writeFileSync } from 'node:fs';
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type Client, connect } from '../../src/client/index.js';
import { type Clock, systemClock } from '../../src/clock.js';
import { TallystickError } from '../../src/errors.js';
import { Admission, type AdmissionLimits, DEFAULT_ADMISSION } from '../../src/http/admission.js';
import { Backend } from '../../src/http/backend.js';
import { Figures } from '../../src/http/figures.js';
import { IdempotencyKeys } from '../../src/http/idempotency.js';
import { type HttpListener, type HttpListenOptions, listenHttp } from '../../src/http/listener.js';
import type { Route } from '../../src/http/route.js';
import { routes } from '../../src/http/routes.js';
import { Service } from '../../src/http/service.js';
import type { Streams } from '../../src/http/streams.js';
import { ServerProcess, temporaryDirectory } from '../integration/server-process.js';

/** The room of HTTP within the test, before the lanes of a real server. */

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: each test says what it expects
  readonly json: any;
}

export interface Asking {
  readonly headers?: Record<string, string>;
  /** Sent as JSON, a string or bytes as they are. */
  readonly body?: unknown;
}

/** Sends requests to a port. */
export class HttpClient {
  readonly port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor(port: number) {
    this.port = port;
  }

  ask(method: string, path: string, { headers = {}, body }: Asking = {}): Promise<Answer> {
    const bytes = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const all: Record<string, string> = {
      ...(bytes !== undefined && { 'Content-Type': 'application/json' }),
      ...headers,
    };
    // Of a GET or DELETE, Node itself would not say that there is a body
    if (bytes !== undefined && !('Transfer-Encoding' in headers))
      all['Content-Length'] = String(Buffer.byteLength(bytes as string));
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: this.port, method, path, headers: all, agent: this.#agent };
      const sent = httpRequest(options, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          text += chunk;
          // A stream goes on for as long as it is read
          if (response.headers['content-type'] !== 'text/event-stream') return;
          sent.off('error', reject);
          sent.on('error', () => {});
          sent.destroy();
          resolve({ status: response.statusCode as number, headers: response.headers, text, json: undefined });
        });
        response.on('error', reject);
        response.on('end', () => {
          const isJson = /json/.test(response.headers['content-type'] ?? '') && text !== '';
          resolve({
            status: response.statusCode as number,
            headers: response.headers,
            text,
            json: isJson ? JSON.parse(text) : undefined,
          });
        });
      });
      sent.on('error', reject);
      sent.end(bytes);
    });
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask('GET', path, { headers });
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.ask('POST', path, { body, headers });
  }

  close(): void {
    this.#agent.destroy();
  }
}

export const CLASSES = [
  { pattern: 'views:*', windows: '1d', history: true, lateness: 'any', once: '24h' },
  { pattern: 'votes:*', once: '1h', onceItems: 2 },
  { pattern: 'visitors:*', uniques: 64, uniquesWindows: '7d' },
  { pattern: 'calls:*', windows: '1h', seconds: true, gross: true },
];

export interface HttpOfTests {
  readonly server: ServerProcess;
  readonly http: HttpClient;
  readonly service: Service;
  readonly listener: HttpListener;
}

export interface HarnessOptions {
  readonly flags?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
  readonly lanes?: number;
  readonly admission?: Partial<AdmissionLimits>;
  readonly hosts?: readonly string[];
  readonly exported?: readonly string[];
  readonly listen?: Partial<HttpListenOptions>;
  readonly routes?: readonly Route[];
  readonly streams?: Streams;
  /** Of the service alone. */
  readonly clock?: Clock;
  readonly timeout?: number;
}

/** A short timeout, which is for calls that shall not be answered in time, is that of connecting too: repeated until it is enough. */
async function connecting(server: ServerProcess, timeout = 240_000): Promise<Client> {
  for (;;) {
    try {
      return await connect(server.url, { timeout, resend: false });
    } catch (error) {
      if (!(error instanceof TallystickError) || error.code !== 'TIMEOUT') throw error;
    }
  }
}

/** A service with a client of its own. Closing it is the caller's. */
export async function openHttp(server: ServerProcess, options: HarnessOptions = {}): Promise<HttpOfTests> {
  const backend = await Backend.open(() => connecting(server, options.timeout), systemClock);
  const service = new Service({
    backend,
    routes: options.routes ?? routes,
    keys: new IdempotencyKeys(systemClock, 600_000),
    hosts: options.hosts ?? [],
    clock: options.clock ?? systemClock,
    figures: new Figures(options.exported),
    admission: new Admission({ ...DEFAULT_ADMISSION, ...options.admission }),
    ...(options.streams && { streams: options.streams }),
  });
  const place = { host: '127.0.0.1', port: 0, maxConnections: 1_000, clock: systemClock, ...options.listen };
  const listener = await listenHttp(service, place);
  const http = new HttpClient(listener.port);
  const close = async (): Promise<void> => {
    http.close();
    await listener.close();
    await backend.close().catch(() => {});
  };
  return { server, http, service, listener: { ...listener, close } };
}

/** For all tests of a file. Call the result within a test. */
export function sharedHttp(options: HarnessOptions = {}): () => HttpOfTests {
  let opened: HttpOfTests | undefined;
  beforeAll(async () => {
    const file = join(temporaryDirectory(), 'tallystick.json');
    writeFileSync(file, JSON.stringify({ classes: CLASSES }));
    const flags = ['--config', file, ...(options.flags ?? [])];
    const server = await ServerProcess.start({ lanes: 2, ...options, flags });
    opened = await openHttp(server, options);
  });
  afterAll(async () => {
    await opened?.listener.close();
    await opened?.server.dispose();
  });
  return () => opened as HttpOfTests;
}
