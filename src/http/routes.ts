import { z } from 'zod';
import { counterRoutes } from './counters.js';
import { expiryRoutes } from './expiry.js';
import { feedRoutes } from './feed.js';
import { metricsRoute } from './metrics.js';
import { onceRoutes } from './once.js';
import { openApi } from './openapi.js';
import { operationRoutes } from './operations.js';
import { probeRoutes } from './probes.js';
import { readingFeedRoutes } from './reading-feeds.js';
import { type Route, route } from './route.js';
import { throughTimeRoutes } from './through-time.js';
import { uniquesRoutes } from './uniques.js';

/** All that there is, and the document that says so. */

const described: readonly Route[] = [
  ...counterRoutes,
  ...throughTimeRoutes,
  ...uniquesRoutes,
  ...onceRoutes,
  ...expiryRoutes,
  ...feedRoutes,
  ...readingFeedRoutes,
  ...operationRoutes,
  ...probeRoutes,
  metricsRoute,
];

/** As docs/openapi.json has it. */
export const openApiText = `${JSON.stringify(openApi(described), null, 2)}\n`;

export const routes: readonly Route[] = [
  ...described,
  route({
    method: 'GET',
    path: '/openapi.json',
    id: 'getOpenApi',
    summary: 'This document.',
    load: 'probe',
    query: {},
    answer: z.looseObject({}),
    handle: async () => openApiText,
  }),
];
