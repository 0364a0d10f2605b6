import { z } from 'zod';
import { type Route, route } from './route.js';
import {
  ack,
  counterName,
  duration,
  given,
  int64In,
  int64Out,
  item,
  toAmount,
  valueQuery,
  valueWriter,
} from './schemas.js';

/** Increments that count once for each item. */

export const onceRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/once',
    id: 'incrementOnce',
    summary:
      'Adds to a counter unless the item was counted under its name already within some time, which its class says.',
    load: 'write',
    query: valueQuery,
    body: z.strictObject({
      name: counterName.meta({ examples: ['views:/'] }),
      item,
      within: duration.optional().meta({
        description: 'For how long the item is not to count again: refused where the class says another time.',
        examples: ['24h'],
      }),
      delta: int64In.optional().meta({ description: 'What is added; 1 unless given.' }),
      ack: ack.optional(),
    }),
    answer: z.strictObject({
      name: counterName,
      counted: z.boolean().meta({ description: 'False where the item had been counted already.' }),
      value: int64Out,
    }),
    codes: ['NOT_TRACKED', 'ITEMS_FULL', 'OVERFLOW', 'QUOTA_EXCEEDED'],
    handle: async ({ client, query, body: { name, item, within, delta, ack } }) => {
      const toOut = valueWriter(query);
      const options = given({ within, delta: delta === undefined ? undefined : toAmount(delta), ack });
      const { counted, value } = await client.incrementOnce(name, item, options);
      return { name, counted, value: toOut(value) };
    },
  }),
];
