import { z } from 'zod';
import type { Uniques } from '../client/index.js';
import { type Route, route } from './route.js';
import { ack, counterName, given, item, read } from './schemas.js';

/** Names that count different items. */

const MOST_ITEMS = 10_000;
const MOST_NAMES = 1_000;

/** As the SDK takes it: what is longer than the server keeps it refuses. */
export const window = z
  .string()
  .regex(/^[1-9][0-9]{0,2}[hd]$/, 'a window of unique items such as "6h", "24h" or "7d"')
  .meta({ description: 'Only what was seen in the last so many hours, or days of UTC.', examples: ['24h', '7d'] });
const exact = z.boolean().meta({ description: 'Whether it is certain; else it is an estimate.' });
const counted = z.strictObject({
  names: z.array(counterName),
  count: z.int().min(0),
  exact,
  standardError: z.number().min(0),
  durable: z.boolean(),
});

export const uniquesRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/see',
    id: 'seeItems',
    summary: 'Says that items were seen under a name: which were new. Seeing one again changes nothing.',
    load: 'write',
    query: {},
    body: z.strictObject({ name: counterName, items: z.array(item).min(1).max(MOST_ITEMS), ack: ack.optional() }),
    answer: z.strictObject({ name: counterName, seen: z.array(z.strictObject({ isNew: z.boolean(), exact })) }),
    codes: ['NOT_TRACKED', 'QUOTA_EXCEEDED'],
    handle: async ({ client, body: { name, items, ack } }) => ({
      name,
      seen: await client.see(name, items, given({ ack })),
    }),
  }),
  route({
    method: 'POST',
    path: '/v1/uniques',
    id: 'countUniques',
    summary: 'How many different items were seen under each name, or with `union` under any of them.',
    load: 'read',
    query: {},
    body: z.strictObject({
      names: z.array(counterName).min(1).max(MOST_NAMES),
      union: z.boolean().optional(),
      window: window.optional(),
      read: read.optional(),
    }),
    answer: z.strictObject({ counts: z.array(counted) }),
    codes: ['NOT_TRACKED'],
    handle: async ({ client, body: { names, union = false, window, read } }) => {
      const options = given({ window, read });
      const found = union
        ? [await client.uniques(names, { ...options, union })]
        : await client.uniques(names, { ...options, union });
      return { counts: found.map(tell) };
    },
  }),
  route({
    method: 'POST',
    path: '/v1/merge',
    id: 'mergeUniques',
    summary: 'Brings the items of some names under another one, for good. Merging again changes nothing.',
    load: 'write',
    query: {},
    body: z.strictObject({
      name: counterName.meta({ examples: ['visitors:/'] }),
      names: z
        .array(counterName)
        .min(1)
        .max(MOST_NAMES)
        .meta({ examples: [['visitors:/about']] }),
    }),
    answer: z.strictObject({ name: counterName, count: z.int().min(0), exact }),
    codes: ['NOT_TRACKED'],
    handle: async ({ client, body: { name, names } }) => {
      const { count, exact } = await client.merge(name, names);
      return { name, count, exact };
    },
  }),
];

const tell = ({ names, count, exact, standardError, durable }: Uniques) => ({
  names,
  count,
  exact,
  standardError,
  durable,
});
