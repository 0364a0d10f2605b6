import { describe, expect, onTestFinished, test } from 'vitest';
import type { Address, Channel, Transport } from '../../src/client/transport.js';

/** The server's end of a channel. */
export interface PeerEnd {
  send(bytes: Uint8Array): void;
  /** Hears what comes. */
  onData(hear: (bytes: Uint8Array) => void): void;
  pause(): void;
  resume(): void;
  /** Ends in order. */
  end(): void;
  /** Ends as the death of a process does. */
  reset(): void;
}

/** A kind of channel, with a server for it. */
export interface ChannelKind {
  readonly name: string;
  readonly scheme: Address['scheme'];
  readonly transport: Transport;
  /** Listens on the loopback until the test that runs ends. */
  listen(accept: (peer: PeerEnd) => void): Promise<number>;
}

/** A channel of a test, with what it told. */
class Recorded {
  readonly events: string[] = [];
  readonly received: number[] = [];
  cause: Error | undefined;
  readonly channel: Channel;
  readonly opened: Promise<void>;
  readonly closed: Promise<void>;
  #wanted = { bytes: 0, resolve: () => {} };
  #isWithinCall = true;

  constructor({ transport, scheme }: ChannelKind, port: number) {
    const tell = (event: string) => {
      if (this.#isWithinCall) throw new Error(`${event} was told within a call.`);
      if (this.events.at(-1) !== event) this.events.push(event);
    };
    let [open, close] = [() => {}, () => {}];
    this.opened = new Promise((resolve) => {
      open = resolve;
    });
    this.closed = new Promise((resolve) => {
      close = resolve;
    });
    this.channel = transport.open(
      { scheme, host: '127.0.0.1', port },
      {
        opened: () => {
          tell('opened');
          open();
        },
        received: (bytes) => {
          tell('received');
          for (const byte of bytes) this.received.push(byte);
          bytes.fill(0xee); // they are the channel's again
          if (this.received.length >= this.#wanted.bytes) this.#wanted.resolve();
        },
        closed: (cause) => {
          tell('closed');
          this.cause = cause;
          close();
        },
      },
    );
    this.#isWithinCall = false;
    onTestFinished(() => this.channel.close());
  }

  write(...frames: Uint8Array[]): void {
    this.#isWithinCall = true;
    for (const frame of frames) this.channel.write(frame);
    this.#isWithinCall = false;
  }

  flush(): void {
    this.#isWithinCall = true;
    this.channel.flush();
    this.#isWithinCall = false;
  }

  close(): void {
    this.#isWithinCall = true;
    this.channel.close();
    this.#isWithinCall = false;
  }

  whenReceived(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = { bytes, resolve };
      if (this.received.length >= bytes) resolve();
    });
  }
}

const pattern = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => (i * 7) ^ (i >> 8));

export function channelConformance(kind: ChannelKind): void {
  describe(`A channel over ${kind.name}`, () => {
    async function connected(): Promise<[Recorded, PeerEnd]> {
      let accepted: (peer: PeerEnd) => void = () => {};
      const peer = new Promise<PeerEnd>((resolve) => {
        accepted = resolve;
      });
      const recorded = new Recorded(kind, await kind.listen(accepted));
      await recorded.opened;
      return [recorded, await peer];
    }

    test.each([
      ['small frames', Array.from({ length: 1_000 }, (_, i) => pattern(i % 50))],
      ['one byte', [pattern(1)]],
      ['a large frame', [pattern(3_000_000)]],
      ['lengths about 64 KiB', [65_535, 65_536, 65_537, 1, 131_072, 12, 131_060].map(pattern)],
      ['small and large ones', [pattern(10), pattern(1_000_000), pattern(10), pattern(70_000)]],
    ])('carries %s whole and in order both ways, and leaves what was written as it was', async (_, frames) => {
      const [recorded, peer] = await connected();
      peer.onData((bytes) => peer.send(bytes.slice()));
      const copies = frames.map((frame) => frame.slice());
      const expected = Buffer.concat(copies);
      recorded.write(...frames);
      await recorded.whenReceived(expected.length);
      expect(Buffer.compare(Buffer.from(recorded.received), expected)).toBe(0);
      for (const [i, frame] of frames.entries()) expect(Buffer.compare(frame, copies[i] as Uint8Array)).toBe(0);
      expect(recorded.events).toEqual(['opened', 'received']);
    });

    test('sends at once what it is told to, before what is written after that', async () => {
      const [recorded, peer] = await connected();
      peer.onData((bytes) => peer.send(bytes.slice()));
      recorded.flush();
      recorded.write(pattern(100), pattern(70_000));
      recorded.flush();
      recorded.flush();
      recorded.write(pattern(50));
      await recorded.whenReceived(70_150);
      const expected = Buffer.concat([pattern(100), pattern(70_000), pattern(50)]);
      expect(Buffer.compare(Buffer.from(recorded.received), expected)).toBe(0);
      recorded.close();
      recorded.flush();
    });

    test('takes what a server does not read yet', async () => {
      const [recorded, peer] = await connected();
      peer.pause();
      let received = 0;
      const all = new Promise<void>((resolve) => {
        peer.onData(({ length }) => {
          received += length;
          if (received === 20_000_000) resolve();
        });
      });
      for (let i = 0; i < 20; i++) recorded.write(new Uint8Array(1_000_000));
      await new Promise(setImmediate);
      peer.resume();
      await all;
    });

    test('tells a port that nobody listens on as a loss, after it returned', async () => {
      const port = await kind.listen(() => {});
      const recorded = new Recorded(kind, port === 1 ? 2 : 1);
      await recorded.closed;
      expect(recorded.events).toEqual(['closed']);
      expect(recorded.cause?.message).toContain('ECONNREFUSED');
    });

    test('tells an end in order without a cause, and one that is none with a cause', async () => {
      const [first, peer] = await connected();
      peer.end();
      await first.closed;
      expect([first.events, first.cause]).toEqual([['opened', 'closed'], undefined]);
      const [second, other] = await connected();
      other.reset();
      await second.closed;
      expect(second.events).toEqual(['opened', 'closed']);
      expect(second.cause).toBeInstanceOf(Error);
      // the end is over
      second.write(Uint8Array.of(1));
      second.close();
    });

    test('tells nothing after it was closed, and the server hears of it', async () => {
      let heard = () => {};
      const ended = new Promise<void>((resolve) => {
        heard = resolve;
      });
      const port = await kind.listen((peer) => {
        peer.onData(() => {});
        peer.send(Uint8Array.of(1));
        Object.assign(peer, { ended: heard });
      });
      const recorded = new Recorded(kind, port);
      await recorded.opened;
      recorded.close();
      await ended;
      recorded.write(Uint8Array.of(1));
      await new Promise(setImmediate);
      expect(recorded.events[0]).toBe('opened');
      expect(recorded.events).not.toContain('closed');
    });

    test('that is closed before it stands never stands', async () => {
      const recorded = new Recorded(kind, await kind.listen(() => {}));
      recorded.close();
      for (let i = 0; i < 20; i++) await new Promise(setImmediate);
      expect(recorded.events).toEqual([]);
    });
  });
}
