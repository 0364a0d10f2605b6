import { TallystickError } from '../errors.js';
import { decodeHistoryAnswer, encodeHistory, type HistoryAnswer, type HistoryQuestion } from '../protocol/history.js';
import { Opcode } from '../protocol/opcode.js';
import type { Key } from '../protocol/request.js';
import type { Bucket, Resolution } from '../series/bucket.js';
import { range, series } from '../series/series.js';
import { areWholeHours, type Step, stepsOf } from '../series/steps.js';
import type { ToValue } from './call.js';
import { type Instant, millisecondsOf } from './instant.js';
import { askParts, type PartAnswer, partsOf, type Question } from './parts.js';
import type { Position } from './position.js';
import type { ReadOptions } from './reader.js';
import type { Session } from './session.js';

export interface RangeOptions extends ReadOptions {
  readonly from: Instant;
  /** Is not in it. By default now, by this machine's clock. */
  readonly to?: Instant;
}

export interface SeriesOptions extends RangeOptions {
  /** How long a step is: "5m", "1h", "1d", "7d". */
  readonly step: string;
  /** Of the IANA time zone database: where days begin. By default UTC. */
  readonly zone?: string;
}

/** What a counter changed by in a time. */
export interface HistoryPoint<V> {
  /** Milliseconds since 1970, as all here; `to` is not in it. Wider than what was asked for where no finer time is kept. */
  readonly from: number;
  readonly to: number;
  readonly value: V;
  /** The coarsest of what it was added up from. */
  readonly resolution: Resolution;
  /** False where a bucket lies across one of its ends, and counts where it begins: an hour of UTC across midnight in Kolkata, a minute around an instant within it. */
  readonly exact: boolean;
}

interface Answered {
  /** Whether no crash can take back what it shows. */
  readonly durable: boolean;
  readonly position: Position;
}

/** The points follow each other without a gap. */
export interface Series<V> extends Answered {
  readonly name: string;
  readonly points: readonly HistoryPoint<V>[];
}

export interface RangeReading<V> extends HistoryPoint<V>, Answered {
  readonly name: string;
}

/** The value that a counter had. */
export interface PastValue<V> extends Answered {
  readonly name: string;
  readonly value: V;
  /** The instant of which it is: that asked for, or the next of which it is known. */
  readonly at: number;
  readonly exact: boolean;
  readonly resolution: Resolution;
}

/** Reads histories. */
export class HistoryReader<V extends bigint | number> {
  readonly #session: Session;
  readonly #toValue: ToValue<V>;
  readonly #timeout: number;

  constructor(session: Session, toValue: ToValue<V>, timeout: number) {
    this.#session = session;
    this.#toValue = toValue;
    this.#timeout = timeout;
  }

  async series(name: string, options: SeriesOptions): Promise<Series<V>> {
    const { step, zone = 'UTC' } = options;
    const steps = stepsOf({ ...this.#rangeOf(options), step: parseStep(step), zone });
    const { answer, durable, position } = await this.#ask(name, questionOf(steps.edges), options);
    const points = series(bucketsOf(answer), steps).map(({ start, end, sum, resolution, exact }) => ({
      ...{ from: start, to: end, value: this.#toValue(sum), resolution, exact },
    }));
    return { name, points, durable, position };
  }

  async range(name: string, options: RangeOptions): Promise<RangeReading<V>> {
    const { from, to } = this.#rangeOf(options);
    const { answer, durable, position } = await this.#ask(name, questionOf([from, to]), options);
    const { start, end, sum, resolution, exact } = range(bucketsOf(answer), from, to);
    return { name, from: start, to: end, value: this.#toValue(sum), resolution, exact, durable, position };
  }

  async valueAt(name: string, time: Instant, options: ReadOptions): Promise<PastValue<V>> {
    const asked = millisecondsOf(time);
    const { answer, durable, position } = await this.#ask(name, { kind: 'value', at: asked }, options);
    if (answer.found.kind !== 'value') throw new TallystickError('BAD_REQUEST', 'No value was answered.');
    const { value, at, resolution } = answer.found;
    return { name, value: this.#toValue(value), at, exact: at === asked, resolution, durable, position };
  }

  #rangeOf({ from, to }: RangeOptions): { readonly from: number; readonly to: number } {
    const range = {
      from: millisecondsOf(from),
      to: to === undefined ? this.#session.clock.wallMilliseconds() : millisecondsOf(to),
    };
    if (range.from < range.to) return range;
    throw new TallystickError('INVALID_ARGUMENT', 'The range ends before it begins.');
  }

  async #ask(name: string, asked: HistoryQuestion, options: ReadOptions): Promise<PartAnswer<HistoryAnswer>> {
    const question: Question<HistoryAnswer> = {
      opcode: Opcode.HISTORY,
      encode: (writer, { after, keys }) =>
        encodeHistory(writer, { ...(after && { after }), question: asked, key: keys[0] as Key }),
      decode: decodeHistoryAnswer,
    };
    const parts = partsOf(this.#session, [name], 1);
    const [found] = await askParts(this.#session, parts, question, options, this.#timeout);
    return found as PartAnswer<HistoryAnswer>;
  }
}

/** The buckets from the first edge to the last one; of whole hours without their minutes, of which 30 days have 43,200. */
function questionOf(edges: readonly number[]): HistoryQuestion {
  const kind = areWholeHours(edges) ? 'hours' : 'buckets';
  return { kind, from: edges[0] as number, to: edges.at(-1) as number };
}

function bucketsOf({ found }: HistoryAnswer): readonly Bucket[] {
  if (found.kind === 'value') throw new TallystickError('BAD_REQUEST', 'No buckets were answered.');
  if (found.kind === 'buckets') return found.buckets;
  return found.buckets.map((bucket) => (bucket.resolution === 'minute' ? { ...bucket, span: 'hour' } : bucket));
}

const STEP_UNITS = { m: 'minute', h: 'hour', d: 'day' } as const;

/** @throws TallystickError INVALID_ARGUMENT */
function parseStep(text: string): Step {
  const [, count = '', unit = ''] = /^([1-9][0-9]{0,5})([mhd])$/.exec(text) ?? [];
  if (unit) return { count: Number(count), unit: STEP_UNITS[unit as keyof typeof STEP_UNITS] };
  throw new TallystickError('INVALID_ARGUMENT', `"${text}" is no step such as "5m", "1h", "1d" or "7d".`);
}
