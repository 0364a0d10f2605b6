import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { LANE, Opcode } from '../../src/protocol/opcode.js';
import { Connection } from '../../src/transport/connection.js';
import type { Listener, ListenOptions, Transport } from '../../src/transport/transport.js';
import { add, framesOf, hello, ping } from './lane-double.js';

/** The client's end of a connection. It reads from the start, until it is paused. */
export interface ClientEnd {
  /** Rejects where there is no connection. */
  readonly opened: Promise<void>;
  readonly closed: Promise<void>;
  /** All that came, when the connection has ended. */
  readonly received: Promise<Buffer>;
  /** The next that comes. */
  next(): Promise<Uint8Array>;
  send(bytes: Uint8Array): void;
  pause(): void;
  resume(): void;
  /** Ends in order. */
  end(): void;
  /** Ends as the death of the client's machine does, or of its process. */
  reset(): void;
}

/** A kind of transport with a network under it. */
export interface TransportKind {
  readonly name: string;
  listen(options: ListenOptions): Promise<Listener>;
  connect(port: number): ClientEnd;
}

/** The server's end of one connection, with what it was told. */
export class ServerEnd {
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
    for (const byte of chunk) this.received.push(byte);
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

/** Listeners and clients of the tests of a file, which go with each test. */
export class Wiring {
  readonly #clients: ClientEnd[] = [];
  readonly #listeners: Listener[] = [];

  constructor(private readonly kind: TransportKind) {
    afterEach(async () => {
      for (const client of this.#clients.splice(0)) client.reset();
      await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
    });
  }

  async listen(accept: ListenOptions['accept'], { port = 0, maxConnections = 100 } = {}): Promise<Listener> {
    const listener = await this.kind.listen({ host: '127.0.0.1', port, maxConnections, accept });
    this.#listeners.push(listener);
    return listener;
  }

  close(listener: Listener): Promise<void> {
    this.#listeners.splice(this.#listeners.indexOf(listener), 1);
    return listener.close();
  }

  client(port: number): ClientEnd {
    const client = this.kind.connect(port);
    this.#clients.push(client);
    return client;
  }

  /** A listener, and a way to connect to it that gives both ends. */
  async listening(maxConnections?: number) {
    const accepted: ((end: ServerEnd) => void)[] = [];
    const accept = (transport: Transport) => {
      const end = new ServerEnd(transport);
      accepted.shift()?.(end);
      return end;
    };
    const listener = await this.listen(accept, { ...(maxConnections && { maxConnections }) });
    const open = async (): Promise<[ServerEnd, ClientEnd]> => {
      const end = new Promise<ServerEnd>((resolve) => accepted.push(resolve));
      const client = this.client(listener.port);
      await client.opened;
      return [await end, client];
    };
    return { listener, open };
  }
}

/** A connection whose lane answers what it is asked, with the body that `answer` makes. */
export function answering(transport: Transport, answer: (body: Uint8Array) => Uint8Array = (body) => body): Connection {
  const connection: Connection = new Connection({
    transport,
    session: undefined,
    clock: systemClock,
    handler: {
      request: (_, { opcode, partition, requestId, body }) => {
        connection.answer(opcode, 0, partition, requestId, answer(body));
        if (opcode === Opcode.HELLO) connection.helloDone();
        if (requestId === 1001) connection.close();
      },
      isFull: () => false,
      closed: () => {},
    },
  });
  return connection;
}

/** Until something is unsent and nothing has moved for a while: what the system keeps for the client is full too. */
async function whenStuck(transport: () => Transport | undefined): Promise<void> {
  for (let turns = 0, before = 0; turns < 200; turns++) {
    await new Promise(setImmediate);
    const unsent = transport()?.unsentBytes ?? 0;
    if (unsent === 0 || unsent !== before) turns = 0;
    before = unsent;
  }
}

export function transportConformance(kind: TransportKind): void {
  describe(`A transport over ${kind.name}`, () => {
    const wiring = new Wiring(kind);

    test('says hello, answers requests and closes', async () => {
      const connections: Connection[] = [];
      const { port } = await wiring.listen((transport) => {
        const connection = answering(transport);
        connections.push(connection);
        return connection;
      });
      const client = wiring.client(port);
      await client.opened;
      const frames = [hello(), ...Array.from({ length: 999 }, (_, i) => add(i + 2, (i * 37) % 3000)), ping(1001)];
      for (const frame of frames) client.send(frame);
      const answers = framesOf(await client.received);
      expect(answers.map(({ requestId }) => requestId)).toEqual(Array.from({ length: 1001 }, (_, i) => i + 1));
      const text = (body: Uint8Array) => Buffer.from(body).toString('latin1');
      expect(answers.map(({ opcode, body }) => [opcode & 0x7f, text(body)])).toEqual(
        framesOf(Buffer.concat(frames)).map(({ opcode, body }) => [opcode, text(body)]),
      );
      expect(connections[0]?.remote).toMatch(/^127\.0\.0\.1:\d+$/);
    });

    test('carries the last words of a lost framing, also when more was on its way', async () => {
      const { port } = await wiring.listen((transport) => answering(transport));
      const client = wiring.client(port);
      await client.opened;
      client.send(Buffer.concat([Uint8Array.of(255, 255, 255, 255), new Uint8Array(1_000_000)]));
      const [error] = framesOf(await client.received);
      expect([error?.opcode, error?.partition, error?.requestId]).toEqual([Opcode.ERROR, LANE, 0]);
    });

    test('keeps what a client does not read, and it arrives whole and in order when the client reads', async () => {
      const { open } = await wiring.listening();
      const [end, client] = await open();
      client.pause();
      const pieces = Array.from({ length: 40 }, (_, i) => new Uint8Array(1_000_000).fill(i));
      for (const piece of pieces) end.transport.write(piece);
      expect(end.transport.unsentBytes).toBeGreaterThan(20_000_000);
      expect(end.drains).toBe(0);
      end.transport.close();
      client.resume();
      expect(Buffer.compare(await client.received, Buffer.concat(pieces))).toBe(0);
      await end.whenClosed();
      expect([end.closes, end.transport.unsentBytes]).toEqual([1, 0]);
    });

    test('is done with bytes where nothing is unsent, whatever becomes of them then', async () => {
      const { open } = await wiring.listening();
      const [end, client] = await open();
      client.pause();
      const expected: Buffer[] = [];
      let bytes = new Uint8Array(30_000);
      for (let i = 0; i < 600; i++) {
        if (i === 400) client.resume();
        expected.push(Buffer.from(bytes.fill(i)));
        end.transport.write(bytes);
        if (i % 10 === 0) await new Promise(setImmediate);
        if (end.transport.unsentBytes > 0) bytes = new Uint8Array(30_000);
      }
      end.transport.close();
      expect(Buffer.compare(await client.received, Buffer.concat(expected))).toBe(0);
    });

    test('shows that a client takes some of what is unsent', async () => {
      const { open } = await wiring.listening();
      const [end, client] = await open();
      client.pause();
      for (let i = 0; i < 40; i++) end.transport.write(new Uint8Array(1_000_000));
      await whenStuck(() => end.transport);
      const before = end.transport.unsentBytes;
      client.resume();
      for (let bytes = 0; bytes < 15_000_000; ) bytes += (await client.next()).length;
      client.pause();
      expect(end.transport.unsentBytes).toBeLessThan(before - 5_000_000);
      expect(end.transport.unsentBytes).toBeGreaterThan(0);
    });

    test('lets nobody who never reads grow the answers beyond the bound', async () => {
      let most = 0;
      let transport: Transport | undefined;
      const { port } = await wiring.listen((accepted) => {
        transport = accepted;
        return answering(accepted, () => {
          most = Math.max(most, accepted.unsentBytes);
          return new Uint8Array(100_000);
        });
      });
      const client = wiring.client(port);
      await client.opened;
      client.pause();
      client.send(hello());
      for (let id = 2; id < 1_000; id++) client.send(add(id));
      await whenStuck(() => transport);
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThan(1_500_000);
      client.resume();
      client.send(ping(1001));
      expect(framesOf(await client.received)).toHaveLength(1_000);
    });

    // Sizes around those at which a socket says by itself that it wants no more, of Node 20 and of later ones
    test.each([1, 16_383, 16_385, 65_535, 65_536, 65_537, 65_636, 82_000, 131_072, 131_073, 5_000_000])(
      'tells drain when all is sent: %i bytes',
      async (bytes) => {
        const { open } = await wiring.listening();
        const [end] = await open();
        const drained = new Promise<void>((resolve) => {
          end.drain = resolve;
        });
        end.transport.write(new Uint8Array(bytes));
        await drained;
        expect(end.transport.unsentBytes).toBe(0);
      },
    );

    test('tells nothing while paused, and nothing of it is lost', async () => {
      const { open } = await wiring.listening();
      const [end, client] = await open();
      client.send(Buffer.from('one'));
      await end.whenReceived(3);
      end.transport.pause();
      client.send(Buffer.from('two'));
      // a round trip in the other direction: the server had its turns
      end.transport.write(Uint8Array.of(1));
      await client.next();
      expect(end.received).toHaveLength(3);
      end.transport.resume();
      await end.whenReceived(6);
      expect(Buffer.from(end.received).toString()).toBe('onetwo');
    });

    test('hands over bytes as they were sent, byte by byte and by the mebibyte', async () => {
      const { open } = await wiring.listening();
      const [end, client] = await open();
      const bytes = Uint8Array.from({ length: 1_048_580 }, (_, i) => (i * 7) ^ (i >> 8));
      for (const byte of bytes.subarray(0, 300)) client.send(Uint8Array.of(byte));
      client.send(bytes.subarray(300, 301));
      client.send(bytes);
      await end.whenReceived(301 + bytes.length);
      const expected = Buffer.concat([bytes.subarray(0, 301), bytes]);
      expect(Buffer.compare(Buffer.from(end.received), expected)).toBe(0);
    });

    test('tells a reset by the client, its end, and destroy once each', async () => {
      const { open } = await wiring.listening();
      const endings: ((end: ServerEnd, client: ClientEnd) => void)[] = [
        (_, client) => client.reset(),
        (_, client) => client.end(),
        (end) => end.transport.destroy(),
      ];
      for (const ending of endings) {
        const [end, client] = await open();
        end.transport.write(Uint8Array.of(1));
        ending(end, client);
        await end.whenClosed();
        end.transport.write(Uint8Array.of(2));
        end.transport.pause();
        end.transport.resume();
        end.transport.close();
        end.transport.destroy();
        expect(end.closes).toBe(1);
      }
    });

    test('is closed beyond the most', async () => {
      const { listener, open } = await wiring.listening(1);
      const [first] = await open();
      const second = wiring.client(listener.port);
      await second.closed;
      expect(first.closes).toBe(0);
    });

    test('needs a port that is free; a closed listener refuses, and settles after the last connection', async () => {
      const { listener, open } = await wiring.listening();
      await expect(
        wiring.listen((transport) => new ServerEnd(transport), { port: listener.port }),
      ).rejects.toMatchObject({ code: 'EADDRINUSE' });
      const [end, client] = await open();
      let settled = false;
      const closed = wiring.close(listener).then(() => {
        settled = true;
      });
      const late = wiring.client(listener.port);
      await expect(late.opened).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      expect(settled).toBe(false);
      client.end();
      await end.whenClosed();
      await closed;
      expect(settled).toBe(true);
    });
  });
}
