import type { Clock } from '../clock.js';
import { TallystickError } from '../errors.js';
import { type Fineness, type OpenHour, withPending } from '../history/bucket.js';
import type { History } from '../history/history.js';
import { decodeEmitted } from '../partition/emitted.js';
import type { Partition, TrackedCounter } from '../partition/partition.js';
import { ByteReader, ByteWriter } from '../protocol/bytes.js';
import { type HistoryFound, type HistoryQuestion, readQuestion, writeFound } from '../protocol/history.js';
import { MAX_TIME } from '../protocol/request.js';
import { type Bucket, endOf } from '../series/bucket.js';
import { range, valueAt } from '../series/series.js';
import type { Days } from './days.js';
import type { HistoryFeed } from './history-feed.js';

/** What an answer may hold: about 14 days of minutes, and days for ever. */
const MOST_BUCKETS = 20_000;

export interface HistoryReadsParts {
  readonly history: History;
  readonly feed: HistoryFeed;
  readonly clock: Clock;
  readonly days: Days;
}

/** Answers HISTORY from what is stored, what waits to be, and the hour that is open in the kernel: as of the partition's sequence. */
export class HistoryReads {
  readonly #parts: HistoryReadsParts;
  readonly #writer = new ByteWriter(4_096);

  constructor(parts: HistoryReadsParts) {
    this.#parts = parts;
  }

  /**
   * The answer to the body of a HISTORY, behind what it waits for; a view that is valid until the next one.
   *
   * @throws TallystickError BAD_REQUEST, NOT_TRACKED, ID_UNKNOWN; INTERNAL where what is stored is damaged
   */
  answer(number: number, partition: Partition, body: Uint8Array): Uint8Array {
    const reader = new ByteReader(body);
    const question = readQuestion(reader);
    const tracked = partition.tracked(body.subarray(reader.offset));
    const open = [...decodeEmitted(partition.emitted)].flatMap(({ hour, minutes }) =>
      minutes ? [{ hour, minutes }] : [],
    );
    const writer = this.#writer;
    writer.reset();
    writeFound(writer, this.#parts.clock.wallMilliseconds(), this.#find(question, number, tracked, open));
    return writer.view();
  }

  #find(question: HistoryQuestion, number: number, tracked: TrackedCounter, open: readonly OpenHour[]): HistoryFound {
    if (question.kind !== 'value') {
      const { kind, from, to } = question;
      const buckets = this.#buckets(number, tracked, open, from, to, kind === 'hours' ? 'hour' : 'minute');
      if (buckets.length <= MOST_BUCKETS) return { kind, buckets };
      throw new TallystickError('BAD_REQUEST', `The range has more than ${MOST_BUCKETS} buckets. Ask for less of it.`);
    }
    const { at } = question;
    if (this.#parts.days.has(tracked.classNumber)) return this.#findInDay(at, number, tracked, open);
    const found = valueAt(tracked.value, this.#buckets(number, tracked, open, at, MAX_TIME), at);
    return { kind: 'value', value: found.value, at: found.at, resolution: found.resolution };
  }

  /** The value of a counter that begins at 0 with every day: what was counted from the beginning of the day on. */
  #findInDay(at: number, number: number, tracked: TrackedCounter, open: readonly OpenHour[]): HistoryFound {
    const { begin, end } = this.#parts.days.dayOf(tracked.classNumber, at);
    const found = range(this.#buckets(number, tracked, open, begin, at), begin, at);
    if (found.start < begin || found.end > end)
      throw new TallystickError('NOT_TRACKED', 'What is kept of that day lies across its midnight.');
    return { kind: 'value', value: found.sum, at: found.end, resolution: found.resolution };
  }

  /** The buckets that reach into `[from, to)`. */
  #buckets(
    number: number,
    { counter, since: classSince }: TrackedCounter,
    open: readonly OpenHour[],
    from: number,
    to: number,
    finest: Fineness = 'minute',
  ): Bucket[] {
    const { history, feed } = this.#parts;
    const key = counter && { partition: number, ...counter };
    const since = Math.max(
      classSince,
      sound(() => (key ? history.sinceOf(key) : history.since(number))),
    );
    if (from < since) {
      throw new TallystickError('NOT_TRACKED', `Its history is known from ${new Date(since).toISOString()} on.`);
    }
    if (!key) return [];
    const kept = sound(() => history.read(key, from, to, finest));
    return withPending(kept, feed.rowsOf(key), open, finest).filter(
      (bucket) => bucket.start < to && endOf(bucket) > from,
    );
  }
}

/** Damage of what is stored has a code that no client knows: it is told as a defect that the server's own check explains. */
function sound<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TallystickError)) throw error;
    throw new TallystickError('INTERNAL', `${error.detail} See 'tallystick verify'.`, {
      cause: error,
      outcome: 'refused',
    });
  }
}
