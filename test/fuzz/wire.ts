import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { FrameReader, type FrameView } from '../../src/protocol/frame.js';

/** A connection to a lane that sends any bytes and cuts what comes into frames. */
export class Wire {
  readonly #socket: Socket;
  #closed = false;

  private constructor(socket: Socket, onFrame: (frame: FrameView) => void, onEvent: (error?: unknown) => void) {
    const reader = new FrameReader();
    this.#socket = socket;
    socket.on('data', (chunk) => {
      try {
        reader.push(chunk, onFrame);
        onEvent();
      } catch (error) {
        onEvent(error);
      }
    });
    socket.on('error', () => {}); // `close` follows
    socket.on('close', () => {
      this.#closed = true;
      onEvent();
    });
  }

  /** @param onEvent after frames came and when the connection is closed; with what is wrong with the frames */
  static async open(
    { host, port }: { readonly host: string; readonly port: number },
    onFrame: (frame: FrameView) => void,
    onEvent: (error?: unknown) => void,
  ): Promise<Wire> {
    const socket = connect({ host, port, noDelay: true });
    await once(socket, 'connect');
    return new Wire(socket, onFrame, onEvent);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#socket.write(bytes);
  }

  /** Sends no more. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
