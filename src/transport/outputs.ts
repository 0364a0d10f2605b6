import { ByteWriter } from '../protocol/bytes.js';
import type { Transport } from './transport.js';

/** Doubled some times it holds a frame of a feed, and once more all that a feed sends in a turn. */
const FIRST_BYTES = 280;
/** Of each array that is kept the most bytes, and of all the number. */
const LARGEST_KEPT = FIRST_BYTES << 7;
const MOST_KEPT = 64;
/** An array that has grown and is larger than so many times what it has is not given away with it. */
const SPARSE = 4;

/**
 * Arrays in which answers are gathered until the end of a turn: a stock for all connections of a lane, so that none has one for itself while it has nothing to
 * say. What the system takes at once costs no memory: that is collected late, as the engine sees little of what such arrays take.
 */
export class Outputs {
  readonly #kept: ByteWriter[] = [];

  take(): ByteWriter {
    return this.#kept.pop() ?? new ByteWriter(FIRST_BYTES);
  }

  /** Sends what was gathered. The writer is not to be used again. */
  send(writer: ByteWriter, transport: Transport): void {
    if (transport.unsentBytes > 0 || isSparse(writer)) {
      transport.write(writer.copy());
    } else {
      transport.write(writer.view());
      // it is the transport's for as long as the client takes
      if (transport.unsentBytes > 0) return;
    }
    if (writer.buffer.length > LARGEST_KEPT || this.#kept.length === MOST_KEPT) return;
    writer.reset();
    this.#kept.push(writer);
  }

  /** Forgets what it keeps. */
  clear(): void {
    this.#kept.length = 0;
  }
}

function isSparse({ length, buffer }: ByteWriter): boolean {
  return buffer.length > FIRST_BYTES && length * SPARSE < buffer.length;
}
