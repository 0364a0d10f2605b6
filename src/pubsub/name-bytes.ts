import { ByteWriter } from '../protocol/bytes.js';
import { writeToldName } from '../protocol/tail.js';

/**
 * Names as TAIL tells them, `name length << 2 | kind` and the bytes, all in one array, so that telling one is copying some bytes. The kind is 0 here: it is the lowest two bits of
 * the first byte.
 */
export class NameBytes {
  readonly #bytes: ByteWriter;

  constructor(capacity: number) {
    this.#bytes = new ByteWriter(capacity);
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** Adds a name at the end. */
  add(name: string): void {
    writeToldName(this.#bytes, name, 0);
  }

  /** Adds what lies in another one. */
  addFrom(other: NameBytes, start: number, end: number): void {
    this.#bytes.bytes(other.#bytes.buffer, start, end);
  }

  /** Writes the name that lies there, of a kind. */
  write(writer: ByteWriter, start: number, end: number, kind: number): void {
    const at = writer.length;
    writer.bytes(this.#bytes.buffer, start, end);
    writer.buffer[at] = (writer.buffer[at] as number) | kind;
  }
}
