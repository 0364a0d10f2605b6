import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LogReader, LogShape, PartitionRange } from './log.js';
import { corrupt, PartitionReplay } from './replay.js';
import { ITEMS_PER_TURN, type Segment } from './segment.js';
import { segmentsIn } from './segment-files.js';
import { openSegment } from './segment-kinds.js';

/** Reads the log in a lane's directory beside the thread that writes it. */
export class SegmentedLogReader implements LogReader {
  readonly #directory: string;
  readonly #shape: LogShape;
  /** The segment that was read last: of a plain file it is found out once where its groups stand. */
  #last: { readonly path: string; readonly segment: Segment } | undefined;

  constructor(directory: string, shape: LogShape) {
    this.#directory = directory;
    this.#shape = shape;
  }

  get firstRecord(): number {
    const [oldest] = segmentsIn(this.#directory);
    if (!oldest) throw corrupt(`The log is missing in ${this.#directory}.`);
    return oldest.firstRecord;
  }

  async readPartition(range: PartitionRange): Promise<void> {
    const replay = new PartitionReplay(this.#shape, range);
    for (let number = range.after.records + 1; number <= range.to.records; ) {
      const segment = await this.#segmentOf(number);
      const end = Math.min(segment.lastRecord, range.to.records);
      if (end < number) throw corrupt(`Record ${number} is missing.`);
      for (; number <= end; number++) {
        replay.record(number, segment.record(number));
        if (number % ITEMS_PER_TURN === 0) await nextTurn();
      }
    }
    replay.end();
  }

  async close(): Promise<void> {
    await this.#last?.segment.close();
    this.#last = undefined;
  }

  /** The segment in which a record lies, if it is anywhere, as it is now. */
  async #segmentOf(number: number): Promise<Segment> {
    const file = segmentsIn(this.#directory).findLast(({ firstRecord }) => firstRecord <= number);
    if (!file) throw corrupt(`Record ${number} is missing.`);
    if (file.path !== this.#last?.path) {
      await this.close();
      const segment = await openSegment(file, this.#shape, { readOnly: true, isGrowing: true });
      this.#last = { path: file.path, segment };
    }
    this.#last.segment.refresh();
    return this.#last.segment;
  }
}
