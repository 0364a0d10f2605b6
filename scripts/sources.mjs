import { createViteServer } from 'vitest/node';

/**
 * Loads the tests' own sources, which are TypeScript, as the test runner does: `sources.ssrLoadModule('/test/…')`. To be closed.
 */
export function openSources() {
  return createViteServer({
    root: new URL('..', import.meta.url).pathname,
    configFile: false,
    appType: 'custom',
    logLevel: 'error',
    optimizeDeps: { noDiscovery: true },
    server: { middlewareMode: true, hmr: false, watch: null, ws: false },
  });
}
