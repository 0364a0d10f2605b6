/**
 * A small site that counts its page views and its visitors, without cookies, and a page that shows them.
 *
 *   node examples/pageviews/server.mjs [--data-dir DIR] [--port 8080]
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { runExample, serveSite } from '../site.mjs';
import { CLASSES, PageViews } from './page-views.mjs';

const PAGES = {
  '/': { title: 'Home', text: 'Sourdough, rye and spelt, baked at five every morning.' },
  '/about': { title: 'About', text: 'Two ovens and four people. We have been here since 1987.' },
  '/prices': { title: 'Prices', text: 'A loaf is 4.20, half of one 2.20. On Saturdays there are rolls.' },
};
const FILES = new Map([['/views.js', new URL('./views.js', import.meta.url)]]);
const TEMPLATE = new URL('./page.html', import.meta.url);
const STATISTICS = { title: 'Statistics', text: '<table id="statistics"></table>' };

/** Serves the site, on loopback; `countersUrl` is where the server of counters speaks HTTP. Resolves with where it is. */
export async function serveBakery(countersUrl, port = 0) {
  const template = await readFile(TEMPLATE, 'utf8');
  const pageViews = new PageViews(countersUrl);
  const html = ({ title, text }) => template.replaceAll('{title}', title).replace('{text}', text);

  async function respond(request, response, pathname) {
    if (request.method !== 'GET') return false;
    if (pathname === '/views.json') {
      const pages = await pageViews.read(Object.keys(PAGES)).catch((error) => ({ error: error.message }));
      const status = Array.isArray(pages) ? 200 : 503;
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(pages));
      return true;
    }
    const page = pathname === '/statistics' ? STATISTICS : PAGES[pathname];
    if (!page) return false;
    if (page !== STATISTICS)
      pageViews.viewed(pathname, `${request.socket.remoteAddress} ${request.headers['user-agent'] ?? ''}`);
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html(page));
    return true;
  }

  const site = await serveSite({ files: FILES, port, respond });
  const close = async () => {
    site.close();
    await pageViews.close();
  };
  return { url: site.url, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await runExample('pageviews', { httpPort: 7080, classes: CLASSES }, ({ httpUrl }, port) =>
    serveBakery(httpUrl, port),
  );
