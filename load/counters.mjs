import { ByteWriter } from '../dist/protocol/bytes.js';
import { Flag, Opcode } from '../dist/protocol/opcode.js';
import { partitionOf } from '../dist/protocol/partition-hash.js';
import { encodeGet, encodeOpen } from '../dist/protocol/request.js';
import { decodeGetAnswer, decodeOpenAnswer } from '../dist/protocol/response.js';

const AT_A_TIME = 5_000;

/** The counters of a load: their names, where they live, and their ids. */
export class Counters {
  names;
  partitions;
  slots;
  generations;
  /** For each partition the numbers of its counters. */
  #lists;

  /** Opens every name. */
  static async open(client, names) {
    const counters = new Counters(names, client.partitions);
    await counters.#each(client, Opcode.OPEN, 0, encodeOpen, (numbers, body) => {
      decodeOpenAnswer(body).ids.forEach(({ slot, generation }, i) => {
        counters.slots[numbers[i]] = slot;
        counters.generations[numbers[i]] = generation;
      });
    });
    return counters;
  }

  constructor(names, partitions) {
    this.names = names;
    this.partitions = new Uint16Array(names.length);
    this.slots = new Uint32Array(names.length);
    this.generations = new Uint16Array(names.length);
    this.#lists = Array.from({ length: partitions }, () => []);
    const encoder = new TextEncoder();
    for (const [i, name] of names.entries()) {
      const bytes = encoder.encode(name);
      const partition = partitionOf(bytes, 0, bytes.length, partitions);
      this.partitions[i] = partition;
      this.#lists[partition].push(i);
    }
  }

  get count() {
    return this.names.length;
  }

  /** Of the counters that live in a partition. */
  numbersOf(partition) {
    return this.#lists[partition];
  }

  /** The sum of all values. */
  async sum(client) {
    let sum = 0n;
    const encode = (writer, names) => encodeGet(writer, { keys: names.map((name) => ({ name })) });
    await this.#each(client, Opcode.GET, Flag.LATEST, encode, (_numbers, body) => {
      for (const { value } of decodeGetAnswer(body).values) sum += value ?? 0n;
    });
    return sum;
  }

  /** Sends requests about all names; the answers of one partition are waited for before the next. */
  async #each(client, opcode, flags, encode, answered) {
    for (const [partition, list] of this.#lists.entries()) {
      for (let from = 0; from < list.length; from += AT_A_TIME) {
        const numbers = list.slice(from, from + AT_A_TIME);
        const writer = new ByteWriter();
        encode(
          writer,
          numbers.map((number) => this.names[number]),
        );
        await new Promise((resolve) =>
          client.request(opcode, flags, partition, writer.copy(), (body) => {
            answered(numbers, body);
            resolve();
          }),
        );
      }
    }
  }
}
