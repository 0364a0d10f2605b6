import type { Clock, Timer } from '../clock.js';
import { asTallystickError, TallystickError } from '../errors.js';
import { problem } from './problem.js';
import type { Reply } from './reply.js';
import { serverSentEvent } from './server-sent-events.js';

/** Text that is gathered before it is written within a turn. */
const CHUNK = 16_384;
/** A client that has been told nothing for so long is told that the stream lives, and so are the proxies between. */
const BEAT_MILLISECONDS = 15_000;
/** A client that takes nothing of what was written for so long is cut off. */
const PATIENCE_MILLISECONDS = 10_000;

/** Where the events of a stream come from. */
export interface Source {
  /** The next events, as they are written. Rejects with what ends them. */
  next(): Promise<IteratorResult<string, undefined>>;
  /** What is written where there was nothing to tell for a while. */
  beat(): string;
  /** Whether what it is asked for may prove to be wrong only when it is asked: then the head waits for the first event, so that it can be a problem. */
  readonly waits: boolean;
  close(): void;
}

/** Where they go. */
export interface Sink {
  /** The head of the answer; before all that is written. */
  begin(): void;
  /** Instead of all that. */
  refuse(reply: Reply): void;
  /** False where it should wait until there is room: `Stream.drained`. */
  write(text: string): boolean;
  end(): void;
}

/** What a stream is told by, and tells. */
export interface StreamParts {
  readonly clock: Clock;
  readonly source: Source;
  readonly sink: Sink;
  /** The error as clients of HTTP should see it. */
  readonly failed: (error: TallystickError) => TallystickError;
  /** Called once, with the problem that it answers, if it is one from the start. */
  readonly onEnd: (refusal: Reply | undefined) => void;
}

/**
 * An answer that goes on for as long as its client stays. It takes the next event when there is room for it and no sooner: what the client does not read
 * waits where the events come from, which bounds it.
 *
 *   source.next ──► pending, a turn's worth ──► sink, while it has room ──► client
 *                                                 no room for 10 s: TOO_SLOW, told behind what waits, and the end
 *   nothing for 15 s: a beat                       shutdown, an error: told, and the end
 */
export class Stream {
  readonly #parts: StreamParts;
  #pending = '';
  #isScheduled = false;
  #hasBegun = false;
  #hasRoom = true;
  #isOver = false;
  /** Whoever waits for room. */
  #whenRoom: (() => void) | undefined;
  #patience: Timer | undefined;
  #beat: Timer | undefined;

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  start(): void {
    if (!this.#parts.source.waits) this.#begin();
    this.#scheduleBeat();
    void this.#run();
  }

  /** There is room again. */
  drained(): void {
    this.#hasRoom = true;
    this.#patience?.cancel();
    this.#patience = undefined;
    this.#flush();
    if (!this.#hasRoom) return;
    this.#whenRoom?.();
    this.#whenRoom = undefined;
  }

  /** The client has gone. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#release(undefined);
  }

  /** Ends it, and tells why. */
  fail(error: TallystickError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { sink, failed } = this.#parts;
    const reply = problem(failed(error));
    if (this.#hasBegun) {
      sink.write(this.#pending + serverSentEvent({ event: 'problem', data: reply.body }));
      sink.end();
    } else sink.refuse(reply);
    this.#release(this.#hasBegun ? undefined : reply);
  }

  async #run(): Promise<void> {
    try {
      while (!this.#isOver) {
        const { done, value } = await this.#parts.source.next();
        if (this.#isOver) return;
        if (done) throw new TallystickError('CLOSED');
        this.#add(value);
        if (!this.#hasRoom) await this.#room();
      }
    } catch (error) {
      this.fail(asTallystickError(error));
    }
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenRoom = resolve;
    });
  }

  /** Events of a turn go out together. */
  #add(text: string): void {
    this.#pending += text;
    if (this.#pending.length >= CHUNK) this.#flush();
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#parts.clock.endOfTurn(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#isOver || !this.#hasRoom || this.#pending === '') return;
    if (!this.#hasBegun) this.#begin();
    const text = this.#pending;
    this.#pending = '';
    this.#scheduleBeat();
    if (this.#parts.sink.write(text)) return;
    this.#hasRoom = false;
    this.#patience ??= this.#parts.clock.setTimer(PATIENCE_MILLISECONDS, () =>
      this.fail(new TallystickError('TOO_SLOW', `Nothing was read for ${PATIENCE_MILLISECONDS / 1_000} s.`)),
    );
  }

  #begin(): void {
    this.#hasBegun = true;
    this.#parts.sink.begin();
  }

  #scheduleBeat(): void {
    this.#beat?.cancel();
    this.#beat = this.#parts.clock.setTimer(BEAT_MILLISECONDS, () => {
      // What waits will be told when there is room, and then says enough
      if (this.#pending === '') this.#pending = this.#parts.source.beat();
      this.#scheduleBeat();
      this.#flush();
    });
  }

  #release(refusal: Reply | undefined): void {
    this.#patience?.cancel();
    this.#beat?.cancel();
    this.#whenRoom?.();
    this.#parts.source.close();
    this.#parts.onEnd(refusal);
  }
}
