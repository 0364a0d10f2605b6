import type { Clock, Timer } from '../clock.js';
import { asTallystickError, TallystickError } from '../errors.js';
import { LEAST_INTERVAL, MOST_INTERVAL } from '../protocol/tail.js';
import { parseDuration } from './duration.js';
import { EventStream } from './event-stream.js';
import { partsOf } from './parts.js';
import type { Session } from './session.js';
import { parseUniquesWindow, type Uniques, type UniquesReader } from './uniques.js';
import type { WindowOptions, WindowReading, Windows } from './windows.js';

/** What all have in common that follow readings of names. */
export interface FollowOptions {
  readonly names: readonly string[];
  /** Milliseconds from one question to the next: 10 to 60,000, 1,000 unless given. */
  readonly interval?: number;
  /** Aborting it ends the subscription with ABORTED. */
  readonly signal?: AbortSignal;
  readonly prefix?: never;
  readonly all?: never;
  readonly from?: never;
}

/** Windows are followed: what the last so long has changed each name by, `'5m'` or any other that `client.window` takes. */
export interface FollowWindows extends FollowOptions, Pick<WindowOptions, 'mode'> {
  readonly window: string | number;
  readonly rate?: never;
  readonly uniques?: never;
}

/** Rates are followed: by how much each name changes a second, over the last so long. */
export interface FollowRates extends FollowOptions, Pick<WindowOptions, 'mode'> {
  readonly rate: string | number;
  readonly window?: never;
  readonly uniques?: never;
}

/** Numbers of unique items are followed: all that were seen under each name, or in its last hours, `'24h'`, or days, `'7d'`. */
export interface FollowUniques extends FollowOptions {
  readonly uniques: true | string;
  readonly window?: never;
  readonly rate?: never;
  readonly mode?: never;
}

/** Of a name, the number of unique items. */
export interface UniquesReading extends Uniques {
  readonly name: string;
}

/** A reading, and whether it is the first one of its name, or its number has changed since it was told. */
export type FollowEvent<R> = R & { readonly kind: 'value' | 'change' };

/** Readings that are asked for again and again. */
interface Followed<R> {
  ask(names: readonly string[]): Promise<readonly R[]>;
  /** Whether a reader who knows the one has nothing to learn from the other. */
  isSame(told: R, found: R): boolean;
}

const DEFAULT_INTERVAL = 1_000;

/**
 * Readings of names that are followed: of windows, which move with time and not only by what is written. So it is level-triggered: at each interval it
 * asks for all of them at once, and tells those whose number is another one than it told.
 *
 *   read ──► due? ──► ask, one question at a time ──► told as it is now; what was not read is replaced
 *             └ no ─► a timer, where somebody waits
 *
 * Nothing is asked where nobody reads, and what is told is never older than an interval: who reads late is told what is, and not what was.
 */
export class Following<R extends { readonly name: string }> extends EventStream<FollowEvent<R>> {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #followed: Followed<R>;
  readonly #names: readonly string[];
  readonly #interval: number;
  /** Of each name what was told last. */
  readonly #told = new Map<string, R>();
  /** What is to be told, in the order in which it was found. */
  readonly #found = new Map<string, R>();
  #isAsking = false;
  /** When it is asked again, in monotonic milliseconds. */
  #due = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  readonly #onEnded = (error: TallystickError): void => this.fail(error);

  /** Use `client.subscribe`. @throws TallystickError INVALID_ARGUMENT, NAME_INVALID, CLOSED */
  constructor(
    session: Session,
    followed: Followed<R>,
    { names, interval = DEFAULT_INTERVAL, signal, ...rest }: FollowOptions,
  ) {
    super();
    if (session.closedBy) throw new TallystickError('CLOSED');
    if (!(Number.isInteger(interval) && interval >= LEAST_INTERVAL && interval <= MOST_INTERVAL))
      throw new TallystickError('INVALID_ARGUMENT', `An interval of ${interval} ms.`);
    if (!names?.length || rest.prefix !== undefined || rest.all || rest.from)
      throw new TallystickError('INVALID_ARGUMENT', 'Windows, rates and unique items are followed by their names.');
    partsOf(session, names, names.length);
    this.#session = session;
    this.#clock = session.clock;
    this.#followed = followed;
    this.#names = [...new Set(names)];
    this.#interval = interval;
    session.followers.add(this.#onEnded);
    this.endBy(signal);
  }

  /** Calls the handler with all events, until the subscription is closed. Rejects with what ended it otherwise, also with what the handler threw. */
  async run({ onChange }: { onChange(event: FollowEvent<R>): unknown }): Promise<void> {
    for await (const event of this) await onChange(event);
  }

  protected override take(): FollowEvent<R> | undefined {
    if (this.isOver || this.#isAsking) return undefined;
    const rest = this.#due - this.#clock.monotonicMilliseconds();
    if (rest <= 0) {
      this.#ask();
      return undefined;
    }
    for (const [name, found] of this.#found) {
      const kind = this.#told.has(name) ? 'change' : 'value';
      this.#found.delete(name);
      this.#told.set(name, found);
      return { ...found, kind };
    }
    this.#timer ??= this.#clock.setTimer(rest, () => {
      this.#timer = undefined;
      this.serve();
    });
    return undefined;
  }

  protected override release(): void {
    this.#timer?.cancel();
    this.#session.followers.delete(this.#onEnded);
  }

  #ask(): void {
    const began = this.#clock.monotonicMilliseconds();
    this.#isAsking = true;
    this.#followed.ask(this.#names).then(
      (readings) => {
        for (const reading of readings) this.#find(reading);
        this.#asked(began);
      },
      (error: unknown) => {
        const known = asTallystickError(error);
        // The server is away, or has too much to do; the connection comes back by itself
        if (known.retryable) this.#asked(began);
        else this.fail(known);
      },
    );
  }

  #find(reading: R): void {
    const told = this.#told.get(reading.name);
    if (told && this.#followed.isSame(told, reading)) this.#found.delete(reading.name);
    else this.#found.set(reading.name, reading);
  }

  /** Leaves some time to tell what was found, also where the questions take longer than their interval. */
  #asked(began: number): void {
    this.#isAsking = false;
    this.#due = Math.max(began + this.#interval, this.#clock.monotonicMilliseconds() + LEAST_INTERVAL);
    this.serve();
  }
}

/** What the client has to follow with. */
interface Readers<V extends bigint | number> {
  readonly session: Session;
  readonly windows: Windows<V>;
  readonly uniques: UniquesReader;
}

type Either = FollowWindows | FollowRates | FollowUniques;

/** Whether these are options of readings, and not of values. */
export function followsReadings(options: object): options is Either {
  return ['window', 'rate', 'uniques'].some((key) => (options as Record<string, unknown>)[key] !== undefined);
}

/** @throws TallystickError INVALID_ARGUMENT, NAME_INVALID, CLOSED */
export function following<V extends bigint | number>(
  { session, windows, uniques }: Readers<V>,
  options: Either,
): Following<WindowReading<V>> | Following<UniquesReading> {
  const { window, rate, mode } = options;
  if ([window, rate, options.uniques].filter((way) => way !== undefined).length !== 1)
    throw new TallystickError('INVALID_ARGUMENT', 'A window, a rate or unique items are followed.');
  if (options.uniques !== undefined) {
    const within = options.uniques === true ? {} : { window: options.uniques };
    if (options.uniques !== true) parseUniquesWindow(options.uniques);
    const ask = async (names: readonly string[]) =>
      (await uniques.each(names, within)).map((found, i): UniquesReading => ({ ...found, name: names[i] as string }));
    const isSame = (told: UniquesReading, found: UniquesReading) =>
      told.count === found.count && told.exact === found.exact;
    return new Following(session, { ask, isSame }, options);
  }
  const length = parseDuration((window ?? rate) as string | number);
  return new Following<WindowReading<V>>(
    session,
    {
      ask: (names) => windows.read(names, length, mode ? { mode } : {}),
      isSame: (told, found) =>
        rate !== undefined ? told.rate === found.rate : told.value === found.value && told.error === found.error,
    },
    options,
  );
}
