import { z } from 'zod';
import { type Route, route } from './route.js';
import { counterName } from './schemas.js';

/** What the server says of itself. */

interface HotLane {
  readonly hot: readonly { readonly name: string; readonly perSecond: number }[];
}

const DEFAULT_TOP = 10;

export const operationRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/hot',
    id: 'getHot',
    summary: 'The counters that take the most operations a second, by a sample.',
    load: 'read',
    query: {
      top: z
        .string()
        .regex(/^([1-9][0-9]?|100)$/, 'a whole number from 1 to 100')
        .optional(),
    },
    answer: z.strictObject({ counters: z.array(z.strictObject({ name: counterName, perSecond: z.number() })) }),
    handle: async ({ client, query: { top } }) => {
      const most = top === undefined ? DEFAULT_TOP : Number(top);
      // The answer to a request for hot counters has them
      const lanes = (await client.stats({ hot: most })) as unknown as readonly HotLane[];
      const hot = lanes.flatMap((lane) => lane.hot).sort((a, b) => b.perSecond - a.perSecond);
      return { counters: hot.slice(0, most).map(({ name, perSecond }) => ({ name, perSecond })) };
    },
  }),
  route({
    method: 'GET',
    path: '/v1/stats',
    id: 'getStats',
    summary: 'What each lane says of itself. Numbers beyond 2^53-1 are strings.',
    load: 'read',
    query: {},
    answer: z.strictObject({
      lanes: z.array(
        z.looseObject({ lane: z.int().min(0), partitions: z.array(z.looseObject({ partition: z.int() })) }),
      ),
    }),
    handle: async ({ client }) => ({ lanes: toJson(await client.stats()) }),
  }),
];

/** As JSON can hold it. */
const toJson = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? String(part) : part)));
