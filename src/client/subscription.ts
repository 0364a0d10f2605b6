import { TallystickError } from '../errors.js';
import { encodeUtf8 } from '../protocol/bytes.js';
import { LEAST_INTERVAL, MOST_INTERVAL, type Told } from '../protocol/tail.js';
import type { ToValue } from './call.js';
import { EventStream } from './event-stream.js';
import { DEFAULT_FRAMES, Feed, type FeedFrame, type Followed, type Place } from './feed.js';
import { Position } from './position.js';
import type { Session } from './session.js';

export interface SubscribeOptions {
  /** What is followed: these names, those that begin with a prefix, or all. One of the three. */
  readonly names?: readonly string[];
  readonly prefix?: string;
  readonly all?: true;
  /** Milliseconds for which changes of a counter become one: 10 to 60,000, 100 unless given. 0: each group of the log is told as it is flushed. */
  readonly interval?: number;
  /** The most frames of a partition, of 16 KB each, that wait here for who reads them: 1 to 16, 16 unless given. What is beyond them the server sums up. */
  readonly frames?: number;
  /** Aborting it ends the subscription with ABORTED. */
  readonly signal?: AbortSignal;
  /** Go on from the `position` of another subscription to the same, in this process or another, instead of with a snapshot. */
  readonly from?: Position;
}

/** A counter, and what became of it. What it shows is flushed. */
export interface Update<V> {
  /** `value`: as it is told first. `change`: it has changed since it was told. */
  readonly kind: 'value' | 'change';
  readonly name: string;
  /** 0 where it does not exist. */
  readonly value: V;
  /** Whether there is such a counter; false also where it was deleted. */
  readonly exists: boolean;
  /** The value less the one told before; of `value` 0. */
  readonly delta: V;
  /** Whoever goes on from here misses nothing. What came behind the last update that has another position comes again then. */
  readonly position: Position;
}

/** What was told of the names of a partition (`client.partitionOf`) is void, as changes may have been missed: their values come anew. */
export interface Reset {
  readonly kind: 'reset';
  readonly partition: number;
  /** The names that are meant, where names are followed; else all that begin with the prefix. */
  readonly names?: readonly string[];
  readonly position: Position;
}

export type SubscriptionEvent<V> = Update<V> | Reset;

/** Called with one event at a time; the next waits for what it returns. */
export interface SubscriptionHandler<V> {
  onChange(update: Update<V>): unknown;
  onReset?(reset: Reset): unknown;
}

const DEFAULT_INTERVAL = 100;
const MOST_NAMES_OF_A_FEED = 10_000;
/** What a key takes besides its name. */
const HEAD_BYTES = 4;

interface Source {
  readonly feed: Feed;
  /** How far what it told has been read. */
  place: Place | undefined;
  /** Whether anything was told that a snapshot would make void. */
  hasTold: boolean;
}

/** A frame that is being read. */
interface Reading extends FeedFrame {
  next: number;
  isBegun: boolean;
}

/** The changes of counters, for as long as someone reads them. Where nobody does, the server sums them up. */
export class Subscription<V extends bigint | number> extends EventStream<SubscriptionEvent<V>> {
  readonly #session: Session;
  readonly #toValue: ToValue<V>;
  readonly #sources = new Map<Feed, Source>();
  readonly #frames: Reading[] = [];
  #position: Position;
  readonly #onEnded = (error: TallystickError): void => this.fail(error);

  /** Use `client.subscribe`. */
  constructor(session: Session, toValue: ToValue<V>, partitionOf: (name: string) => number, options: SubscribeOptions) {
    super();
    if (session.closedBy) throw new TallystickError('CLOSED');
    const { interval = DEFAULT_INTERVAL, frames = DEFAULT_FRAMES, from, signal } = options;
    if (interval !== 0 && !(Number.isInteger(interval) && interval >= LEAST_INTERVAL && interval <= MOST_INTERVAL)) {
      throw new TallystickError('INVALID_ARGUMENT', `An interval of ${interval} ms.`);
    }
    if (!(Number.isInteger(frames) && frames >= 1 && frames <= DEFAULT_FRAMES))
      throw new TallystickError('INVALID_ARGUMENT', `${frames} frames.`);
    this.#session = session;
    this.#toValue = toValue;
    this.#position = new Position(session.epoch, new Map());
    for (const [partition, followed] of [...partsOf(options, session, partitionOf)]) {
      const sequence = from?.sequenceOf(partition);
      const place = from && sequence !== undefined ? { epoch: from.epoch, sequence } : undefined;
      const feed: Feed = new Feed({
        lane: session.laneOf(partition),
        ...{ partition, followed, interval, frames, from: place },
        onFrame: (frame) => this.#take(frame),
        onFailed: (error) => this.fail(error),
      });
      this.#sources.set(feed, { feed, place, hasTold: from !== undefined });
    }
    this.#moved();
    session.followers.add(this.#onEnded);
    this.endBy(signal);
  }

  /** How far everything that was read goes: what `from` of another subscription takes. It lacks partitions whose first values have not been read. */
  get position(): Position {
    return this.#position;
  }

  /** Calls the handler with all events, until the subscription is closed. Rejects with what ended it otherwise, also with what the handler threw. */
  async run({ onChange, onReset }: SubscriptionHandler<V>): Promise<void> {
    for await (const event of this) await (event.kind === 'reset' ? onReset?.(event) : onChange(event));
  }

  #take(frame: FeedFrame): void {
    this.#frames.push({ ...frame, next: 0, isBegun: false });
    this.serve();
  }

  protected override release(): void {
    this.#session.followers.delete(this.#onEnded);
    for (const { feed } of this.#sources.values()) feed.close();
  }

  protected override take(): SubscriptionEvent<V> | undefined {
    for (let frame = this.#frames[0]; frame; frame = this.#frames[0]) {
      const { answer } = frame;
      const source = this.#sources.get(frame.feed) as Source;
      if (!frame.isBegun) {
        frame.isBegun = true;
        if (answer.begins && this.#begins(source)) {
          const { partition, followed } = frame.feed;
          const names = followed.kind === 'names' ? { names: followed.names } : {};
          return { kind: 'reset', partition, ...names, position: this.#position };
        }
      }
      const told = answer.told[frame.next++];
      if (frame.next >= answer.told.length) this.#finish(source, frame);
      if (told) {
        source.hasTold = true;
        return this.#updateOf(told);
      }
    }
    return undefined;
  }

  /** A snapshot begins: whether that makes anything void. */
  #begins(source: Source): boolean {
    const { hasTold } = source;
    source.place = undefined;
    source.hasTold = false;
    this.#moved();
    return hasTold;
  }

  #finish(source: Source, { feed, answer, place }: Reading): void {
    this.#frames.shift();
    feed.read();
    if (!answer.whole) return;
    source.place = place;
    this.#moved();
  }

  #moved(): void {
    const { epoch } = this.#session;
    const sequences = new Map<number, number>();
    const unknown = new Set<number>();
    for (const { feed, place } of this.#sources.values()) {
      const { partition } = feed;
      // Where the names of a partition have several feeds, the last of them counts
      if (place?.epoch !== epoch) unknown.add(partition);
      else sequences.set(partition, Math.min(place.sequence, sequences.get(partition) ?? place.sequence));
    }
    for (const partition of unknown) sequences.delete(partition);
    this.#position = new Position(epoch, sequences);
  }

  /** Throws VALUE_UNSAFE, which ends the subscription. */
  #updateOf(told: Told): Update<V> | undefined {
    try {
      return {
        kind: 'delta' in told ? 'change' : 'value',
        name: told.name,
        value: this.#toValue('value' in told ? told.value : 0n),
        exists: 'value' in told,
        delta: this.#toValue('delta' in told ? told.delta : 0n),
        position: this.#position,
      };
    } catch (error) {
      this.#frames.length = 0;
      this.fail(error as TallystickError);
      return undefined;
    }
  }
}

/** What each feed follows. @throws TallystickError INVALID_ARGUMENT, NAME_INVALID */
function* partsOf(
  { names, prefix, all }: SubscribeOptions,
  { partitions, limits }: Session,
  partitionOf: (name: string) => number,
): Generator<readonly [number, Followed]> {
  if ([names, prefix, all].filter((way) => way !== undefined).length !== 1 || names?.length === 0) {
    throw new TallystickError('INVALID_ARGUMENT', 'Names, a prefix or all are followed.');
  }
  if (!names) {
    if (encodeUtf8(prefix ?? '').length > limits.name)
      throw new TallystickError('NAME_INVALID', 'The prefix is too long.');
    for (let partition = 0; partition < partitions; partition++)
      yield [partition, { kind: 'prefix', prefix: prefix ?? '' }];
    return;
  }
  const byPartition = new Map<number, { names: string[]; bytes: number }>();
  for (const name of new Set(names)) {
    const partition = partitionOf(name);
    const bytes = encodeUtf8(name).length + HEAD_BYTES;
    const open = byPartition.get(partition);
    if (open && open.names.length < MOST_NAMES_OF_A_FEED && open.bytes + bytes <= limits.bytes) {
      open.names.push(name);
      open.bytes += bytes;
      continue;
    }
    if (open) yield [partition, { kind: 'names', names: open.names }];
    byPartition.set(partition, { names: [name], bytes });
  }
  for (const [partition, open] of byPartition) yield [partition, { kind: 'names', names: open.names }];
}
