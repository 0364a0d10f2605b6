/** Channels over WebSocket, whose binary messages are pieces of the stream. Who makes the WebSocket is passed in: Node or a browser. */

import { type Address, authorityOf, type Channel, type ChannelEvents, type Transport } from './transport.js';

/** The bytes of a message: as many as the server sends in one. */
const MESSAGE_BYTES = 65_536;

const NORMAL = 1000;
const GOING_AWAY = 1001;
const NO_CODE = 1005;
const ENDS_IN_ORDER: ReadonlySet<number> = new Set([NORMAL, GOING_AWAY, NO_CODE]);

/** What of a WebSocket is used. */
export interface WebSocketEnd {
  /** Takes the bytes before it returns, or never changes them. */
  send(message: Uint8Array): void;
  close(): void;
}

/** What a WebSocket tells. */
export interface WebSocketEvents {
  opened(): void;
  /** A text message is told as undefined. */
  received(message: Uint8Array | undefined): void;
  /** The last event. */
  closed(code: number, reason: string, cause?: Error): void;
}

/** Begins to connect. Tells nothing before it returns; throws where the URL can't be connected to from here. */
export type Dial = (url: string, events: WebSocketEvents) => WebSocketEnd;

export function webSocketTransport(dial: Dial): Transport {
  return { open: (address, events) => new WebSocketChannel(dial, address, events) };
}

class WebSocketChannel implements Channel {
  readonly #events: ChannelEvents;
  #socket: WebSocketEnd | undefined;
  #isClosed = false;
  #frames: Uint8Array[] = [];

  constructor(dial: Dial, address: Address, events: ChannelEvents) {
    this.#events = events;
    try {
      this.#socket = dial(`ws://${authorityOf(address)}/`, {
        opened: () => {
          if (!this.#isClosed) events.opened();
        },
        received: (message) => this.#received(message),
        closed: (code, reason, cause) => this.#ended(cause ?? causeOf(code, reason)),
      });
    } catch (error) {
      queueMicrotask(() => this.#ended(error as Error));
    }
  }

  write(bytes: Uint8Array): void {
    if (this.#frames.push(bytes) === 1) queueMicrotask(() => this.flush());
  }

  close(): void {
    this.#isClosed = true;
    this.#socket?.close();
  }

  #received(message: Uint8Array | undefined): void {
    if (this.#isClosed) return;
    if (message) {
      this.#events.received(message);
      return;
    }
    this.#ended(new Error('a text message'));
    this.#socket?.close();
  }

  #ended(cause: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#events.closed(cause);
  }

  /** Sends what was written in this turn: small frames many to a message, a large one in several, so that pongs get between. */
  flush(): void {
    const frames = this.#frames;
    this.#frames = [];
    let parts: Uint8Array[] = [];
    let bytes = 0;
    const send = () => {
      if (bytes > 0 && !this.#isClosed) this.#socket?.send(joined(parts, bytes));
      parts = [];
      bytes = 0;
    };
    for (const frame of frames) {
      for (let at = 0; at < frame.length; ) {
        const part = frame.subarray(at, at + MESSAGE_BYTES - bytes);
        parts.push(part);
        bytes += part.length;
        at += part.length;
        if (bytes === MESSAGE_BYTES) send();
      }
    }
    send();
  }
}

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array;
  const message = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    message.set(part, at);
    at += part.length;
  }
  return message;
}

/** Why a WebSocket closed; undefined where the server closed it in order. */
function causeOf(code: number, reason: string): Error | undefined {
  if (ENDS_IN_ORDER.has(code)) return undefined;
  return new Error(`closed with ${code}${reason && `, ${reason}`}`);
}
