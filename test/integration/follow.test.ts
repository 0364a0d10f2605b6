import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { Client, SubscribeOptions, Subscription, SubscriptionEvent } from '../../src/client/index.js';
import { clientOfTest } from './clients.js';
import { PROGRAM, type ServerProcess, serverOfTest } from './server-process.js';

/** Subscriptions over real sockets, and a server that is killed under them. */

const LANES = 2;
const NAMES = Array.from({ length: 12 }, (_, i) => `follow:${i}`);
const WAYS: readonly [string, (server: ServerProcess) => { readonly url: string }, { readonly direct: boolean }][] = [
  ['TCP', (server) => server, { direct: true }],
  ['TCP through one lane', (server) => server, { direct: false }],
  ['WebSocket', ({ wsPort }) => ({ url: `ws://127.0.0.1:${wsPort}` }), { direct: true }],
  ['WebSocket through one lane', ({ wsPort }) => ({ url: `ws://127.0.0.1:${wsPort + 1}` }), { direct: false }],
];

/** What a reader makes of what it is told. */
class Folded {
  readonly values = new Map<string, bigint>();
  changes = 0;
  resets = 0;

  readonly #subscription: Subscription<bigint>;
  readonly #client: Client;

  constructor(client: Client, options: SubscribeOptions) {
    this.#client = client;
    this.#subscription = client.subscribe(options);
  }

  /** Reads until all names have this value. */
  async until(wanted: bigint): Promise<void> {
    while (!NAMES.every((name) => this.values.get(name) === wanted)) {
      const { value } = await this.#subscription.next();
      if (value) this.take(value, this.#client);
    }
  }

  take(event: SubscriptionEvent<bigint>, client: Client): void {
    if (event.kind === 'reset') {
      this.resets++;
      for (const name of this.values.keys()) if (client.partitionOf(name) === event.partition) this.values.delete(name);
      return;
    }
    const { kind, name, value, delta } = event;
    if (kind === 'change') {
      this.changes++;
      expect([name, (this.values.get(name) ?? 0n) + delta]).toEqual([name, value]);
    }
    this.values.set(name, value);
  }
}

describe.each(WAYS)('A subscription over %s', (_, over, options) => {
  test('adds up to what was written, though the server was killed in between', async () => {
    const server = await serverOfTest({ lanes: LANES, partitions: 4, webSocket: true });
    const reader = await clientOfTest(over(server), { ...options, producer: false });
    const writer = await clientOfTest(server);
    const rounds = 3;
    const perName = 40;
    const wanted = BigInt(rounds * perName);
    const folds = [
      new Folded(reader, { names: NAMES, interval: 0 }),
      new Folded(reader, { prefix: 'follow:', interval: 10 }),
      new Folded(reader, { all: true, interval: 50 }),
    ];
    const read = Promise.all(folds.map((folded) => folded.until(wanted)));
    for (let round = 0; round < rounds; round++) {
      const calls = Array.from({ length: perName }, () => NAMES.map((name) => writer.increment(name))).flat();
      await calls[0];
      if (round < rounds - 1) await server.crash();
      await Promise.all(calls);
    }
    await read;
    // they are there again: what comes now comes as changes
    const before = folds.map(({ changes }) => changes);
    const last = Promise.all(folds.map((folded) => folded.until(wanted + 1n)));
    await Promise.all(NAMES.map((name) => writer.increment(name)));
    await last;
    for (const [i, { changes, values }] of folds.entries()) {
      expect(changes - (before[i] as number)).toBe(NAMES.length);
      expect([...values.keys()].sort()).toEqual([...NAMES].sort());
    }
  });
});

async function read(subscription: Subscription<bigint>, count: number): Promise<SubscriptionEvent<bigint>[]> {
  const events: SubscriptionEvent<bigint>[] = [];
  while (events.length < count) events.push((await subscription.next()).value as SubscriptionEvent<bigint>);
  return events;
}

test('a subscription goes on from the position of another one, before a restart and over it, and so does `tail`', async () => {
  const server = await serverOfTest({ lanes: LANES, partitions: 4 });
  const client = await clientOfTest(server);
  const increment = (delta: number) => Promise.all(NAMES.map((name) => client.increment(name, delta)));
  await increment(5);
  const first = client.subscribe({ names: NAMES, interval: 0 });
  await read(first, NAMES.length);
  const { position: from } = first;
  first.close();
  await increment(2);
  const told = (value: bigint, delta: bigint) => NAMES.map((name) => expect.objectContaining({ name, value, delta }));
  const follows = [{ names: NAMES }, { prefix: 'follow:' }, { all: true }] as const;
  const expectResumed = async (value: bigint, delta: bigint) => {
    for (const followed of follows) {
      const subscription = client.subscribe({ ...followed, interval: 0, from });
      const events = await read(subscription, NAMES.length);
      expect(events).toEqual(expect.arrayContaining(told(value, delta)));
      subscription.close();
    }
  };
  await expectResumed(7n, 2n);
  await server.kill('SIGTERM');
  await server.start();
  await expectResumed(7n, 2n);
  await increment(1);
  await server.crash();
  await expectResumed(8n, 3n);
  const flags = ['--server', server.url, '--prefix', 'follow:', '--from', from.toString(), '--limit', '12'];
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, 'tail', ...flags]);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.map(({ kind, value, delta }) => [kind, value, delta])).toEqual(NAMES.map(() => ['change', '8', '3']));
});
