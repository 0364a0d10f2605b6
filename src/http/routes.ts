import { counterRoutes } from './counters.js';
import { probeRoutes } from './probes.js';
import type { Route } from './route.js';

/** All that there is. */
export const routes: readonly Route[] = [...counterRoutes, ...probeRoutes];
