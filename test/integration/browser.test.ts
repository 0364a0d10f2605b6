import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';
import { MessageChannel } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import type * as browserClient from '../../src/client/browser.js';
import { TIMEOUT_MILLISECONDS } from './clients.js';
import { type ServerProcess, serverOfTest, sharedServer } from './server-process.js';

/** The client for browsers, as it is built. */

const MOST_BYTES = 38_000;
const DIST = new URL('../../dist/', import.meta.url);

describe('the bundle', () => {
  const bundle = readFileSync(new URL('browser/tallystick.js', DIST), 'utf8');

  test(`has at most ${MOST_BYTES} bytes as it is sent`, () => {
    expect(gzipSync(bundle, { level: 9 }).length).toBeLessThanOrEqual(MOST_BYTES);
  });

  test('is one module that needs no other, and nothing that only Node has', () => {
    expect(bundle).not.toMatch(/\bimport\b|\brequire\b|node:/);
    expect(bundle).not.toMatch(/\b(Buffer|process|setImmediate|global|__dirname)\b/);
    // pages may forbid both
    expect(bundle).not.toMatch(/\beval\b|\bFunction\(/);
    expect(bundle).toMatch(/export\{.*as connect\b.*\}/);
  });
});

/** The client in a realm that has what it uses of a browser, and nothing else. */
async function inBrowser(): Promise<typeof browserClient> {
  const bundled = await rolldown({ input: new URL('client/browser.js', DIST).pathname, platform: 'browser' });
  const { output } = await bundled.generate({ format: 'iife', name: 'tallystick' });
  // One that nobody closes keeps a process of Node, and no page
  class Channel extends MessageChannel {
    constructor() {
      super();
      onTestFinished(() => this.port1.close());
    }
  }
  // Whom nobody listens to throws errors in ws, and is silent in browsers
  class BrowserWebSocket extends WebSocket {
    constructor(url: string) {
      super(url);
      this.on('error', () => {});
    }
  }
  const { setTimeout, clearTimeout, queueMicrotask, performance, crypto, TextEncoder, TextDecoder } = globalThis;
  const browser = { setTimeout, clearTimeout, queueMicrotask, performance, crypto, TextEncoder, TextDecoder };
  const context = createContext({ ...browser, WebSocket: BrowserWebSocket, MessageChannel: Channel });
  return runInContext(`${output[0].code}; tallystick`, context) as typeof browserClient;
}

const server = sharedServer({ lanes: 2, partitions: 4, webSocket: true });
const urlOf = ({ wsPort }: ServerProcess) => `ws://127.0.0.1:${wsPort}`;

test.each([true, false])('a page counts, reads and lists, with direct: %s', async (direct) => {
  const { connect } = await inBrowser();
  const client = await connect(urlOf(server()), { direct, timeout: TIMEOUT_MILLISECONDS });
  const names = Array.from({ length: 20 }, (_, i) => `page-${direct}-${i}`);
  expect(await Promise.all(names.map((name) => client.increment(name, 2)))).toEqual(names.map(() => 2n));
  const results = await client.batch(names.map((name) => ({ name, delta: 1 })));
  expect(results.map(({ value }) => value)).toEqual(names.map(() => 3n));
  for (const name of names) client.counter(name).add(10);
  await client.flush();
  expect(await client.get(names[0] as string)).toBe(13n);
  const listed: string[] = [];
  for await (const { name } of client.list(`page-${direct}`)) listed.push(name);
  expect(listed.sort()).toEqual([...names].sort());
  expect((await client.stats()).map(({ lane }) => lane)).toEqual([0, 1]);
  await client.close();
});

test('a page counts once what was in flight when the server died', async () => {
  const own = await serverOfTest({ lanes: 2, webSocket: true });
  const { connect } = await inBrowser();
  const client = await connect(urlOf(own), { timeout: TIMEOUT_MILLISECONDS });
  const calls = Array.from({ length: 200 }, (_, i) => client.increment(`c${i % 4}`));
  await calls[0];
  await own.crash();
  await Promise.all(calls);
  const values = await Promise.all(['c0', 'c1', 'c2', 'c3'].map((name) => client.get(name)));
  expect(values).toEqual([50n, 50n, 50n, 50n]);
  await client.close();
});

test('a page is told what it cannot connect to', async () => {
  const { connect } = await inBrowser();
  for (const url of ['tallystick://127.0.0.1:1', '127.0.0.1:1', 'http://127.0.0.1:1']) {
    await expect(connect([urlOf(server()), url])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  }
});
