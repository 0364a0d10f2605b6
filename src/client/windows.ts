import { codeOfStatus, TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { decodeWindowAnswer, encodeWindow, type WindowAnswer, type WindowMode } from '../protocol/window.js';
import { Call, type ToValue } from './call.js';
import { parseDuration } from './duration.js';
import { Position } from './position.js';
import type { ReadOptions } from './reader.js';
import { Request } from './request.js';
import type { Session } from './session.js';

export interface WindowOptions extends ReadOptions {
  /**
   * `sliding`, the default: ends now and is as long as asked for; its oldest minute, or hour, counts by the part of it that lies
   * within, and `error` bounds what that may be off. `aligned`: begins with a whole minute, or hour, and is exact.
   */
  readonly mode?: WindowMode;
}

/** What a window changed a counter by. */
export interface WindowReading<V> {
  readonly name: string;
  readonly value: V;
  /**
   * By how much the value may be off at most, where the changes of its oldest minute, or hour, were all of one sign: increments, say. 0
   * where it is exact.
   */
  readonly error: V;
  /** A second, from `from` to `to`. */
  readonly rate: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly from: number;
  readonly to: number;
  /** Whether no crash can take back what it shows. */
  readonly durable: boolean;
  readonly position: Position;
}

/** More than the head of a key has. */
const MOST_BESIDE_NAME = 16;

/** Names of one partition, and where each stands among those that were asked for. */
interface Part {
  readonly names: string[];
  readonly indexes: number[];
}

/** Reads windows: one request for each partition, and for each so many names. */
export class Windows<V extends bigint | number> {
  readonly #session: Session;
  readonly #toValue: ToValue<V>;
  readonly #timeout: number;
  readonly #partitionOf: (name: string) => number;

  constructor(session: Session, toValue: ToValue<V>, timeout: number, partitionOf: (name: string) => number) {
    this.#session = session;
    this.#toValue = toValue;
    this.#timeout = timeout;
    this.#partitionOf = partitionOf;
  }

  async read(names: readonly string[], length: string | number, options: WindowOptions): Promise<WindowReading<V>[]> {
    const milliseconds = parseDuration(length);
    const readings: WindowReading<V>[] = new Array(names.length);
    const asked = [...this.#parts(names)].map(async ([partition, part]) => {
      const answer = await this.#ask(partition, part.names, milliseconds, options);
      this.#tell(partition, part, answer, milliseconds, options, readings);
    });
    await Promise.all(asked);
    return readings;
  }

  *#parts(names: readonly string[]): Generator<[partition: number, part: Part]> {
    const { limits } = this.#session;
    const most = Math.min(limits.operations, Math.floor(limits.bytes / (limits.name + MOST_BESIDE_NAME)));
    const parts = new Map<number, Part>();
    for (const [index, name] of names.entries()) {
      const partition = this.#partitionOf(name);
      const part = parts.get(partition) ?? { names: [], indexes: [] };
      parts.set(partition, part);
      part.names.push(name);
      part.indexes.push(index);
      if (part.names.length < most) continue;
      parts.delete(partition);
      yield [partition, part];
    }
    yield* parts;
  }

  #ask(
    partition: number,
    names: readonly string[],
    milliseconds: number,
    { mode = 'sliding', read, after, ...options }: WindowOptions,
  ): Promise<WindowAnswer> {
    return new Promise((resolve, reject) => {
      const call = new Call<WindowAnswer>(resolve, reject);
      if (!this.#session.begin(call, options, this.#timeout)) return;
      const sequence = after?.sequenceOf(partition);
      const wait = after && sequence !== undefined ? { after: { epoch: after.epoch, sequence } } : undefined;
      const flags = (read === 'latest' ? Flag.LATEST : 0) | (wait ? Flag.AFTER : 0);
      const body = new ByteWriter();
      encodeWindow(body, { ...wait, mode, milliseconds, keys: names.map((name) => ({ name })) });
      const request = new Request({ opcode: Opcode.WINDOW, flags, partition }, body.view(), {
        onAnswer: (answer) => call.resolve(decodeWindowAnswer(answer)),
        onError: (error) => call.reject(error),
        isWanted: () => !call.isSettled,
      });
      this.#session.laneOf(partition).submit(request);
    });
  }

  #tell(
    partition: number,
    { names, indexes }: Part,
    { position, flushed, now, from, bucket, sums }: WindowAnswer,
    milliseconds: number,
    { mode, read }: WindowOptions,
    readings: WindowReading<V>[],
  ): void {
    const asOf = new Position(this.#session.epoch, new Map([[partition, position]]));
    const durable = read !== 'latest' || position <= flushed;
    const begin = mode === 'aligned' ? from : Math.max(0, now - milliseconds);
    for (const [i, found] of sums.entries()) {
      const name = names[i] as string;
      if (found.sum === undefined) throw new TallystickError(codeOfStatus(found.status), `The window of "${name}".`);
      const within = share(found.oldest, from + bucket - begin, bucket);
      const value = found.sum + within;
      const error = mode === 'aligned' ? 0n : largest(within, found.oldest - within);
      readings[indexes[i] as number] = {
        name,
        value: this.#toValue(value),
        error: this.#toValue(begin === from ? 0n : error),
        rate: (Number(value) * 1_000) / Math.max(1, now - begin),
        from: begin,
        to: now,
        durable,
        position: asOf,
      };
    }
  }
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
