import { closeSync, openSync, writeFileSync } from 'node:fs';
import { random, zipf } from './names.mjs';

/** A combined log as a busy site writes it, and what counting it must give. The same seed makes the same bytes. */

const PATHS = 200_000;
const SKEW = 0.99;
/** Of so many lines one can't be used. */
const LINES_PER_UNUSABLE = 4_000;
const CHUNK_CHARACTERS = 1 << 20;

const SECTIONS = ['article', 'product', 'search', 'user', 'static', 'forum'];
const STATUSES = [...Array(86).fill(200), 204, 206, 301, 302, 302, 304, 304, 304, 304, 403, 404, 404, 500, 503];
const AGENTS = [
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Version/17.4 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
  'curl/8.5.0',
];

/** Lines that can't be counted by path, status and bytes, and why `ingest` says so. */
const UNUSABLE = [
  {
    line: (head) => `${head} "-" 408 - "-" "-"`,
    reason: 'no method and path: the request is not of the form "METHOD PATH PROTOCOL"',
  },
  {
    line: (head) => `${head} "GET /breaks/of`,
    reason: 'no path: the line breaks off or is of no combined format',
  },
  {
    line: (head) => `${head} "GET /${'x'.repeat(1_100)} HTTP/1.1" 414 0 "-" "-"`,
    reason: 'a template gives a name of more than 1,024 bytes',
  },
  {
    line: (head) => `${head} "GET /big HTTP/1.1" 200 99999999999999999999 "-" "-"`,
    reason: 'bytes is not a 64-bit integer',
  },
  { line: (head) => `${head} "GET /gr\xfcn HTTP/1.1" 200 5 "-" "-"`, reason: 'not valid UTF-8' },
];

/**
 * Writes the log.
 *
 * @returns `expected`, name -> value of what `--count views:{path} --count status:{status} --sum bytes:{path}=bytes` counts;
 *   `unusable`, the line numbers and reasons; the file's size in `bytes`
 */
export function writeAccessLog(file, lines, seed) {
  const next = random(seed);
  const below = (n) => Math.floor(next() * n);
  const pick = zipf(PATHS, SKEW, next);
  const expected = new Map();
  const add = (name, n) => expected.set(name, (expected.get(name) ?? 0) + n);
  const unusable = [];
  const descriptor = openSync(file, 'w');
  let bytes = 0;
  let text = '';
  for (let line = 1; line <= lines; line++) {
    const head = `10.${below(256)}.${below(256)}.${below(256)} - - ${timeOf(line)}`;
    if (below(LINES_PER_UNUSABLE) === 0) {
      const kind = UNUSABLE[below(UNUSABLE.length)];
      text += `${kind.line(head)}\n`;
      unusable.push({ line, reason: kind.reason });
    } else {
      const path = pathOf(pick());
      const status = STATUSES[below(STATUSES.length)];
      const size = status === 304 ? 0 : below(50_000);
      const shown = status === 304 ? '-' : size;
      text += `${head} "GET ${path} HTTP/1.1" ${status} ${shown} "https://example.org${path}?from=${below(1e6)}" "${AGENTS[below(AGENTS.length)]}"\n`;
      add(`views:${path}`, 1);
      add(`status:${status}`, 1);
      add(`bytes:${path}`, size);
    }
    if (text.length < CHUNK_CHARACTERS && line < lines) continue;
    writeFileSync(descriptor, text, 'latin1');
    bytes += text.length;
    text = '';
  }
  closeSync(descriptor);
  return { expected, unusable, bytes };
}

/** The path of a rank; 0 is asked for most. */
export const pathOf = (rank) => `/${SECTIONS[rank % SECTIONS.length]}/${rank.toString(36)}`;

/** A hundred lines a second, from the 17th of May 2015 on. */
function timeOf(line) {
  const second = Math.floor(line / 100);
  const two = (n) => String(n % 60).padStart(2, '0');
  const hours = Math.floor(second / 3_600);
  const day = 17 + Math.floor(hours / 24);
  return `[${day}/May/2015:${String(hours % 24).padStart(2, '0')}:${two(Math.floor(second / 60))}:${two(second)} +0000]`;
}
