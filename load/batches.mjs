import { ByteWriter } from '../dist/protocol/bytes.js';
import { writeIdKey, writeNameKey } from '../dist/protocol/request.js';
import { writeItem } from '../dist/protocol/uniques.js';
import { zipf } from './names.mjs';

export const ITEM_BYTES = 8;

/**
 * Bodies of ADD made beforehand, each of one partition, without the sequence: `count | operations`, all in one array. Of GET with
 * `kind` 'keys', of SEE with 'items': these have eight zeros each, for the sender to fill in.
 */
export class Batches {
  size;
  partitions = [];
  /** Batch i lies from starts[i] to starts[i + 1]. */
  starts = [0];
  bytes;

  /**
   * @param pick gives the number of a counter; what it gives is gathered by partition, as a client would, until a partition has a
   *   whole batch
   */
  constructor(counters, { size, count, key, pick, kind = 'deltas' }) {
    this.size = size;
    const bytes = new ByteWriter(1 << 20);
    const waiting = new Map();
    while (this.partitions.length < count) {
      const number = pick();
      const partition = counters.partitions[number];
      let numbers = waiting.get(partition);
      if (!numbers) {
        numbers = [];
        waiting.set(partition, numbers);
      }
      numbers.push(number);
      if (numbers.length < size) continue;
      write(bytes, counters, numbers, key, kind);
      this.partitions.push(partition);
      this.starts.push(bytes.length);
      numbers.length = 0;
    }
    this.bytes = bytes.view();
  }

  get count() {
    return this.partitions.length;
  }
}

function write(writer, counters, numbers, key, kind) {
  writer.varint(numbers.length);
  for (const number of numbers) {
    if (key === 'name') writeNameKey(writer, counters.names[number]);
    else writeIdKey(writer, counters.slots[number], counters.generations[number]);
    if (kind === 'deltas') writer.zigzag(1);
    if (kind === 'items') writeItem(writer, new Uint8Array(ITEM_BYTES));
  }
}

/** How counters are chosen. */
export const DISTRIBUTIONS = {
  uniform: (count, next) => () => Math.floor(next() * count),
  'zipf 0.99': (count, next) => zipf(count, 0.99, next),
  'one hot': () => () => 0,
};
