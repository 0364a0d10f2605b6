import { z } from 'zod';
import type { Client, Subscription, SubscriptionEvent } from '../client/index.js';
import { Position } from '../client/position.js';
import { type Route, streamRoute } from './route.js';
import { counterName, given, type ValueOut, valueQuery, valueWriter } from './schemas.js';
import { EVENT_STREAM_TYPE, idAlone, NOTHING, serverSentEvent } from './server-sent-events.js';
import type { Source } from './stream.js';

/** What becomes of counters, as events that go out for as long as the client stays. */

const MOST_NAMES = 1_000;
/** Frames of a partition that wait here for a client that does not read. */
const FRAMES = 2;

/** Of what is followed by name. */
export const followedNames = z
  .array(counterName)
  .min(1)
  .max(MOST_NAMES)
  .meta({ description: 'What is followed: `name=a&name=b`.' });
/** Milliseconds as the SDK takes them. */
const MILLISECONDS = '[1-9][0-9]{1,3}|[1-5][0-9]{4}|60000';
export const interval = z.string().regex(new RegExp(`^(${MILLISECONDS})$`), 'milliseconds, 10 to 60,000');
const valueInterval = z.string().regex(new RegExp(`^(0|${MILLISECONDS})$`), 'milliseconds, 0 or 10 to 60,000');
export const toInterval = (text: string | undefined) =>
  given({ interval: text === undefined ? undefined : Number(text) });

const position = z
  .string()
  .max(16_384)
  .regex(/^[0-9a-f]{1,8}(-[0-9]{1,5}\.[0-9]{1,15})*$/, 'the id of an event')
  .meta({ description: 'Go on behind the event of this id; Last-Event-ID goes before it.' });

export const feedRoutes: readonly Route[] = [
  streamRoute({
    method: 'GET',
    path: '/v1/feed',
    id: 'followValues',
    summary:
      'The values of counters and then what becomes of them, as server-sent events: `value` first, then `change`; `reset` where changes may have been missed and the values of a partition come anew; `problem` at the end. All counters, unless names or a prefix are given.',
    load: 'read',
    type: EVENT_STREAM_TYPE,
    resumes: true,
    query: {
      name: followedNames.optional(),
      prefix: z.string().max(1_024).optional().meta({ description: 'Those whose names begin with it.' }),
      interval: valueInterval.optional().meta({
        description:
          'Milliseconds for which changes of a counter become one, 10 to 60,000; 0 for none, 100 unless given.',
      }),
      from: position.optional(),
      ...valueQuery,
    },
    answer: z.string(),
    codes: ['TOO_SLOW'],
    open: ({ client, claim, lastEventId, query }) => {
      const { name, prefix, interval, from } = query;
      const asked = lastEventId ?? from;
      const toOut = valueWriter(query);
      claim(name ? new Set(name.map((each) => client.partitionOf(each))).size : client.partitions);
      const subscription = client.subscribe({
        ...(name === undefined ? { prefix: prefix ?? '' } : given({ names: name, prefix })),
        ...toInterval(interval),
        frames: FRAMES,
        ...(asked !== undefined && { from: Position.parse(asked) }),
      });
      return new ValueSource(client, subscription, toOut);
    },
  }),
];

/** The events of a subscription, each with its position where that has moved. */
class ValueSource implements Source {
  readonly waits = false;
  readonly #client: Client;
  readonly #subscription: Subscription<bigint>;
  readonly #toOut: (value: bigint) => ValueOut;
  /** The position that was told last. */
  #told: Position | undefined;

  constructor(client: Client, subscription: Subscription<bigint>, toOut: (value: bigint) => ValueOut) {
    this.#client = client;
    this.#subscription = subscription;
    this.#toOut = toOut;
  }

  async next(): Promise<IteratorResult<string, undefined>> {
    const { done, value } = await this.#subscription.next();
    return done ? { done, value: undefined } : { done: false, value: this.#tell(value) };
  }

  /** Names of which nothing is heard have come further too. */
  beat(): string {
    const id = this.#moved(this.#subscription.position);
    return id === undefined ? NOTHING : idAlone(id);
  }

  close(): void {
    this.#subscription.close();
  }

  #tell(event: SubscriptionEvent<bigint>): string {
    const data = JSON.stringify(event.kind === 'reset' ? resetOf(event) : this.#updateOf(event));
    return serverSentEvent({ event: event.kind, data, id: this.#moved(event.position) });
  }

  #updateOf({ kind, name, value, delta, exists }: Exclude<SubscriptionEvent<bigint>, { kind: 'reset' }>) {
    const change = kind === 'change' && { delta: this.#toOut(delta) };
    return { name, value: this.#toOut(value), ...change, exists, partition: this.#client.partitionOf(name) };
  }

  #moved(position: Position): string | undefined {
    if (position === this.#told) return undefined;
    this.#told = position;
    return String(position);
  }
}

const resetOf = ({ partition, names }: Extract<SubscriptionEvent<bigint>, { kind: 'reset' }>) =>
  given({ partition, names });
