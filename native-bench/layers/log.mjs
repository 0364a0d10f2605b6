import { Chain, Group } from '../../dist/log/group.js';
import { createLaneStorage, openLaneStorage } from '../../dist/log/lane-storage.js';
import { firstPlace } from '../../dist/log/replay.js';
import { KERNEL_VERSION } from '../../dist/partition/partition.js';
import { Opcode } from '../../dist/protocol/opcode.js';
import { FNV_START, fnv } from '../fnv.mjs';

/** The log of a lane with one partition: groups in, flushed; no kernel, no connections. */

const SHAPE = { partitions: [0], kernelVersion: KERNEL_VERSION };
const HEADER = { kind: Opcode.ADD, flags: 0, producer: 1, incarnation: 1, milliseconds: 1_700_000_000_000 };
const MOST_GROUP_BYTES = 8 << 20;

export class LogLayer {
  #directory;
  #storage;
  #group;
  #sequence = 0;

  /** @param kind what it is kept in: lmdb or files */
  static async create(directory, kind) {
    await createLaneStorage(directory, SHAPE, { kind });
    const storage = await openLaneStorage(directory, SHAPE, { kind });
    const end = await storage.log.replay({ mark: storage.mark.read(), visit: () => {} });
    return new LogLayer(directory, storage, end);
  }

  constructor(directory, storage, end) {
    this.#directory = directory;
    this.#storage = storage;
    this.#group = new Group(new Chain(SHAPE, end), MOST_GROUP_BYTES);
  }

  /**
   * Appends groups of these bodies, one after the other, until the time is over; each is sealed, flushed and marked as a lane does
   * it.
   *
   * @returns milliseconds of each group, and the bytes of their records
   */
  async run(bodies, milliseconds) {
    const samples = [];
    let bytes = 0;
    const end = performance.now() + milliseconds;
    do {
      const start = performance.now();
      for (const body of bodies) this.#group.append(0, ++this.#sequence, HEADER, body);
      const sealed = this.#group.seal();
      const outcome = await this.#storage.log.append(sealed);
      if (outcome.kind !== 'flushed') throw outcome.error;
      this.#storage.mark.write(sealed);
      samples.push(performance.now() - start);
      for (const record of sealed.records) bytes += record.length;
      this.#group.reset();
    } while (performance.now() < end);
    return { samples, bytes };
  }

  /** The records of one group of these bodies, as the log gets them. */
  static recordsOf(bodies) {
    const group = new Group(new Chain(SHAPE, firstPlace(SHAPE)), MOST_GROUP_BYTES);
    bodies.forEach((body, i) => {
      group.append(0, i + 1, HEADER, body);
    });
    return Buffer.concat(group.seal().records);
  }

  /** Closes the log, reads it again and gives the hash of all bodies in it. */
  async close() {
    await this.#storage.log.close();
    this.#storage.mark.close();
    const { log, mark } = await openLaneStorage(this.#directory, SHAPE, { readOnly: true });
    let hash = FNV_START;
    const visit = ({ body }) => {
      hash = fnv(hash, body);
    };
    await log.replay({ mark: mark.read(), visit });
    mark.close();
    await log.close();
    return hash;
  }
}
