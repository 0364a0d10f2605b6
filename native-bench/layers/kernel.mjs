import { Partition } from '../../dist/partition/partition.js';
import { ByteWriter } from '../../dist/protocol/bytes.js';
import { Opcode } from '../../dist/protocol/opcode.js';
import { encodeGet, encodeOpen } from '../../dist/protocol/request.js';
import { decodeGetAnswer, decodeOpenAnswer } from '../../dist/protocol/response.js';
import { compileWasm } from '../../dist/wasm.js';
import { bodiesOf, byName } from '../bytes.mjs';
import { hashOfValues } from '../fnv.mjs';

/** The kernel of one partition and nothing else. */

const MILLISECONDS = 1_700_000_000_000;
const NAMES_AT_A_TIME = 5_000;
/** A kernel's answer lacks position and flushed, with which the codec's begins. */
const PROGRESS = Uint8Array.of(0, 0);

export class KernelLayer {
  #partition = new Partition(compileWasm('kernel'));
  #names;
  /** The ids of the names, in their order. */
  ids;
  /** The bodies that made the counters. */
  insert;

  /** @param names the counters; each is added to once */
  constructor(names) {
    this.#names = names;
    this.#partition.configure(
      {
        partition: 0,
        partitions: 1,
        secret: Uint8Array.from({ length: 16 }, (_, i) => i),
        maximumPages: 65_535,
        maximumProducers: 100,
        maximumOperationIds: 1_000,
        producerIdleMilliseconds: 3_600_000,
        operationIdMilliseconds: 600_000,
        windowBytes: 16_000_000,
      },
      MILLISECONDS,
    );
    this.insert = bodiesOf(names, 1_000, byName);
    this.run(this.insert);
    this.ids = this.#slices(encodeOpen).flatMap((body) => {
      this.#check(this.#partition.apply(Opcode.OPEN, 0, 0, 0, MILLISECONDS, body));
      return decodeOpenAnswer(this.#answer()).ids;
    });
  }

  /** Applies the bodies; seconds. */
  run(bodies) {
    const partition = this.#partition;
    const start = performance.now();
    for (const body of bodies) this.#check(partition.apply(Opcode.ADD, 0, 0, 0, MILLISECONDS, body));
    return (performance.now() - start) / 1_000;
  }

  /** Of all values, in the order of the names. */
  hash() {
    const values = this.#slices((writer, names) => encodeGet(writer, { keys: names.map((name) => ({ name })) }));
    return hashOfValues(
      values.flatMap((body) => {
        this.#check(this.#partition.read(body));
        return decodeGetAnswer(this.#answer()).values.map(({ value }) => value);
      }),
    );
  }

  #slices(encode) {
    const bodies = [];
    for (let from = 0; from < this.#names.length; from += NAMES_AT_A_TIME) {
      const writer = new ByteWriter();
      encode(writer, this.#names.slice(from, from + NAMES_AT_A_TIME));
      bodies.push(writer.copy());
    }
    return bodies;
  }

  #answer() {
    return Uint8Array.from([...PROGRESS, ...this.#partition.answer]);
  }

  #check(status) {
    // 256: an OPEN that found every name
    if (status !== 0 && status !== 256) throw new Error(`The kernel refused with status ${status}.`);
    return status;
  }
}
