import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LogReader, LogShape, PartitionRange } from './log.js';
import { corrupt, PartitionReplay } from './replay.js';
import { ITEMS_PER_TURN, type Segment } from './segment.js';
import { segmentsIn } from './segment-files.js';
import { openSegment } from './segment-kinds.js';

/**
 * Reads the log in a lane's directory beside the thread that writes it. Within one process no other thread opens the
 * same segments in the same moment but the writer, which has a segment open before there is a record in it.
 */
export class SegmentedLogReader implements LogReader {
  readonly #directory: string;
  readonly #shape: LogShape;
  /** A plain file that was read last: where its groups stand is found out once. */
  #last: { readonly path: string; readonly segment: Segment } | undefined;

  constructor(directory: string, shape: LogShape) {
    this.#directory = directory;
    this.#shape = shape;
  }

  async readPartition(range: PartitionRange): Promise<void> {
    const replay = new PartitionReplay(this.#shape, range);
    for (let number = range.after.records + 1; number <= range.to.records; ) {
      await this.#with(number, async (segment) => {
        const end = Math.min(segment.lastRecord, range.to.records);
        if (end < number) throw corrupt(`Record ${number} is missing.`);
        for (; number <= end; number++) {
          replay.record(number, segment.record(number));
          if (number % ITEMS_PER_TURN === 0) await nextTurn();
        }
      });
    }
    replay.end();
  }

  async close(): Promise<void> {
    await this.#last?.segment.close();
    this.#last = undefined;
  }

  /** Lends the segment in which a record lies, if it is anywhere, as it is now. */
  async #with(number: number, use: (segment: Segment) => Promise<void>): Promise<void> {
    const file = segmentsIn(this.#directory).findLast(({ firstRecord }) => firstRecord <= number);
    if (!file) throw corrupt(`Record ${number} is missing.`);
    if (file.path !== this.#last?.path) await this.close();
    const options = { readOnly: true, isGrowing: true };
    const segment = this.#last?.segment ?? (await openSegment(file, this.#shape, options));
    if (file.kind === 'files') this.#last = { path: file.path, segment };
    try {
      segment.refresh();
      await use(segment);
    } finally {
      if (file.kind === 'lmdb') await segment.close();
    }
  }
}
