import { z } from 'zod';
import type { Expiry } from '../client/index.js';
import { type Route, route } from './route.js';
import { counterName, duration, given, instant, milliseconds, readQuery } from './schemas.js';

/** Counters that end by themselves. */

const ifNone = z.boolean().optional().meta({ description: 'Only where the counter has no end yet.' });

/** When a counter ends, as increments and /v1/expire take it. */
export const expiryIn = z
  .union([
    z.literal('never'),
    z.strictObject({ after: duration.meta({ examples: ['1m', '1d'] }), ifNone }),
    z.strictObject({ at: instant.meta({ examples: ['2099-12-31T00:00:00Z'] }), ifNone }),
  ])
  .meta({ description: 'So long after the change is applied, at a time, or never.' });

const told = z.strictObject({
  name: counterName,
  existed: z.boolean().meta({ description: 'Whether there is such a counter.' }),
  expires: milliseconds.nullable().meta({
    description: 'When it ends, in milliseconds since 1970; null where it does not by itself, or just has.',
  }),
});

/** As the SDK takes it. */
export function toExpiry(expiry: z.output<typeof expiryIn>): Expiry {
  return expiry === 'never' ? expiry : (given(expiry) as Expiry);
}

export const expiryRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/expire',
    id: 'expireCounter',
    summary:
      'Says when a counter ends by itself, as if it were deleted; by a time that is past it ends at once. Durable.',
    load: 'write',
    key: 'refused',
    query: {},
    body: z.strictObject({ name: counterName, expiry: expiryIn }),
    answer: told,
    handle: async ({ client, body: { name, expiry } }) => {
      const { existed, expires } = await client.expire(name, toExpiry(expiry));
      return { name, existed, expires: expires ?? null };
    },
  }),
  route({
    method: 'GET',
    path: '/v1/expiry',
    id: 'getExpiry',
    summary: 'When a counter ends by itself.',
    load: 'read',
    query: { name: counterName, ...readQuery },
    answer: told,
    handle: async ({ client, query: { name, read } }) => {
      const { existed, expires } = await client.expiry(name, given({ read }));
      return { name, existed, expires: expires ?? null };
    },
  }),
];
