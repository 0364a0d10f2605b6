import { codeOfStatus, TallystickError } from '../errors.js';
import { Opcode } from '../protocol/opcode.js';
import {
  type BucketSums,
  decodeWindowAnswer,
  encodeWindow,
  oldestBucket,
  type WindowAnswer,
  type WindowMode,
  type WindowRequest,
} from '../protocol/window.js';
import type { ToValue } from './call.js';
import { parseDuration } from './duration.js';
import { askParts, type PartAnswer, partsOf, type Question } from './parts.js';
import type { Position } from './position.js';
import type { ReadOptions } from './reader.js';
import type { Session } from './session.js';

export interface WindowOptions extends ReadOptions {
  /**
   * `sliding`, the default: ends now and is as long as asked for; its oldest second, minute or hour counts by the part of it that lies
   * within, and `error` bounds what that may be off. `aligned`: begins with a whole one, and is exact.
   */
  readonly mode?: WindowMode;
  /**
   * Whether the reading also has what increased and what decreased the counter, and both together: throws NOT_TRACKED where its class does not
   * keep that (`gross`).
   */
  readonly gross?: boolean;
}

/** What a window changed a counter by. */
export interface WindowReading<V> {
  readonly name: string;
  readonly value: V;
  /**
   * With `gross`: what increased the counter, what decreased it, and the sum of the two, none of which is negative. The value is what increased it
   * less what decreased it. An operation counts as the server applied it: what a client has summed up before it sent it is one.
   */
  readonly increases?: V;
  readonly decreases?: V;
  readonly gross?: V;
  /**
   * By how much the value may be off at most, where the changes of its oldest second, minute or hour were all of one sign: increments, say.
   * With `gross` whatever they were, and it holds for those sums too. 0 where it is exact.
   */
  readonly error: V;
  /** A second, from `from` to `to`: of the value, with `gross` of that. */
  readonly rate: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly from: number;
  readonly to: number;
  /** Whether no crash can take back what it shows. */
  readonly durable: boolean;
  readonly position: Position;
}

/** Names of a request: a name has at most 1,024 bytes, so that they fit into a frame. */
const MOST_NAMES = 1_000;

/** Reads windows. */
export class Windows<V extends bigint | number> {
  readonly #session: Session;
  readonly #toValue: ToValue<V>;
  readonly #timeout: number;

  constructor(session: Session, toValue: ToValue<V>, timeout: number) {
    this.#session = session;
    this.#toValue = toValue;
    this.#timeout = timeout;
  }

  async read(names: readonly string[], length: string | number, options: WindowOptions): Promise<WindowReading<V>[]> {
    const milliseconds = parseDuration(length);
    const { mode = 'sliding' } = options;
    const gross = options.gross ? { gross: true as const } : undefined;
    const parts = partsOf(this.#session, names, MOST_NAMES);
    const question: Question<WindowAnswer> = {
      opcode: Opcode.WINDOW,
      encode: (writer, asked) => encodeWindow(writer, { ...asked, mode, ...gross, milliseconds }),
      decode: decodeWindowAnswer,
    };
    const readings: WindowReading<V>[] = new Array(names.length);
    for (const answer of await askParts(this.#session, parts, question, options, this.#timeout)) {
      this.#tell(answer, { mode, milliseconds }, readings);
    }
    return readings;
  }

  #tell(
    { part, answer, durable, position }: PartAnswer<WindowAnswer>,
    window: Pick<WindowRequest, 'mode' | 'milliseconds'>,
    readings: WindowReading<V>[],
  ): void {
    const { now, sums } = answer;
    if (sums.length !== part.names.length) throw new TallystickError('BAD_REQUEST', `${sums.length} sums.`);
    for (const [i, found] of sums.entries()) {
      const name = part.names[i] as string;
      if (found.sum === undefined) throw new TallystickError(codeOfStatus(found.status), `The window of "${name}".`);
      const from = oldestBucket(window, now, found.bucket);
      const begin = window.mode === 'aligned' ? from : Math.max(0, now - window.milliseconds);
      const { value, error, ...gross } = sumsWithin(found, from + found.bucket - begin, found.bucket);
      readings[part.indexes[i] as number] = {
        name,
        value: this.#toValue(value),
        ...Object.fromEntries(Object.entries(gross).map(([key, sum]) => [key, this.#toValue(sum)])),
        error: this.#toValue(error),
        rate: (Number(gross.gross ?? value) * 1_000) / Math.max(1, now - begin),
        from: begin,
        to: now,
        durable,
        position,
      };
    }
  }
}

type ToldSums = Pick<WindowReading<bigint>, 'value' | 'increases' | 'decreases' | 'gross' | 'error'>;

/** The sums of a window within whose oldest bucket, `whole` milliseconds, so many lie, and by how much they may be off. */
export function sumsWithin(
  { sum, oldest, decreases }: BucketSums & { readonly decreases?: BucketSums },
  milliseconds: number,
  whole: number,
): ToldSums {
  const part = (bucket: bigint) => share(bucket, milliseconds, whole);
  const isWhole = milliseconds === whole;
  const value = sum + part(oldest);
  if (!decreases) return { value, error: isWhole ? 0n : largest(part(oldest), oldest - part(oldest)) };
  const lost = -decreases.sum - part(decreases.oldest);
  const [down, up] = [-decreases.oldest, oldest - decreases.oldest];
  const within = part(oldest) + 2n * part(down);
  // The value lies between -down and up, the gross sum between 0 and both; each share is rounded by itself.
  const [ofValue, ofGross] = [largest(part(oldest) + down, up - part(oldest)), largest(within, up + down - within)];
  const error = isWhole ? 0n : largest(ofValue, ofGross);
  return { value, increases: value + lost, decreases: lost, gross: value + 2n * lost, error };
}

/** The part of a sum that falls to a part of its time, rounded to the nearest. */
function share(sum: bigint, part: number, whole: number): bigint {
  const doubled = (2n * sum * BigInt(part)) / BigInt(whole);
  return (doubled + (doubled < 0n ? -1n : 1n)) / 2n;
}

function largest(one: bigint, other: bigint): bigint {
  const [a, b] = [one < 0n ? -one : one, other < 0n ? -other : other];
  return a > b ? a : b;
}
