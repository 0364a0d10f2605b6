import type { ByteWriter } from '../protocol/bytes.js';
import { writeTailHeader } from '../protocol/tail.js';
import type { Subscriber } from './subscriber.js';

/** Bytes of counters that a frame takes before the next one is begun. */
export const FRAME_BYTES = 16_384;

export interface FeedOptions {
  readonly subscriber: Subscriber;
  readonly requestId: number;
  readonly interval: number;
  readonly credit: number;
}

/** Where frames are made, of whichever feeds. */
export interface FrameWriters {
  readonly items: ByteWriter;
  readonly body: ByteWriter;
}

/** What a frame is to have. */
export interface Items {
  readonly count: number;
  /** Whether everything has been told with them. */
  readonly whole: boolean;
}

/** One reader of one partition, and what it was told. */
export abstract class Feed {
  readonly options: FeedOptions;
  /** Frames that may be sent. */
  credit: number;
  /** The position that it was told last. */
  position = 0;
  /** Whether a frame is due even where nothing has changed: the last one did not say that everything was told, or not how far that is now. */
  owes = true;
  protected begins = true;

  constructor(options: FeedOptions) {
    this.options = options;
    this.credit = options.credit;
  }

  /** Whether the whole snapshot has been published. */
  abstract get isComplete(): boolean;

  /** Whether there may be a frame to make now. */
  abstract get hasNews(): boolean;

  /** Begins anew: what was told before is void. */
  abstract restart(): void;

  /** What waits may be told: its interval is over. */
  abstract open(): void;

  /** Whether it was told of all that is published. */
  abstract get isUpToDate(): boolean;

  /** Counters that wait to be told; looked up where that has to be, so not for every frame. */
  abstract countWaiting(): number;

  /** Writes what is to be told next. */
  protected abstract write(items: ByteWriter): Items;

  /** The next frame, of what waits, valid until another one is made; undefined where nothing does. The writers are for the meantime. */
  frame({ items, body }: FrameWriters, position: number): Uint8Array | undefined {
    items.reset();
    const { count, whole } = this.write(items);
    if (count === 0 && !(whole && this.owes)) return undefined;
    body.reset();
    writeTailHeader(body, { begins: this.begins, whole, position }, count);
    body.bytes(items.view());
    this.begins = false;
    this.position = position;
    this.credit--;
    this.owes = !whole;
    return body.view();
  }
}
