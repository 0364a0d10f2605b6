import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { tcpTransport } from '../../src/client/tcp.js';
import type { Channel } from '../../src/client/transport.js';
import { wsTransport } from '../../src/client/ws.js';
import { channelConformance } from './transport.conformance.js';

/** An end that a test gives to hear of the client's. */
interface Ended {
  ended?: () => void;
}

channelConformance({
  name: 'TCP',
  scheme: 'tallystick',
  transport: tcpTransport,
  listen: async (accept) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {}); // `close` follows
      const peer: Parameters<typeof accept>[0] & Ended = {
        send: (bytes) => socket.write(bytes),
        onData: (hear) => socket.on('data', hear),
        pause: () => socket.pause(),
        resume: () => socket.resume(),
        end: () => socket.end(),
        reset: () => socket.resetAndDestroy(),
      };
      socket.on('close', () => peer.ended?.());
      accept(peer);
    });
    onTestFinished(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
});

async function webSocketServer(): Promise<WebSocketServer> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  onTestFinished(async () => {
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  await once(server, 'listening');
  return server;
}

const portOf = (server: WebSocketServer) => (server.address() as AddressInfo).port;

channelConformance({
  name: 'WebSocket',
  scheme: 'ws',
  transport: wsTransport,
  listen: async (accept) => {
    const server = await webSocketServer();
    server.on('connection', (webSocket, { socket }) => {
      webSocket.on('error', () => {}); // `close` follows
      const peer: Parameters<typeof accept>[0] & Ended = {
        send: (bytes) => webSocket.send(bytes),
        onData: (hear) => webSocket.on('message', hear),
        pause: () => webSocket.pause(),
        resume: () => webSocket.resume(),
        end: () => webSocket.close(1000),
        reset: () => socket.resetAndDestroy(),
      };
      webSocket.on('close', () => peer.ended?.());
      accept(peer);
    });
    return portOf(server);
  },
});

/** What a channel tells of a server that does something to it. */
async function closedBy(host: string, port: number): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const channel = wsTransport.open(
      { scheme: 'ws', host, port },
      { opened: () => {}, received: () => {}, closed: resolve },
    );
    onTestFinished(() => channel.close());
  });
}

test('A server that ends a WebSocket for a reason is quoted', async () => {
  const server = await webSocketServer();
  server.on('connection', (webSocket) => webSocket.close(1003, 'Messages are binary.'));
  expect((await closedBy('127.0.0.1', portOf(server)))?.message).toBe('closed with 1003, Messages are binary.');
});

test('A server that sends text is no server of ours', async () => {
  const server = await webSocketServer();
  server.on('connection', (webSocket) => webSocket.send('text'));
  expect((await closedBy('127.0.0.1', portOf(server)))?.message).toBe('a text message');
});

test('A server that ends a WebSocket with 1001 or without a code ends it in order', async () => {
  const server = await webSocketServer();
  for (const code of [1001, undefined]) {
    server.once('connection', (webSocket) => webSocket.close(code));
    expect(await closedBy('127.0.0.1', portOf(server))).toBeUndefined();
  }
});

test('A host that no URL can hold is a loss like any other, told after the channel is there', async () => {
  let channel: Channel | undefined;
  const told = new Promise<[Channel | undefined, Error | undefined]>((resolve) => {
    const events = { opened: () => {}, received: () => {}, closed: (cause?: Error) => resolve([channel, cause]) };
    channel = wsTransport.open({ scheme: 'ws', host: 'no%host', port: 1 }, events);
  });
  const [then, cause] = await told;
  expect(then).toBe(channel);
  expect(cause).toBeInstanceOf(Error);
});

test('A turn of small frames is one message, and a message has at most 64 KiB', async () => {
  const server = await webSocketServer();
  const sizes: number[] = [];
  const all = new Promise<void>((resolve) => {
    server.on('connection', (webSocket) =>
      webSocket.on('message', (message) => {
        sizes.push((message as Buffer).length);
        if (sizes.length === 4) resolve();
      }),
    );
  });
  const channel = wsTransport.open(
    { scheme: 'ws', host: '127.0.0.1', port: portOf(server) },
    {
      opened: () => {
        for (let i = 0; i < 100; i++) channel.write(new Uint8Array(20));
        setImmediate(() => {
          for (const bytes of [10, 100_000, 65_536]) channel.write(new Uint8Array(bytes));
        });
      },
      received: () => {},
      closed: () => {},
    },
  );
  onTestFinished(() => channel.close());
  await all;
  expect(sizes).toEqual([2_000, 65_536, 65_536, 34_474]);
});
