import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { LANE, Opcode } from '../../src/protocol/opcode.js';
import { Connection } from '../../src/transport/connection.js';
import { listenTcp, type TcpListener } from '../../src/transport/tcp.js';
import type { Transport } from '../../src/transport/transport.js';
import { add, framesOf, hello, ping } from './lane-double.js';

/** The server's end of one connection, with what it was told. */
class ServerEnd {
  readonly received: number[] = [];
  drains = 0;
  closes = 0;
  readonly #closed: Promise<void>;
  #resolveClosed: () => void = () => {};
  #wanted = { bytes: 0, resolve: () => {} };

  constructor(readonly transport: Transport) {
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  data(chunk: Uint8Array): void {
    this.received.push(...chunk);
    if (this.received.length >= this.#wanted.bytes) this.#wanted.resolve();
  }

  drain(): void {
    this.drains++;
  }

  closed(): void {
    this.closes++;
    this.#resolveClosed();
  }

  whenReceived(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = { bytes, resolve };
      if (this.received.length >= bytes) resolve();
    });
  }

  whenClosed(): Promise<void> {
    return this.#closed;
  }
}

const sockets: Socket[] = [];
const listeners: TcpListener[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(listeners.splice(0).map((listener) => listener.close()));
});

/** A listener, and a way to connect to it that gives both ends. */
async function listening(maxConnections = 100) {
  const accepted: ((end: ServerEnd) => void)[] = [];
  const listener = await listenTcp({
    host: '127.0.0.1',
    port: 0,
    maxConnections,
    accept: (transport) => {
      const end = new ServerEnd(transport);
      accepted.shift()?.(end);
      return end;
    },
  });
  listeners.push(listener);
  const open = async (): Promise<[ServerEnd, Socket]> => {
    const end = new Promise<ServerEnd>((resolve) => accepted.push(resolve));
    const socket = client(listener.port);
    await once(socket, 'connect');
    return [await end, socket];
  };
  return { listener, open };
}

function client(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port });
  sockets.push(socket);
  socket.on('error', () => {});
  return socket;
}

async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('A connection over TCP says hello, answers requests and closes', async () => {
  const connections: Connection[] = [];
  const listener = await listenTcp({
    host: '127.0.0.1',
    port: 0,
    maxConnections: 10,
    accept: (transport) => {
      const connection: Connection = new Connection({
        transport,
        session: undefined,
        clock: systemClock,
        handler: {
          request: (_, { opcode, partition, requestId, body }) => {
            connection.answer(opcode, 0, partition, requestId, body);
            if (opcode === Opcode.HELLO) connection.helloDone();
            if (requestId === 1001) connection.close();
          },
          isFull: () => false,
          closed: () => {},
        },
      });
      connections.push(connection);
      return connection;
    },
  });
  listeners.push(listener);
  const socket = client(listener.port);
  const frames = [hello(), ...Array.from({ length: 999 }, (_, i) => add(i + 2, (i * 37) % 3000)), ping(1001)];
  for (const frame of frames) socket.write(frame);
  const answers = framesOf(await readAll(socket));
  expect(answers.map(({ requestId }) => requestId)).toEqual(Array.from({ length: 1001 }, (_, i) => i + 1));
  const text = (body: Uint8Array) => Buffer.from(body).toString('latin1');
  expect(answers.map(({ opcode, body }) => [opcode & 0x7f, text(body)])).toEqual(
    framesOf(Buffer.concat(frames)).map(({ opcode, body }) => [opcode, text(body)]),
  );
  expect(connections[0]?.remote).toMatch(/^127\.0\.0\.1:\d+$/);
});

test('A request of HTTP gets no answer', async () => {
  const { port } = await listenConnections();
  const socket = client(port);
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(await readAll(socket).catch(() => Buffer.alloc(0))).toHaveLength(0);
});

async function listenConnections(): Promise<TcpListener> {
  const listener = await listenTcp({
    host: '127.0.0.1',
    port: 0,
    maxConnections: 10,
    accept: (transport) =>
      new Connection({
        transport,
        clock: systemClock,
        session: undefined,
        handler: { request: () => {}, isFull: () => false, closed: () => {} },
      }),
  });
  listeners.push(listener);
  return listener;
}

test('The last words of a lost framing arrive, also when more was on its way', async () => {
  const { port } = await listenConnections();
  const socket = client(port);
  socket.write(Buffer.concat([Uint8Array.of(255, 255, 255, 255), new Uint8Array(1_000_000)]));
  const [error] = framesOf(await readAll(socket));
  expect([error?.opcode, error?.partition, error?.requestId]).toEqual([Opcode.ERROR, LANE, 0]);
});

test('What a client does not read stays unsent, and arrives whole and in order when it reads', async () => {
  const { open } = await listening();
  const [end, socket] = await open();
  socket.pause();
  const pieces = Array.from({ length: 40 }, (_, i) => new Uint8Array(1_000_000).fill(i));
  for (const piece of pieces) end.transport.write(piece);
  expect(end.transport.unsentBytes).toBeGreaterThan(20_000_000);
  expect(end.drains).toBe(0);
  end.transport.close();
  const received = await readAll(socket);
  expect(Buffer.compare(received, Buffer.concat(pieces))).toBe(0);
  await end.whenClosed();
  expect([end.closes, end.transport.unsentBytes]).toEqual([1, 0]);
});

// Sizes around those at which a socket says by itself that it wants no more, of Node 20 and of later ones
test.each([1, 16_383, 16_385, 65_535, 65_536, 65_537, 65_636, 82_000, 131_072, 131_073, 5_000_000])(
  'Drain is told when all is sent: %i bytes',
  async (bytes) => {
    const { open } = await listening();
    const [end, socket] = await open();
    const drained = new Promise<void>((resolve) => {
      end.drain = resolve;
    });
    end.transport.write(new Uint8Array(bytes));
    socket.resume();
    await drained;
    expect(end.transport.unsentBytes).toBe(0);
  },
);

test('While paused nothing is told, and nothing of it is lost', async () => {
  const { open } = await listening();
  const [end, socket] = await open();
  socket.write('one');
  await end.whenReceived(3);
  end.transport.pause();
  socket.write('two');
  // a round trip in the other direction: the server had its turns
  end.transport.write(Uint8Array.of(1));
  await once(socket, 'data');
  expect(end.received).toHaveLength(3);
  end.transport.resume();
  await end.whenReceived(6);
  expect(Buffer.from(end.received).toString()).toBe('onetwo');
});

test('A reset by the client, its end, and destroy are each told once', async () => {
  const { open } = await listening();
  const endings: ((end: ServerEnd, socket: Socket) => void)[] = [
    (_, socket) => socket.resetAndDestroy(),
    (_, socket) => socket.end(),
    (end) => end.transport.destroy(),
  ];
  for (const ending of endings) {
    const [end, socket] = await open();
    end.transport.write(Uint8Array.of(1));
    ending(end, socket);
    socket.resume();
    await end.whenClosed();
    end.transport.write(Uint8Array.of(2));
    end.transport.close();
    end.transport.destroy();
    expect(end.closes).toBe(1);
  }
});

test('Connections beyond the most are closed', async () => {
  const { listener, open } = await listening(1);
  const [first] = await open();
  const second = client(listener.port);
  await once(second, 'close');
  expect(first.closes).toBe(0);
});

test('A port in use is an error; a closed listener refuses, and settles after the last connection', async () => {
  const { listener, open } = await listening();
  await expect(
    listenTcp({
      host: '127.0.0.1',
      port: listener.port,
      maxConnections: 1,
      accept: (transport) => new ServerEnd(transport),
    }),
  ).rejects.toMatchObject({ code: 'EADDRINUSE' });
  const [end, socket] = await open();
  let settled = false;
  const closed = listeners
    .pop()
    ?.close()
    .then(() => {
      settled = true;
    });
  const late = client(listener.port);
  const [error] = await once(late, 'error');
  expect([(error as NodeJS.ErrnoException).code, settled]).toEqual(['ECONNREFUSED', false]);
  socket.end();
  await end.whenClosed();
  await closed;
  expect(settled).toBe(true);
});
