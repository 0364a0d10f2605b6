import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

/** What is seen meanwhile is sent together. */
const GATHER_MILLISECONDS = 250;
const RETRY_MILLISECONDS = 250;
const ANSWER_MILLISECONDS = 10_000;
/** Of a page, that wait to be sent; what comes beyond is not counted as a visitor. The server takes as many at a time. */
const MOST_VISITORS = 10_000;
/** What may pass: another answer to the same request, or none, is final. */
const PASSES = new Set([409, 429, 503, 504, 507]);

/** How the server is to keep them. */
export const CLASSES = [
  { pattern: 'views:*', windows: '1d' },
  { pattern: 'visitors:*', uniques: 10_000, ttl: '40d' },
];

/**
 * Counts the views and visitors of a site over HTTP and JSON, so that it could be in any language. A page never waits for that, and while the server is away views are kept and sent when it is
 * back. Each request has an Idempotency-Key and is sent until it is answered: an answer that was lost counts nothing twice.
 */
export class PageViews {
  #base;
  #views = new Map();
  #visitors = new Map();
  #day = '';
  #salt = '';
  #isClosed = false;
  #sending;

  constructor(base) {
    this.#base = base;
    this.#sending = this.#send();
  }

  /** `who` tells one visitor from another: of it nothing is kept but a hash, with a salt that is forgotten when the day ends. */
  viewed(path, who) {
    this.#views.set(path, (this.#views.get(path) ?? 0) + 1);
    const name = this.#visitorsOf(path);
    const visitor = createHash('sha256').update(`${this.#salt}\0${who}`).digest('base64url').slice(0, 22);
    const seen = this.#visitors.get(name) ?? new Set();
    if (seen.size < MOST_VISITORS) seen.add(visitor);
    this.#visitors.set(name, seen);
  }

  /** For each path its views, those of the last hour, and the visitors of today, as far as they are counted by now. */
  async read(paths) {
    const names = paths.map((path) => `views:${path}`);
    const [{ counters }, hours, { counts }] = await Promise.all([
      this.#ask('POST', '/v1/get?numbers=true', { names, read: 'latest' }),
      Promise.all(
        names.map((name) => this.#ask('GET', `/v1/window?last=1h&numbers=true&name=${encodeURIComponent(name)}`)),
      ),
      this.#ask('POST', '/v1/uniques', { names: paths.map((path) => this.#visitorsOf(path)) }),
    ]);
    return paths.map((path, i) => ({
      path,
      views: counters[i].value,
      lastHour: hours[i].value,
      visitors: counts[i].count,
    }));
  }

  /** Sends what is left. */
  async close() {
    this.#isClosed = true;
    await this.#sending;
  }

  #visitorsOf(path) {
    const day = new Date().toISOString().slice(0, 10);
    if (day !== this.#day) this.#salt = randomBytes(16).toString('hex');
    this.#day = day;
    return `visitors:${day}:${path}`;
  }

  async #send() {
    while (!this.#isClosed || this.#views.size > 0 || this.#visitors.size > 0) {
      if (!this.#isClosed) await delay(GATHER_MILLISECONDS);
      const views = [...this.#views].map(([path, delta]) => ({ name: `views:${path}`, delta }));
      const visitors = [...this.#visitors];
      this.#views = new Map();
      this.#visitors = new Map();
      if (views.length > 0) await this.#sendUntilAnswered('/v1/increment', { operations: views }, randomUUID());
      // Seeing a visitor twice counts once, so this needs no key
      for (const [name, seen] of visitors) await this.#sendUntilAnswered('/v1/see', { name, items: [...seen] });
    }
  }

  /** The same bytes under the same key, until the server says what has become of them. */
  async #sendUntilAnswered(path, body, key) {
    for (;;) {
      try {
        await this.#ask('POST', path, body, key);
        return;
      } catch (error) {
        // Without a status there was no answer: the server is away, or slow
        if (error.status !== undefined && !PASSES.has(error.status)) {
          console.error(error);
          return;
        }
        await delay(RETRY_MILLISECONDS);
      }
    }
  }

  async #ask(method, path, body, key) {
    const response = await fetch(new URL(path, this.#base), {
      method,
      ...(body && { body: JSON.stringify(body) }),
      headers: { 'content-type': 'application/json', ...(key && { 'idempotency-key': key }) },
      signal: AbortSignal.timeout(ANSWER_MILLISECONDS),
    });
    const answer = await response.json();
    if (response.ok) return answer;
    throw Object.assign(new Error(`${method} ${path}: ${answer.code}. ${answer.title}`), { status: response.status });
  }
}
