/**
 * A live scoreboard: a server of counters that pages follow over WebSocket, and the page.
 *
 *   node examples/scoreboard/server.mjs [--data-dir DIR] [--port 8080]
 */
import { fileURLToPath } from 'node:url';
import { BROWSER_CLIENT, runExample, serveSite } from '../site.mjs';

const FILES = new Map([
  ['/', new URL('./index.html', import.meta.url)],
  ['/scoreboard.js', new URL('./scoreboard.js', import.meta.url)],
  ['/tallystick.js', BROWSER_CLIENT],
]);

/** Serves the page, on loopback; resolves with where it is. */
export const servePage = (port = 0) => serveSite({ files: FILES, port });

if (process.argv[1] === fileURLToPath(import.meta.url))
  await runExample('scoreboard', { wsPort: 7090 }, (_counters, port) => servePage(port));
