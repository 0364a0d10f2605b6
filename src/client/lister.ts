import { TallystickError } from '../errors.js';
import { ByteWriter, encodeUtf8 } from '../protocol/bytes.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { encodeList } from '../protocol/request.js';
import { decodeListAnswer, type ListAnswer } from '../protocol/response.js';
import { Call, type CallOptions, type ToValue } from './call.js';
import { Request } from './request.js';
import type { Session } from './session.js';

export interface ListOptions extends CallOptions {
  /** The most counters; all unless given. */
  readonly limit?: number;
  /** What is shown: what is flushed (the default), or everything applied so far. */
  readonly read?: 'durable' | 'latest';
}

export interface ListedCounter<V> {
  readonly name: string;
  readonly value: V;
}

export interface ListPageOptions extends CallOptions {
  /** Where the page before said that it goes on. */
  readonly cursor?: string;
  /** The most counters; 100 unless given, 1,000 at most. */
  readonly limit?: number;
  readonly read?: 'durable' | 'latest';
}

/** Some counters of a listing. There may be none though more follow. */
export interface ListedPage<V> {
  readonly counters: readonly ListedCounter<V>[];
  /** For the next page; absent on the last one. */
  readonly cursor?: string;
}

/** What one request asks for at most; the server has a bound of its own. */
const MOST_COUNTERS = 1000;

const DEFAULT_PAGE = 100;
/** A page asks so often at most, as few names of many may have the prefix. */
const MOST_ASKED = 64;

/** The next counters of one partition. */
interface Page {
  readonly partition: number;
  readonly answer: ListAnswer;
}

interface PendingPage {
  readonly call: Call<Page>;
  readonly page: Promise<Page>;
}

/**
 * Lists counters. All partitions are asked at a time, each for one page ahead of what the caller has taken, so that the
 * listing neither waits for every answer nor holds more than a page of each.
 */
export class Lister<V extends bigint | number> {
  readonly #session: Session;
  readonly #toValue: ToValue<V>;
  readonly #timeout: number;

  constructor(session: Session, toValue: ToValue<V>, timeout: number) {
    this.#session = session;
    this.#toValue = toValue;
    this.#timeout = timeout;
  }

  async *list(prefix: string, options: ListOptions): AsyncGenerator<ListedCounter<V>, undefined, undefined> {
    const { partitions, epoch } = this.#session;
    const bytes = this.#prefix(prefix);
    let left = mostOf(options);
    const pending = new Map<number, PendingPage>();
    const ask = (partition: number, cursor: number) =>
      pending.set(partition, this.#ask(partition, { prefix: bytes, cursor, limit: MOST_COUNTERS }, options));
    try {
      for (let partition = 0; partition < partitions; partition++) ask(partition, 0);
      while (pending.size > 0) {
        const { partition, answer } = await Promise.race([...pending.values()].map(({ page }) => page));
        // in another life of the directory the cursor, and half of what was told, mean nothing
        if (this.#session.epoch !== epoch) throw new TallystickError('EPOCH_MISMATCH');
        pending.delete(partition);
        if (answer.cursor !== 0 && left > answer.counters.length) ask(partition, answer.cursor);
        for (const { name, value } of answer.counters) {
          yield { name, value: this.#toValue(value) };
          if (--left === 0) return;
        }
      }
    } finally {
      for (const { call } of pending.values()) call.reject(new TallystickError('ABORTED'));
    }
  }

  /** One page, the partitions in their order. */
  async page(prefix: string, options: ListPageOptions): Promise<ListedPage<V>> {
    const { partitions, epoch } = this.#session;
    const bytes = this.#prefix(prefix);
    const limit = options.limit ?? DEFAULT_PAGE;
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= MOST_COUNTERS))
      throw new TallystickError('INVALID_ARGUMENT', `A limit of ${limit}.`);
    let { partition, cursor } = options.cursor === undefined ? FIRST : parseCursor(options.cursor, epoch, partitions);
    const counters: ListedCounter<V>[] = [];
    for (let asked = 0; asked < MOST_ASKED && partition < partitions && counters.length < limit; asked++) {
      const request = { prefix: bytes, cursor, limit: limit - counters.length };
      const { answer } = await this.#ask(partition, request, options).page;
      if (this.#session.epoch !== epoch) throw new TallystickError('EPOCH_MISMATCH');
      for (const { name, value } of answer.counters) counters.push({ name, value: this.#toValue(value) });
      cursor = answer.cursor;
      if (cursor === 0) partition++;
    }
    if (partition === partitions) return { counters };
    return { counters, cursor: `${epoch.toString(16)}-${partition}-${cursor}` };
  }

  #prefix(prefix: string): Uint8Array {
    const bytes = encodeUtf8(prefix);
    if (bytes.length <= this.#session.limits.name) return bytes;
    throw new TallystickError('NAME_INVALID', `A prefix of ${bytes.length} bytes.`);
  }

  #ask(partition: number, request: Parameters<typeof encodeList>[1], options: ListOptions): PendingPage {
    let call!: Call<Page>;
    const page = new Promise<Page>((resolve, reject) => {
      call = new Call(resolve, reject);
      if (!this.#session.begin(call, options, this.#timeout)) return;
      const body = new ByteWriter();
      encodeList(body, request);
      const flags = options.read === 'latest' ? Flag.LATEST : 0;
      this.#session.laneOf(partition).submit(
        new Request({ opcode: Opcode.LIST, flags, partition }, body.view(), {
          onAnswer: (answer) => call.resolve({ partition, answer: decodeListAnswer(answer) }),
          onError: (error) => call.reject(error),
          isWanted: () => !call.isSettled,
        }),
      );
    });
    // Who races for the pages hears of the first failure; those of the others then interest nobody.
    page.catch(() => undefined);
    return { call, page };
  }
}

const FIRST = { partition: 0, cursor: 0 };

/** Throws INVALID_ARGUMENT for what no page said, EPOCH_MISMATCH where it was of another life of the directory. */
function parseCursor(text: string, epoch: number, partitions: number) {
  const [, life = '', partition = '', cursor = ''] = /^([0-9a-f]{1,8})-([0-9]{1,5})-([0-9]{1,10})$/.exec(text) ?? [];
  const isCursor = life !== '' && Number(partition) < partitions && Number(cursor) <= U32_MAX;
  if (!isCursor) throw new TallystickError('INVALID_ARGUMENT', `"${text}" is no cursor.`);
  if (Number.parseInt(life, 16) !== epoch) throw new TallystickError('EPOCH_MISMATCH');
  return { partition: Number(partition), cursor: Number(cursor) };
}

const U32_MAX = 0xffff_ffff;

function mostOf({ limit = Number.POSITIVE_INFINITY }: ListOptions): number {
  if (limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit > 0)) return limit;
  throw new TallystickError('INVALID_ARGUMENT', `A limit of ${limit}.`);
}
