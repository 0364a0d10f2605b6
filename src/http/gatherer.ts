import type { Ack, BatchOperation, Client, OperationResult, Reading } from '../client/index.js';
import type { Clock } from '../clock.js';
import { asTallystickError, type TallystickError } from '../errors.js';
import type { Ending } from './route.js';

/** Who asked for an item, and what is said to them of its outcome. It may throw what then is their error. */
interface Waiter<O> {
  readonly tell: (outcome: O) => unknown;
  readonly ending: Ending;
}

/** What the requests of a turn ask alike, and who waits for it. */
interface Group<I, O> {
  readonly items: I[];
  readonly waiters: Waiter<O>[];
}

/** Asks for many items at once. An outcome is a result or an error, in the order of the items; a rejection is of all. */
type Ask<I, O> = (items: readonly I[]) => Promise<readonly (O | TallystickError)[]>;

/**
 * Requests that come in one turn of the event loop go to the client as one call, which is one deadline, one wait and a few frames
 * instead of one for each.
 */
export class Gatherer {
  readonly #clock: Clock;
  readonly #client: () => Client;
  readonly #reads: Readonly<Record<'durable' | 'latest', Gathering<string, Reading<bigint>>>>;
  readonly #increments: Readonly<Record<Ack, Gathering<BatchOperation, bigint>>>;

  /** `client`: the one to use now. */
  constructor(clock: Clock, client: () => Client) {
    this.#clock = clock;
    this.#client = client;
    this.#reads = { durable: this.#reading('durable'), latest: this.#reading('latest') };
    this.#increments = { durable: this.#incrementing('durable'), applied: this.#incrementing('applied') };
  }

  read(name: string, mode: 'durable' | 'latest', tell: (found: Reading<bigint>) => unknown, ending: Ending): void {
    this.#reads[mode].add(name, { tell, ending });
  }

  increment(operation: BatchOperation, ack: Ack, tell: (value: bigint) => unknown, ending: Ending): void {
    this.#increments[ack].add(operation, { tell, ending });
  }

  #reading(read: 'durable' | 'latest'): Gathering<string, Reading<bigint>> {
    return new Gathering(this.#clock, (names) => this.#client().read(names, { read }));
  }

  #incrementing(ack: Ack): Gathering<BatchOperation, bigint> {
    return new Gathering(this.#clock, async (operations) =>
      (await this.#client().batch(operations, { ack })).map(outcomeOf),
    );
  }
}

const outcomeOf = ({ value, error }: OperationResult<bigint>) => error ?? (value as bigint);

/** Items of one kind. */
class Gathering<I, O> {
  readonly #clock: Clock;
  readonly #ask: Ask<I, O>;
  #group: Group<I, O> = { items: [], waiters: [] };

  constructor(clock: Clock, ask: Ask<I, O>) {
    this.#clock = clock;
    this.#ask = ask;
  }

  add(item: I, waiter: Waiter<O>): void {
    if (this.#group.items.push(item) === 1) this.#clock.endOfTurn(() => this.#send());
    this.#group.waiters.push(waiter);
  }

  #send(): void {
    const { items, waiters } = this.#group;
    this.#group = { items: [], waiters: [] };
    this.#askFor(items, waiters);
  }

  #askFor(items: readonly I[], waiters: readonly Waiter<O>[]): void {
    this.#ask(items).then(
      (outcomes) => {
        for (let i = 0; i < waiters.length; i++) settle(waiters[i] as Waiter<O>, outcomes[i] as O | TallystickError);
      },
      (error: unknown) => {
        if (items.length > 1 && asTallystickError(error).outcome === 'refused') this.#askForEach(items, waiters);
        else for (const { ending } of waiters) ending.failed(error);
      },
    );
  }

  /** A call rejects as a whole for what is wrong with one of its items, and the others are not to suffer for it. */
  #askForEach(items: readonly I[], waiters: readonly Waiter<O>[]): void {
    for (let i = 0; i < items.length; i++) this.#askFor([items[i] as I], [waiters[i] as Waiter<O>]);
  }
}

function settle<O>({ tell, ending }: Waiter<O>, outcome: O | TallystickError): void {
  if (outcome instanceof Error) {
    ending.failed(outcome);
    return;
  }
  let told: unknown;
  try {
    told = tell(outcome);
  } catch (error) {
    ending.failed(error);
    return;
  }
  ending.answered(told);
}
