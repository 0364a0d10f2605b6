/**
 * Posts with like buttons: each visitor counts once for each post, however often the button, the network or a server that dies makes the request come.
 *
 *   node examples/likes/server.mjs [--data-dir DIR] [--port 8080]
 */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { connect } from 'tallystick';
import { BROWSER_CLIENT, runExample, serveSite } from '../site.mjs';

const POSTS = new Set(['bread', 'rolls', 'cake']);
const FILES = new Map([
  ['/likes.js', new URL('./likes.js', import.meta.url)],
  ['/tallystick.js', BROWSER_CLIENT],
]);
const PAGE = new URL('./index.html', import.meta.url);
/** Where people sign in it would be who they are: who has no cookie yet is a new visitor. */
const COOKIE = /(?:^|; )visitor=([0-9a-f-]{36})(?:;|$)/;
/** For the server of counters to answer. The page asks again. */
const TIMEOUT_MILLISECONDS = 5_000;

/** For a month nobody counts twice: an item of the counter, the visitor, is kept for so long. */
export const CLASSES = [{ pattern: 'likes:*', once: '30d', onceItems: 1_000_000 }];

/**
 * Serves the page, on loopback; `countersUrl` is where the server of counters is. Resolves with where it is.
 *
 * A page may not write: it would say itself who its visitor is. It follows the counts over WebSocket, and asks the site for a like.
 */
export async function servePosts(countersUrl, port = 0) {
  const client = await connect(countersUrl, { timeout: TIMEOUT_MILLISECONDS, values: 'number' });
  const files = new Map([...FILES, ['/', PAGE]]);

  async function respond(request, response, pathname) {
    const visitor = COOKIE.exec(request.headers.cookie ?? '')?.[1];
    if (pathname === '/' && !visitor)
      response.setHeader('set-cookie', `visitor=${randomUUID()}; HttpOnly; SameSite=Strict; Max-Age=31536000`);
    const post = /^\/like\/(\w+)$/.exec(pathname)?.[1];
    if (request.method !== 'POST' || !post) return false;
    if (!POSTS.has(post) || !visitor) response.writeHead(POSTS.has(post) ? 403 : 404).end();
    else await like(response, post, visitor);
    return true;
  }

  /** Asked twice it counts once, and answers the same but for `counted`: so who has no answer asks again. */
  async function like(response, post, visitor) {
    try {
      const { counted, value } = await client.incrementOnce(`likes:${post}`, visitor);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ counted, likes: value }));
    } catch (error) {
      const headers = { 'content-type': 'text/plain', ...(error.retryable && { 'retry-after': '1' }) };
      response.writeHead(error.retryable ? 503 : 500, headers).end(String(error));
    }
  }

  const site = await serveSite({ files, port, respond });
  const close = async () => {
    site.close();
    await client.close();
  };
  return { url: site.url, close };
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await runExample('likes', { wsPort: 7090, classes: CLASSES }, ({ url }, port) => servePosts(url, port));
