/**
 * A live scoreboard: a server of counters that pages follow over WebSocket, and the page.
 *
 *   node examples/scoreboard/server.mjs [--data-dir DIR] [--port 8080]
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };
const FILES = new Map([
  ['/', new URL('./index.html', import.meta.url)],
  ['/scoreboard.js', new URL('./scoreboard.js', import.meta.url)],
  ['/tallystick.js', new URL('../../dist/browser/tallystick.js', import.meta.url)],
]);

/** Serves the page, on loopback; resolves with where it is. */
export async function servePage(port = 0) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const file = FILES.get(pathname);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    readFile(file).then(
      (bytes) => response.writeHead(200, { 'content-type': TYPES[extname(file.pathname)] ?? 'text/plain' }).end(bytes),
      (error) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { 'data-dir': { type: 'string', default: 'scoreboard-data' }, port: { type: 'string', default: '8080' } },
  });
  const { startServer } = await import('tallystick/server');
  const counters = await startServer({ dataDir: values['data-dir'], port: 7070, wsPort: 7090 });
  const page = await servePage(Number(values.port));
  console.log(`Open ${page.url} in as many windows as you like. Ctrl-C ends it.`);
  process.once('SIGINT', async () => {
    page.close();
    await counters.close();
  });
}
