import type { TallystickError } from '../errors.js';
import { ByteWriter, readU32 } from '../protocol/bytes.js';
import { encodeFrame } from '../protocol/frame.js';
import { Flag, Opcode } from '../protocol/opcode.js';
import { decodeTailAnswer, encodeTail, type TailAnswer, type TailRequest, type Told } from '../protocol/tail.js';
import { REQUEST_ID_OFFSET } from './connection.js';
import type { Lane } from './lane.js';
import { Request, type Submission } from './request.js';

/** Frames that may wait here for who reads them, unless it is said. */
export const DEFAULT_FRAMES = 16;

/** What one feed follows: names or a prefix of one partition. */
export type Followed =
  | { readonly kind: 'names'; readonly names: readonly string[] }
  | { readonly kind: 'prefix'; readonly prefix: string };

/** A position of one partition. */
export interface Place {
  readonly epoch: number;
  readonly sequence: number;
}

/** A frame, and the position that it comes to. */
export interface FeedFrame {
  readonly feed: Feed;
  readonly answer: TailAnswer;
  readonly place: Place;
}

export interface FeedOptions {
  readonly lane: Lane;
  readonly partition: number;
  readonly followed: Followed;
  readonly interval: number;
  /** The most frames that wait here for who reads them. */
  readonly frames: number;
  readonly from: Place | undefined;
  readonly onFrame: (frame: FeedFrame) => void;
  /** The last call. */
  readonly onFailed: (error: TallystickError) => void;
}

/**
 * What a feed has told beyond the last position that it told in full. Where it goes on from there, it tells that again, within changes that
 * are larger: what comes for the first time is the difference.
 */
class Ahead {
  readonly #told = new Map<string, bigint>();
  #repeated = new Map<string, bigint>();

  clear(): void {
    this.#told.clear();
    this.#repeated.clear();
  }

  /** The feed begins again at that position. */
  repeats(): void {
    this.#repeated = new Map(this.#told);
  }

  take(told: Told): Told {
    if (!('delta' in told)) return told;
    const { name } = told;
    const delta = BigInt.asIntN(64, told.delta - (this.#repeated.get(name) ?? 0n));
    this.#repeated.delete(name);
    this.#told.set(name, BigInt.asIntN(64, (this.#told.get(name) ?? 0n) + delta));
    return { ...told, delta };
  }
}

/**
 * The feed of one partition, over as many connections as it takes: each time it goes on from the last position that it was told in full.
 * It never has more frames that nobody has read than it may: before it goes on, all that it has is to be read.
 */
export class Feed implements Submission {
  readonly #options: FeedOptions;
  /** The request as it was sent over the present connection, with its id in it, and how many frames of it have been read. */
  #sent: Uint8Array | undefined;
  #taken = 0;
  /** Up to where it was told. */
  #told: Place | undefined;
  readonly #ahead = new Ahead();
  /** Frames that have come and were not read. */
  #unread = 0;
  #isClosed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#told = options.from;
    options.lane.submit(this);
  }

  get partition(): number {
    return this.#options.partition;
  }

  get followed(): Followed {
    return this.#options.followed;
  }

  // --- for the lane ---

  get isWanted(): boolean {
    return !this.#isClosed && !this.#sent && this.#unread === 0;
  }

  get frame(): Uint8Array {
    const { followed, interval, frames, partition } = this.#options;
    const following = {
      ...(this.#told && { after: this.#told }),
      interval,
      credit: frames,
    };
    const body = new ByteWriter();
    encodeTail(body, { ...followed, ...following });
    this.#taken = 0;
    this.#ahead.repeats();
    this.#sent = encodeFrame(Opcode.TAIL, this.#told ? Flag.AFTER : 0, partition, 0, body.view());
    return this.#sent;
  }

  onAnswer(body: Uint8Array): void {
    const { followed } = this.#options;
    const { told, ...answer } = decodeTailAnswer(body, followed.kind === 'names' ? followed.names : undefined);
    if (this.#isClosed) return;
    if (answer.begins) this.#ahead.clear();
    const fresh = told.map((each) => this.#ahead.take(each));
    if (answer.whole) this.#ahead.clear();
    const place = { epoch: this.#options.lane.epoch ?? 0, sequence: answer.position };
    // Before a snapshot has come in full there is nothing to go on from
    if (answer.whole) this.#told = place;
    else if (answer.begins) this.#told = undefined;
    this.#unread++;
    this.#options.onFrame({ feed: this, answer: { ...answer, told: fresh }, place });
  }

  onError(error: TallystickError): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.onFailed(error);
  }

  onLost(): void {
    this.#sent = undefined;
  }

  // --- for who reads it ---

  /** A frame has been read. */
  read(): void {
    this.#unread--;
    if (this.#isClosed) return;
    if (!this.#sent) {
      if (this.#unread === 0) this.#options.lane.submit(this);
      return;
    }
    // With half of what may wait read the server is told so, and of the first frame at once: until then it holds back
    if (++this.#taken > 1 && this.#taken % Math.ceil(this.#options.frames / 2) > 0) return;
    this.#ask((feed) => ({ kind: 'more', feed, taken: this.#taken }));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ask((feed) => ({ kind: 'end', feed }));
  }

  /** Says something about the feed of the present connection, if there is one. */
  #ask(request: (feed: number) => TailRequest): void {
    const sent = this.#sent;
    if (!sent) return;
    const { lane, partition } = this.#options;
    const body = new ByteWriter();
    encodeTail(body, request(readU32(sent, REQUEST_ID_OFFSET)));
    lane.submit(
      new Request({ opcode: Opcode.TAIL, flags: 0, partition }, body.view(), {
        onAnswer: () => undefined,
        onError: () => undefined, // the feed will hear of it
        isWanted: () => this.#sent === sent,
      }),
    );
  }
}
