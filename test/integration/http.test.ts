import { once } from 'node:events';
import { createServer } from 'node:net';
import { startServer } from 'tallystick/server';
import { describe, expect, onTestFinished, test } from 'vitest';
import { freePorts } from '../../load/ports.mjs';
import { HttpClient } from '../http/http-harness.js';
import { clientOfTest } from './clients.js';
import { patchedProgram } from './patched-program.js';
import { directoryOfTest, refusedStart, type ServerProcess, serverOfTest } from './server-process.js';

/** The thread of HTTP beside the lanes, as `tallystick serve` runs it. */

async function httpOf(server: ServerProcess): Promise<HttpClient> {
  const [, port] = / http=127\.0\.0\.1:(\d+)/.exec((await server.run.ready) ?? '') ?? [];
  return clientOf(Number(port));
}

function clientOf(port: number): HttpClient {
  const http = new HttpClient(port);
  onTestFinished(() => http.close());
  return http;
}

test('the ready line and the log say where HTTP is spoken', async () => {
  const httpPort = await freePorts(1);
  const server = await serverOfTest({ flags: ['--http-port', String(httpPort)], webSocket: true });
  expect(await server.run.ready).toBe(
    `ready tcp=127.0.0.1:${server.port} http=127.0.0.1:${httpPort} ws=127.0.0.1:${server.wsPort}`,
  );
  await server.run.logged(`"httpUrl":"http://127.0.0.1:${httpPort}"`);
});

test('what HTTP counts is what the SDK reads, also after a crash', async () => {
  const server = await serverOfTest({ lanes: 2, flags: ['--http-port', '0'] });
  const http = await httpOf(server);
  expect((await http.get('/readyz')).json).toEqual({ status: 'ok' });
  const steps = Array.from({ length: 200 }, (_, i) => http.post('/v1/increment', { name: `h:${i % 7}`, delta: i }));
  for (const { status } of await Promise.all(steps)) expect(status).toBe(200);
  await server.crash();
  const client = await clientOfTest(server);
  for (let k = 0; k < 7; k++) {
    const expected = Array.from({ length: 200 }, (_, i) => (i % 7 === k ? i : 0)).reduce((sum, i) => sum + i, 0);
    expect(await client.get(`h:${k}`)).toBe(BigInt(expected));
  }
});

test('a server that is told to stop answers what HTTP has let in, and exits with 0', async () => {
  const server = await serverOfTest({ flags: ['--http-port', '0'] });
  const http = await httpOf(server);
  await http.get('/livez');
  const asked = Array.from({ length: 50 }, (_, i) => http.post('/v1/increment', { name: 'last', id: `last-${i}` }));
  await Promise.race(asked);
  server.run.child.kill('SIGTERM');
  const answered = await Promise.allSettled(asked);
  expect(await server.run.exited).toEqual({ code: 0, signal: null });
  const counted = answered.filter((each) => each.status === 'fulfilled' && each.value.status === 200).length;
  await server.start();
  expect(await (await clientOfTest(server)).get('last')).toBe(BigInt(counted));
});

test('a port for HTTP that is in use is refused by its key, and nothing goes on running', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  onTestFinished(() => {
    other.close();
  });
  const { port } = other.address() as { port: number };
  const flags = ['--data-dir', directoryOfTest(), '--port', '0', '--lanes', '2', '--http-port', String(port)];
  const { exit, stderr } = await refusedStart(flags);
  expect(stderr).toContain(`CONFIG_INVALID: httpPort: 127.0.0.1:${port} is in use.`);
  expect(exit).toEqual({ code: 2, signal: null });
});

describe('a thread of HTTP that breaks', () => {
  const START = "kind: 'listening', host: listener.host, port: listener.port });";

  test('while it serves stops the server, with an error that says so', async () => {
    const program = patchedProgram(
      'http/http-thread.js',
      START,
      `${START} setTimeout(() => { throw new Error('broken'); });`,
    );
    const server = await serverOfTest({ flags: ['--http-port', '0'], program });
    expect((await server.run.exited).code).not.toBe(0);
    expect(server.stderr).toContain('INTERNAL: The thread of HTTP broke: Error: broken.');
  });

  test('while it ends does not keep the lanes from ending in order', async () => {
    const program = patchedProgram(
      'http/http-thread.js',
      'await backend.close();\n        tell(',
      "throw new Error('stuck'); tell(",
    );
    const server = await serverOfTest({ flags: ['--http-port', '0'], program });
    const http = await httpOf(server);
    expect((await http.post('/v1/increment', { name: 'a', ack: 'applied' })).status).toBe(200);
    const exit = await server.kill('SIGTERM');
    expect(exit).not.toEqual({ code: 0, signal: null });
    expect(server.stderr).toContain('stuck');
    const again = await serverOfTest({ dataDir: server.dataDir });
    expect(await (await clientOfTest(again)).get('a')).toBe(1n);
  });

  test('before it serves stops the start', async () => {
    const program = patchedProgram('http/http-thread.js', 'run().catch(fail);', 'process.exit(0);');
    await expect(serverOfTest({ flags: ['--http-port', '0'], program })).rejects.toThrow(
      'The thread of HTTP ended by itself',
    );
  });
});

test('an embedded server says where HTTP is, and ends it', async () => {
  const server = await startServer({ dataDir: directoryOfTest(), port: 0, lanes: 1, httpPort: 0 });
  const http = clientOf(Number(new URL(server.httpUrl as string).port));
  expect((await http.post('/v1/increment', { name: 'a' })).json.value).toBe('1');
  await server.close();
  await expect(http.get('/livez')).rejects.toThrow();
  const without = await startServer({ dataDir: directoryOfTest(), port: 0, lanes: 1 });
  expect(without.httpUrl).toBeUndefined();
  await without.close();
});
