import { z } from 'zod';
import { type Route, route } from './route.js';

/** For those who watch the server: whether it lives, and whether it can be sent requests. */

const status = z.strictObject({ status: z.literal('ok') });

export const probeRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/livez',
    id: 'livez',
    summary: 'Answers as long as the server lives.',
    load: 'probe',
    query: {},
    answer: status,
    handle: async () => ({ status: 'ok' }),
  }),
  route({
    method: 'GET',
    path: '/readyz',
    id: 'readyz',
    summary: 'Answers when every lane does. It writes nothing, so it also succeeds while a full disk refuses writes.',
    load: 'probe',
    query: {},
    answer: status,
    handle: async ({ client }) => {
      await client.stats();
      return { status: 'ok' };
    },
  }),
];
