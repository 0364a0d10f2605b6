import { once } from 'node:events';
import { join } from 'node:path';
import { startServer } from 'tallystick/server';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { freePorts } from '../../load/ports.mjs';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { decodeHelloAnswer, encodeHelloRequest } from '../../src/protocol/control.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { LANE, Opcode } from '../../src/protocol/opcode.js';
import { framesOf } from '../transport/lane-double.js';
import { RawClient } from './raw-client.js';
import { directoryOfTest, refusedStart, serverOfTest, sharedServer } from './server-process.js';

/** The ports of WebSocket of a server. */

const LANES = 2;
const server = sharedServer({ lanes: LANES, webSocket: true });

async function openWebSocket(port: number): Promise<WebSocket> {
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}`);
  onTestFinished(() => webSocket.terminate());
  await once(webSocket, 'open');
  return webSocket;
}

test('the ready line and the log say where WebSocket is spoken', async () => {
  const { run, port, wsPort } = server();
  expect(await run.ready).toBe(`ready tcp=127.0.0.1:${port} http=- ws=127.0.0.1:${wsPort}`);
  const lanes = run.stderr.split('\n').filter((line) => line.includes('lane serves'));
  expect(lanes.map((line) => JSON.parse(line))).toMatchObject([
    { port, wsPort },
    { port: port + 1, wsPort: wsPort + 1 },
  ]);
});

test('HELLO answers with the ports of the kind by which it came', async () => {
  const { port, wsPort, url } = server();
  const places = (first: number) => Array.from({ length: LANES }, (_, i) => ({ host: '127.0.0.1', port: first + i }));
  expect((await RawClient.connect(url)).hello?.lanes).toEqual(places(port));
  for (const lane of [0, 1]) {
    const webSocket = await openWebSocket(wsPort + lane);
    const body = new ByteWriter();
    encodeHelloRequest(body, { version: 1, client: 'test' });
    const frame = encodeFrame(Opcode.HELLO, 0, LANE, 1, body.view());
    webSocket.send(frame.subarray(0, 7));
    webSocket.send(frame.subarray(7));
    const [message] = await once(webSocket, 'message');
    const answer = decodeHelloAnswer(framesOf(message)[0]?.body as Uint8Array);
    expect(answer).toMatchObject({ lane, lanes: places(wsPort) });
  }
});

test('a server that drains closes connections of WebSocket in order', async () => {
  const own = await serverOfTest({ webSocket: true });
  const webSocket = await openWebSocket(own.wsPort);
  const closed = once(webSocket, 'close');
  own.run.child.kill('SIGTERM');
  expect((await closed)[0]).toBe(1000);
  expect(await own.run.exited).toEqual({ code: 0, signal: null });
});

test('a port for WebSocket that is in use is refused by its key, and nothing goes on running', async () => {
  const port = await freePorts(1);
  const flags = ['--data-dir', join(directoryOfTest(), 'data'), '--port', String(port), '--lanes', '1'];
  const { exit, stderr } = await refusedStart([...flags, '--ws-port', String(port)]);
  expect(stderr).toContain(`CONFIG_INVALID: wsPort: 127.0.0.1:${port} is in use.`);
  expect(exit).toEqual({ code: 2, signal: null });
});

test('a server in this process tells where it speaks WebSocket, if it does', async () => {
  const options = { port: 0, lanes: 2, partitions: 2 };
  const first = await startServer({ ...options, dataDir: join(directoryOfTest(), 'data'), wsPort: 0 });
  onTestFinished(() => first.close());
  const [place] = first.lanes;
  expect(first.wsUrl).toBe(`ws://127.0.0.1:${place?.webSocket?.port}`);
  expect(new Set(first.lanes.flatMap(({ port, webSocket }) => [port, webSocket?.port])).size).toBe(4);
  const second = await startServer({ ...options, dataDir: join(directoryOfTest(), 'data') });
  onTestFinished(() => second.close());
  expect([second.wsUrl, second.lanes[0]?.webSocket]).toEqual([undefined, undefined]);
});
