/**
 * Counts messages of a log that delivers at least once, while consumers and the server of counters are killed, and compares with what it should be.
 *
 *   node examples/redelivery/redelivery.mjs [--messages 4000] [--seed 1] [--without-ids] [--json]
 *
 * Exits with 1 where a count is wrong, which is what --without-ids is for.
 */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect } from 'tallystick';
import { Topic } from './topic.mjs';

const PROGRAM = fileURLToPath(new URL('../../bin/tallystick.cjs', import.meta.url));
const CONSUMER = fileURLToPath(new URL('./consumer.mjs', import.meta.url));
const COUNTERS = ['orders', 'orders:paid', 'stock:bread', 'stock:rolls', 'cents'];
/** Messages that a consumer has in hand. */
const IN_HAND = 64;
/** So many parts of the messages end with a consumer that is killed; two of them with the server too. */
const PARTS = 6;
const PARTS_WITH_SERVER = new Set([2, 4]);

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '4000' },
    seed: { type: 'string', default: '1' },
    'without-ids': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const count = Number(values.messages);
const random = randomOf(Number(values.seed));
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

const messages = Array.from({ length: count }, (_, i) => ({
  id: `order-${i}`,
  counter: COUNTERS[Math.floor(random() * COUNTERS.length)],
  amount: 1 + Math.floor(random() * 99),
}));
const expected = new Map(COUNTERS.map((name) => [name, 0]));
for (const { counter, amount } of messages) expected.set(counter, expected.get(counter) + amount);

const dataDir = mkdtempSync(join(tmpdir(), 'tallystick-redelivery-'));
const port = await freePort();
const url = `tallystick://127.0.0.1:${port}`;
const topic = new Topic(messages, random);
const killed = { consumers: 0, servers: 0 };
let server = await startServer();
for (let part = 1; !topic.isConsumed; part++) {
  // The last one goes on to the end
  const most = part < PARTS ? Math.floor(count / PARTS) : Number.POSITIVE_INFINITY;
  const killsServer = PARTS_WITH_SERVER.has(part);
  await consume(most, killsServer);
  if (!killsServer || topic.isConsumed) continue;
  await ended(server);
  server = await startServer();
}
const counted = await readCounters();
await ended(server, 'SIGTERM');
rmSync(dataDir, { recursive: true });
report();

/** One life of a consumer: killed when it has done so many messages, in the middle of others. */
async function consume(most, killsServer) {
  const consumer = fork(CONSUMER, [url, ...(values['without-ids'] ? ['--without-ids'] : [])]);
  children.add(consumer);
  const exited = once(consumer, 'exit');
  const deliveries = topic.deliver();
  let done = 0;
  const handOut = () => {
    const { value } = deliveries.next();
    // Where it was killed meanwhile the message is lost on the way, and comes again
    if (value && consumer.connected) consumer.send(value, () => {});
  };
  consumer.on('message', (message) => {
    if (message === 'ready') for (let i = 0; i < IN_HAND; i++) handOut();
    if (message === 'ready') return;
    topic.done(message.offset);
    handOut();
    if (++done === most && killsServer) {
      server.kill('SIGKILL');
      killed.servers++;
    }
    if (done === most) killed.consumers++;
    if (done === most || topic.isConsumed) consumer.kill('SIGKILL');
  });
  await exited;
  children.delete(consumer);
}

async function startServer() {
  const flags = ['--data-dir', dataDir, '--port', String(port), '--lanes', '1', '--log-level', 'warn'];
  const child = spawn(process.execPath, [PROGRAM, 'serve', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  await once(child.stdout, 'data'); // the line that says that it serves
  return child;
}

async function ended(child, signal = 'SIGKILL') {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
  children.delete(child);
}

async function readCounters() {
  const client = await connect(url, { producer: false, values: 'number' });
  const readings = await client.read(COUNTERS);
  await client.close();
  return new Map(readings.map(({ name, value }) => [name, value]));
}

function report() {
  const wrong = COUNTERS.filter((name) => counted.get(name) !== expected.get(name));
  const told = {
    messages: count,
    deliveries: topic.deliveries,
    killed,
    counters: COUNTERS.map((name) => ({ name, counted: counted.get(name), expected: expected.get(name) })),
    exact: wrong.length === 0,
  };
  if (values.json) console.log(JSON.stringify(told));
  else {
    console.log(
      `${count} messages were delivered ${told.deliveries} times; ${killed.consumers} consumers and ${killed.servers} servers were killed.`,
    );
    for (const { name, counted: found, expected: right } of told.counters)
      console.log(
        `  ${name.padEnd(12)} ${String(found).padStart(8)}  ${found === right ? 'exact' : `wrong: ${right}`}`,
      );
  }
  process.exitCode = told.exact ? 0 : 1;
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port: free } = probe.address();
  probe.close();
  return free;
}

/** Mulberry32: numbers from 0 up to 1. */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}
