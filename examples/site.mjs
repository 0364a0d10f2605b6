/** What the examples with a page have in common: a small site on loopback, and a server of counters beside it. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { parseArgs } from 'node:util';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };

/** The client for browsers, as pages of the examples import it. */
export const BROWSER_CLIENT = new URL('../dist/browser/tallystick.js', import.meta.url);

/**
 * Serves files by their paths; `respond` is asked first, and resolves with true where it has answered. Resolves with where it is.
 */
export async function serveSite({ files, port = 0, respond = async () => false }) {
  const answer = async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    if (await respond(request, response, pathname)) return;
    const file = files.get(pathname);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    response
      .writeHead(200, { 'content-type': TYPES[extname(file.pathname)] ?? 'text/plain' })
      .end(await readFile(file));
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
      console.error(error);
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
}

/**
 * Runs an example until Ctrl-C: a server of counters with its data in --data-dir, and the site that `open` makes for it on --port.
 *
 * @param settings of the server, besides its directory and port
 * @param open is given the server and a port; resolves with a site
 */
export async function runExample(name, settings, open) {
  const { values } = parseArgs({
    options: { 'data-dir': { type: 'string', default: `${name}-data` }, port: { type: 'string', default: '8080' } },
  });
  const { startServer } = await import('tallystick/server');
  const counters = await startServer({ dataDir: values['data-dir'], port: 7070, ...settings });
  const site = await open(counters, Number(values.port));
  console.log(`Open ${site.url} in as many windows as you like. Ctrl-C ends it.`);
  process.once('SIGINT', async () => {
    await site.close();
    await counters.close();
  });
}
