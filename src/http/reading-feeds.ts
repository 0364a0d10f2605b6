import { z } from 'zod';
import type { FollowEvent } from '../client/index.js';
import { followedNames, interval, toInterval } from './feed.js';
import { type Route, streamRoute } from './route.js';
import { given, valueQuery, valueWriter } from './schemas.js';
import { EVENT_STREAM_TYPE, NOTHING, serverSentEvent } from './server-sent-events.js';
import type { Source } from './stream.js';
import { last, mode } from './through-time.js';
import { window as uniquesWindow } from './uniques.js';

/** Windows, rates and numbers of unique items as events: told first, and then as they change, by what is written or by the time that passes. */

const followed = {
  name: followedNames,
  interval: interval
    .optional()
    .meta({ description: 'Milliseconds from one look to the next, 10 to 60,000; 1,000 unless given.' }),
};
const stream = {
  method: 'GET',
  load: 'read',
  type: EVENT_STREAM_TYPE,
  answer: z.string(),
  codes: ['NOT_TRACKED', 'TOO_SLOW'],
} as const;
const EVENTS =
  'as server-sent events: `value` first, then `change`; `problem` at the end. All come anew to who comes back.';

export const readingFeedRoutes: readonly Route[] = [
  streamRoute({
    ...stream,
    path: '/v1/feed/window',
    id: 'followWindows',
    summary: `What the last so long has changed counters by, ${EVENTS}`,
    query: { ...followed, last, mode: mode.optional(), ...valueQuery },
    open: ({ client, claim, query }) => {
      const toOut = valueWriter(query);
      claim(1);
      const asked = { names: query.name, ...toInterval(query.interval), ...given({ mode: query.mode }) };
      return sourceOf(client.subscribe({ ...asked, window: query.last }), ({ name, value, error, rate, from, to }) => ({
        ...{ name, value: toOut(value), error: toOut(error), rate, from, to },
      }));
    },
  }),
  streamRoute({
    ...stream,
    path: '/v1/feed/rate',
    id: 'followRates',
    summary: `By how much counters change a second, over the last so long, ${EVENTS}`,
    query: { ...followed, last: last.optional() },
    open: ({ client, claim, query: { name, interval, last } }) => {
      claim(1);
      const rates = client.subscribe({ names: name, ...toInterval(interval), rate: last ?? '1m' });
      return sourceOf(rates, ({ name, rate, from, to }) => ({ name, rate, from, to }));
    },
  }),
  streamRoute({
    ...stream,
    path: '/v1/feed/uniques',
    id: 'followUniques',
    summary: `How many different items were seen under names, ever or lately, ${EVENTS}`,
    query: { ...followed, window: uniquesWindow.optional() },
    open: ({ client, claim, query: { name, interval, window } }) => {
      claim(1);
      const numbers = client.subscribe({ names: name, ...toInterval(interval), uniques: window ?? true });
      return sourceOf(numbers, ({ name, count, exact, standardError }) => ({ name, count, exact, standardError }));
    },
  }),
];

/** The head waits for the first answer: whether names have what is asked for is known then. */
function sourceOf<R>(
  events: AsyncIterator<FollowEvent<R>, undefined> & { close(): void },
  tell: (reading: R) => object,
): Source {
  return {
    waits: true,
    next: async () => {
      const { done, value } = await events.next();
      if (done) return { done, value: undefined };
      return { done: false, value: serverSentEvent({ event: value.kind, data: JSON.stringify(tell(value)) }) };
    },
    beat: () => NOTHING,
    close: () => events.close(),
  };
}
