import { ByteWriter } from '../dist/protocol/bytes.js';
import { encodeGet } from '../dist/protocol/request.js';
import { decodeGetAnswer } from '../dist/protocol/response.js';

/** The values of some names of a partition at each of its positions. */
export class Truth {
  names;
  position = 0;
  #keys;
  #values = [];

  constructor(names) {
    this.names = names;
    const writer = new ByteWriter();
    encodeGet(writer, { keys: names.map((name) => ({ name })) });
    this.#keys = writer.copy();
  }

  add(partition) {
    partition.read(this.#keys);
    this.position = partition.sequence;
    // an answer begins with two positions
    const { values } = decodeGetAnswer(Uint8Array.of(0, 0, ...partition.answer));
    this.#values[this.position] = values.map(({ value }) => value);
  }

  at(position, name) {
    const values = this.#values[position];
    if (!values) throw new Error(`Position ${position} is not in the log, which has ${this.position}.`);
    return values[this.names.indexOf(name)];
  }
}
