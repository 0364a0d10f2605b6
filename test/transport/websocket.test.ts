import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { systemClock } from '../../src/clock.js';
import { listenWebSocket, type WebSocketListenOptions } from '../../src/transport/websocket.js';
import { ManualClock } from '../support/manual-clock.js';
import { type ClientEnd, ServerEnd, transportConformance } from './transport.conformance.js';

function connectWebSocket(port: number, options: ClientOptions = {}): ClientEnd & { readonly webSocket: WebSocket } {
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: false, ...options });
  const messages: Buffer[] = [];
  let socket: Socket | undefined;
  webSocket.on('upgrade', (response) => {
    socket = response.socket;
  });
  webSocket.on('message', (message) => messages.push(message as Buffer));
  const opened = new Promise<void>((resolve, reject) => {
    webSocket.once('open', resolve);
    webSocket.on('error', reject);
  });
  opened.catch(() => {}); // some tests want the end alone
  const closed = new Promise<void>((resolve) => webSocket.once('close', () => resolve()));
  return {
    webSocket,
    opened,
    closed,
    received: closed.then(() => Buffer.concat(messages)),
    next: () => new Promise((resolve) => webSocket.once('message', (message) => resolve(message as Buffer))),
    send: (bytes) => webSocket.send(bytes),
    pause: () => webSocket.pause(),
    resume: () => webSocket.resume(),
    end: () => webSocket.close(),
    reset: () => (socket ? socket.resetAndDestroy() : webSocket.terminate()),
  };
}

transportConformance({
  name: 'WebSocket',
  listen: (options) => listenWebSocket({ ...options, clock: systemClock, origins: [] }),
  connect: connectWebSocket,
});

/** A listener of the test that runs, and the server's ends of what connects. */
async function listening(options: Partial<WebSocketListenOptions> = {}) {
  const ends: ServerEnd[] = [];
  const accept = (transport: ConstructorParameters<typeof ServerEnd>[0]) => {
    const end = new ServerEnd(transport);
    ends.push(end);
    return end;
  };
  const network = { host: '127.0.0.1', port: 0, maxConnections: 100, accept };
  const listener = await listenWebSocket({ ...network, clock: systemClock, origins: [], ...options });
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= listener.close();
    return closing;
  };
  onTestFinished(async () => {
    for (const { transport } of ends) transport.destroy();
    await close();
  });
  const open = async (clientOptions?: ClientOptions): Promise<[ServerEnd, WebSocket]> => {
    const { opened, webSocket } = connectWebSocket(listener.port, clientOptions);
    await opened;
    return [ends.at(-1) as ServerEnd, webSocket];
  };
  return { port: listener.port, ends, open, close };
}

const UPGRADE = [
  'GET / HTTP/1.1',
  'Host: 127.0.0.1',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  '\r\n',
].join('\r\n');

/** A connection to the port that speaks for itself. */
function rawClient(port: number): Socket & { readonly text: string } {
  const socket = connect({ host: '127.0.0.1', port });
  onTestFinished(() => {
    socket.destroy();
  });
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  return Object.defineProperty(socket, 'text', { get: () => text }) as Socket & { readonly text: string };
}

async function upgraded(port: number): Promise<ReturnType<typeof rawClient>> {
  const socket = rawClient(port);
  socket.write(UPGRADE);
  while (!socket.text.includes('\r\n\r\n')) await once(socket, 'data');
  expect(socket.text).toMatch(/^HTTP\/1\.1 101 /);
  return socket;
}

/** A frame of RFC 6455 from a client, with fewer than 126 bytes. */
function wsFrame(opcode: number, isFinal: boolean, payload: Uint8Array): Buffer {
  const mask = [0x37, 0xfa, 0x21, 0x3d];
  const head = [(isFinal ? 0x80 : 0) | opcode, 0x80 | payload.length, ...mask];
  return Buffer.from([...head, ...[...payload].map((byte, i) => byte ^ (mask[i % 4] as number))]);
}

const CONTINUATION = 0;
const BINARY = 2;
const PING = 9;

/** What the server's close frame says, where one was sent. */
async function closeCode(webSocket: WebSocket): Promise<number> {
  const [code] = await once(webSocket, 'close');
  return code as number;
}

describe('A message', () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
  const fragmented = [
    wsFrame(BINARY, false, bytes.subarray(0, 1)),
    wsFrame(CONTINUATION, false, bytes.subarray(1, 1)),
    wsFrame(PING, true, Uint8Array.of(7)),
    wsFrame(CONTINUATION, false, bytes.subarray(1, 120)),
    wsFrame(CONTINUATION, true, bytes.subarray(120, 200)),
    wsFrame(BINARY, true, bytes.subarray(200, 200)),
    wsFrame(BINARY, true, bytes.subarray(200, 300)),
  ];

  test.each([
    ['in one piece', [Buffer.concat(fragmented)]],
    ['by frames', fragmented],
    ['byte by byte', [...Buffer.concat(fragmented)].map((byte) => Buffer.of(byte))],
  ])('that is masked and fragmented is its bytes: %s', async (_, pieces) => {
    const { port, ends } = await listening();
    const socket = await upgraded(port);
    socket.setNoDelay(true);
    for (const piece of pieces) {
      socket.write(piece);
      await new Promise(setImmediate);
    }
    await (ends[0] as ServerEnd).whenReceived(300);
    expect(ends[0]?.received).toEqual([...bytes]);
    while (!socket.text.endsWith('\x8a\x01\x07')) await once(socket, 'data'); // the answer to the ping
  });

  test('may come right behind the request', async () => {
    const { port, ends } = await listening();
    const socket = rawClient(port);
    socket.write(Buffer.concat([Buffer.from(UPGRADE), wsFrame(BINARY, true, bytes.subarray(0, 100))]));
    await once(socket, 'data');
    await (ends[0] as ServerEnd).whenReceived(100);
    expect(ends[0]?.received).toEqual([...bytes.subarray(0, 100)]);
  });

  test('goes out as pieces of at most 64 KiB', async () => {
    const { open } = await listening();
    const [end, webSocket] = await open();
    const sizes: number[] = [];
    webSocket.on('message', (message) => sizes.push((message as Buffer).length));
    end.transport.write(new Uint8Array(150_000));
    end.transport.close();
    expect(await closeCode(webSocket)).toBe(1000);
    expect(sizes).toEqual([65_536, 65_536, 18_928]);
  });

  test.each([
    ['text', 1003, (webSocket: WebSocket) => webSocket.send('text')],
    ['too long', 1009, (webSocket: WebSocket) => webSocket.send(new Uint8Array(1_048_581))],
    ['in too many fragments', 1008, inFragments],
  ])('that is %s ends the connection with %i, and nothing of it or after it is told', async (_, code, send) => {
    const { open } = await listening();
    const [end, webSocket] = await open();
    webSocket.on('error', () => {}); // it may still send when the server has ended
    webSocket.send(Uint8Array.of(1));
    await end.whenReceived(1);
    end.transport.pause();
    end.transport.resume();
    const closed = closeCode(webSocket);
    send(webSocket);
    webSocket.send(Uint8Array.of(2));
    expect(await closed).toBe(code);
    await end.whenClosed();
    end.transport.write(Uint8Array.of(3));
    expect([end.received, end.closes, end.transport.unsentBytes]).toEqual([[1], 1, 0]);
  });

  function inFragments(webSocket: WebSocket): void {
    for (let i = 0; i < 2_000; i++) webSocket.send(Uint8Array.of(1), { fin: false });
  }

  test('that is not masked ends the connection with 1002', async () => {
    const { port, ends } = await listening();
    const socket = await upgraded(port);
    socket.write(Buffer.of(0x82, 1, 1));
    await once(socket, 'end');
    expect(socket.text.slice(-2)).toBe('\x03\xea');
    socket.end();
    await ends[0]?.whenClosed();
    expect(ends[0]?.received).toEqual([]);
  });
});

describe('The port', () => {
  test('answers 426 to what does not upgrade', async () => {
    const { port } = await listening();
    for (const method of ['GET', 'POST']) {
      const response = await fetch(`http://127.0.0.1:${port}/any`, { method, ...(method === 'POST' && { body: 'x' }) });
      expect([response.status, response.headers.get('upgrade')]).toEqual([426, 'websocket']);
      expect(await response.text()).toContain('WebSocket');
    }
  });

  test('refuses other upgrades and other requests in their own words', async () => {
    const { port, ends } = await listening();
    for (const [wrong, status] of [
      [UPGRADE.replace('websocket', 'h2c'), 400],
      [UPGRADE.replace('Version: 13', 'Version: 12'), 400],
      ['nonsense\r\n\r\n', 400],
    ] as const) {
      const socket = rawClient(port);
      socket.write(wrong);
      await once(socket, 'close');
      expect(socket.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    }
    expect(ends).toEqual([]);
  });

  test('cuts off a request that does not come in full', async () => {
    const { port } = await listening({ requestMilliseconds: 20 });
    for (const part of ['', UPGRADE.slice(0, 30), UPGRADE.slice(0, -2)]) {
      const socket = rawClient(port);
      socket.write(part);
      await once(socket, 'close');
      expect(socket.text).toMatch(/^(HTTP\/1\.1 408 |$)/);
    }
  });

  test('that is closed does not wait for requests in the making', async () => {
    const { port, close } = await listening();
    const socket = rawClient(port);
    socket.write(UPGRADE.slice(0, 30));
    await once(socket, 'connect');
    // another connection after it was served: so the server has the first
    await (await fetch(`http://127.0.0.1:${port}/`)).text();
    await Promise.all([close(), once(socket, 'close')]);
  });

  test('lets in pages that it knows, by their origin, and no others', async () => {
    const origins = ['https://app.example'];
    const { port, ends } = await listening({ origins });
    expect(await statusOf(port, {})).toBe(101);
    expect(await statusOf(port, { Origin: 'https://app.example' })).toBe(101);
    expect(await statusOf(port, { Origin: `http://127.0.0.1:${port + 1}` })).toBe(101);
    expect(ends).toHaveLength(3);
    expect(await statusOf(port, { Origin: 'https://evil.example' })).toBe(403);
    expect(await statusOf(port, { Origin: 'http://evil.example', Host: 'evil.example' })).toBe(403);
    expect(ends).toHaveLength(3);
  });

  function statusOf(port: number, headers: Record<string, string>): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const upgrade = {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      };
      const asking = request({ host: '127.0.0.1', port, headers: { ...upgrade, ...headers } });
      asking.on('response', (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asking.on('upgrade', (response, socket) => {
        socket.destroy();
        resolve(response.statusCode);
      });
      asking.on('error', reject);
      asking.end();
    });
  }
});

describe('A client', () => {
  /** A message each way: what either sent before has been read. */
  async function exchange(end: ServerEnd, webSocket: WebSocket): Promise<void> {
    const echoed = once(webSocket, 'message');
    webSocket.send(Uint8Array.of(1));
    await end.whenReceived(end.received.length + 1);
    end.transport.write(Uint8Array.of(1));
    await echoed;
  }

  test('that dies leaves nothing unsent behind', async () => {
    const { open } = await listening();
    const [end, webSocket] = await open();
    webSocket.pause();
    for (let i = 0; i < 20; i++) end.transport.write(new Uint8Array(1_000_000));
    expect(end.transport.unsentBytes).toBeGreaterThan(0);
    webSocket.terminate();
    await end.whenClosed();
    expect(end.transport.unsentBytes).toBe(0);
  });

  test('that answers pings stays, and is asked again', async () => {
    const clock = new ManualClock();
    const { open } = await listening({ clock });
    const [end, webSocket] = await open();
    for (let i = 0; i < 3; i++) {
      const asked = once(webSocket, 'ping');
      clock.advance(30_000);
      await asked;
      await exchange(end, webSocket);
    }
    expect(end.closes).toBe(0);
    webSocket.close();
    await end.whenClosed();
    expect(clock.pendingTimers).toBe(0);
  });

  test('that does not answer a ping before the next one is cut off', async () => {
    const clock = new ManualClock();
    const { open } = await listening({ clock });
    const [end, webSocket] = await open({ autoPong: false });
    await exchange(end, webSocket);
    const asked = once(webSocket, 'ping');
    clock.advance(30_000);
    await asked;
    clock.advance(29_999);
    await new Promise(setImmediate);
    expect(end.closes).toBe(0);
    clock.advance(1);
    await end.whenClosed();
    expect([end.closes, clock.pendingTimers]).toEqual([1, 0]);
  });

  test('that is not read from has nothing to answer, nor right after', async () => {
    const clock = new ManualClock();
    const { open } = await listening({ clock });
    const [end, webSocket] = await open({ autoPong: false });
    const asked = once(webSocket, 'ping');
    clock.advance(30_000);
    await asked;
    end.transport.pause();
    clock.advance(90_000);
    end.transport.resume();
    clock.advance(30_000);
    await exchange(end, webSocket);
    expect(end.closes).toBe(0);
  });
});
