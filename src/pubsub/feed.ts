import { TallystickError } from '../errors.js';
import type { ByteWriter } from '../protocol/bytes.js';
import { writeTailHeader } from '../protocol/tail.js';
import type { Subscriber } from './subscriber.js';

/** Bytes of counters that a frame takes before the next one is begun. */
export const FRAME_BYTES = 16_384;
/** What is sent to a reader before it says the first time that it has taken anything: there may be very many that never will. A client with the default window says so by then. */
const FIRST_BYTES = 8 * FRAME_BYTES;

export interface FeedOptions {
  readonly subscriber: Subscriber;
  readonly requestId: number;
  readonly interval: number;
  /** How many frames it may be ahead of what its reader has taken. */
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
  /** What they are as of, where that is not up to where the feed has been given all. */
  readonly position?: number;
}

/** One reader of one partition, and what it was told. */
export abstract class Feed {
  readonly options: FeedOptions;
  /** Frames that were sent, and those of them that its reader says it has taken. */
  #sent = 0;
  #taken = 0;
  /** Bytes of them that were sent before it said so the first time. */
  #firstBytes = 0;
  /** The position that it was told last. */
  position = 0;
  /** The position that its reader is at: it was told everything up to there, and nothing since. */
  wholeAt: number | undefined;
  /** Whether a frame is due even where nothing has changed: the last one did not say that everything was told, or not how far that is now. */
  owes = true;
  protected begins = true;

  constructor(options: FeedOptions) {
    this.options = options;
  }

  /** Whether its reader has said that it has taken anything. */
  get hasSaid(): boolean {
    return this.#taken > 0;
  }

  /** Whether it is sent nothing more before its reader says something. */
  get waitsForWord(): boolean {
    return !this.hasSaid && this.#firstBytes >= FIRST_BYTES;
  }

  /** Frames that may be sent. An absolute figure, as QUIC has it (RFC 9000, section 4.1): nobody is ahead by more than its window, whatever was said how often. */
  get credit(): number {
    if (this.waitsForWord) return 0;
    return this.options.credit - (this.#sent - this.#taken);
  }

  /** Its reader has taken so many frames in all. @throws TallystickError BAD_REQUEST where so many were not sent, or more were taken before */
  takenTo(taken: number): void {
    if (taken > this.#sent || taken < this.#taken) {
      throw new TallystickError(
        'BAD_REQUEST',
        `Of a feed ${this.#sent} frames were sent and ${this.#taken} taken, not ${taken}.`,
      );
    }
    this.#taken = taken;
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

  /** The next frame, of what waits, valid until another one is made; undefined where nothing does. `given`: up to where the feed has been given all. The writers are for the meantime. */
  frame({ items, body }: FrameWriters, given: number): Uint8Array | undefined {
    items.reset();
    const { count, whole, position = given } = this.write(items);
    if (count === 0 && !(whole && this.owes)) return undefined;
    body.reset();
    writeTailHeader(body, { begins: this.begins, whole, position }, count);
    body.bytes(items.view());
    if (!this.hasSaid) this.#firstBytes += body.length;
    this.begins = false;
    this.position = position;
    this.wholeAt = whole ? position : undefined;
    this.#sent++;
    this.owes = !whole;
    return body.view();
  }
}
