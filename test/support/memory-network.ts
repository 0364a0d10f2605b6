import type { Address, Channel, ChannelEvents, Transport } from '../../src/client/transport.js';
import type { Clock } from '../../src/clock.js';
import type { ModelServer } from './model-server.js';

/**
 * Connections to a model server within the process. Bytes arrive at the end of the turn and are not copied before, so
 * that a sender that touches them too early is found out.
 */
export class MemoryNetwork implements Transport {
  /** How many bytes arrive at a time from the server. */
  chunkBytes = Number.POSITIVE_INFINITY;
  /** While true, what anyone sends is lost and nobody hears of it. */
  isBlackHole = false;
  opened = 0;
  /** How often a client wanted sent what it had written before its turn ended. */
  flushes = 0;
  readonly #clock: Clock;
  readonly #server: ModelServer;

  constructor(clock: Clock, server: ModelServer) {
    this.#clock = clock;
    this.#server = server;
  }

  open(address: Address, events: ChannelEvents): Channel {
    this.opened++;
    const lane = this.#server.addresses.findIndex(({ port }) => port === address.port);
    let isOpen = true;
    let toClient: (() => void)[] = [];
    const tell = (event: () => void) => {
      toClient.push(event);
      if (toClient.length > 1) return;
      this.#clock.endOfTurn(() => {
        const due = toClient;
        toClient = [];
        for (const run of due) if (isOpen && !this.isBlackHole) run();
      });
    };
    const closeClient = (cause?: Error) =>
      tell(() => {
        isOpen = false;
        events.closed(cause);
      });
    if (lane < 0 || !this.#server.isUp) {
      closeClient(new Error('connect ECONNREFUSED'));
      return {
        write: () => undefined,
        flush: () => undefined,
        close: () => {
          isOpen = false;
        },
      };
    }
    const connection = this.#server.accept(lane, {
      send: (bytes) => {
        for (let at = 0; at < bytes.length; at += this.chunkBytes) {
          const chunk = bytes.slice(at, at + this.chunkBytes);
          tell(() => events.received(chunk));
        }
      },
      close: () => closeClient(),
    });
    tell(() => events.opened());
    return {
      write: (bytes) => {
        this.#clock.endOfTurn(() => {
          if (!this.isBlackHole) connection.receive(bytes);
        });
      },
      flush: () => {
        this.flushes++;
      },
      close: () => {
        isOpen = false;
        this.#clock.endOfTurn(() => connection.ended());
      },
    };
  }
}
