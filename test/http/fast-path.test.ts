import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HttpBeforeConstantLanes, openConstant, SocketClient } from './socket-client.js';

/**
 * The fast path held against `node:http`: the same bytes, however they are cut, get the same answers, right or wrong, and are counted
 * alike. Both are before lanes that always say the same. `npm run fuzz:http` sends more.
 */

const STREAMS = Number(process.env.TALLYSTICK_HTTP_REQUESTS ?? 1_000);
const TIMEOUT_MILLISECONDS = 60_000 + 100 * STREAMS;

let fast: HttpBeforeConstantLanes;
let node: HttpBeforeConstantLanes;
beforeAll(async () => {
  fast = await openConstant();
  node = await openConstant({ nodeAlone: true });
});
afterAll(async () => {
  await Promise.all([fast.close(), node.close()]);
});

/** It ends the connection, and whatever waits for more bytes before it. */
const LAST = 'GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

interface Request {
  readonly line: string;
  readonly fields: readonly string[];
  /** As latin1. */
  readonly body: string | undefined;
}

const utf8 = (text: string) => Buffer.from(text).toString('latin1');
const bodyOf = fc.oneof(
  fc
    .record({
      name: fc.constantFrom('a', 'views:1', 'ä', '\u{1f600}', 'full', ''),
      delta: fc.constantFrom(1, 5, 'x', '7'),
    })
    .map((body) => utf8(JSON.stringify(body))),
  fc.constantFrom(
    '{"name":"a","ack":"applied"}',
    '{"operations":[{"name":"a"},{"name":"full"}]}',
    '{"operations":[{"name":"full"}]}',
    '{"names":["a","b"]}',
    utf8('{"names":["ä"]}'),
    '{"name":"\xff"}',
    '{"name":',
    '',
    ' {} ',
    'null',
  ),
);
const target = fc.constantFrom(
  '/v1/counters/a',
  '/v1/counters/a?numbers=true&read=latest',
  '/v1/counters/huge?numbers=true',
  '/v1/counters/%C3%A4',
  '/v1/counters/%ff',
  '/v1/counters/a/b',
  `/v1/counters/${'x'.repeat(1_025)}`,
  '/v1/counters/a?read=soon',
  '/v1/increment',
  '/v1/increment?numbers=true',
  '/v1/get',
  '/v1/set',
  '/livez',
  '/readyz',
  '/metrics2',
  '//',
  '/v1/counters/"a"',
  '/v1/counters/a#b',
);
let keys = 0;
const field = fc.oneof(
  fc.constantFrom(
    'Connection: keep-alive',
    'connection: Keep-Alive',
    'Accept: */*',
    'Accept: text/html',
    'Accept:application/json;q=0.5, text/html',
    'Content-Type: text/plain',
    'Content-Encoding: gzip',
    'User-Agent:  \t somebody \t ',
    'X-Nothing:',
    'X-Other: \xe4',
    'Expect: 100-continue',
    'Expect: more',
    'Upgrade: websocket',
    'TE: trailers',
    'Host: evil.example',
  ),
  // Of each only one request, as pipelined ones may be in hand together
  fc.constant('Idempotency-Key: ').map((text) => `${text}k${++keys}`),
);
const request: fc.Arbitrary<Request> = fc
  .record({
    method: fc.constantFrom('GET', 'GET', 'POST', 'POST', 'POST', 'HEAD', 'DELETE', 'OPTIONS'),
    target,
    fields: fc.array(field, { maxLength: 2 }),
    body: bodyOf,
    isTyped: fc.constantFrom(true, true, true, false),
    isChunked: fc.constantFrom(false, false, false, false, true),
  })
  .map(({ method, target, fields, body, isTyped, isChunked }) => {
    const all = ['Host: localhost', ...fields];
    if (method !== 'POST') return { line: `${method} ${target} HTTP/1.1`, fields: all, body: undefined };
    if (isTyped) all.push('Content-Type: application/json');
    const chunk = `${body.length.toString(16)}\r\n${body}\r\n`;
    all.push(isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`);
    const sent = isChunked ? `${body === '' ? '' : chunk}0\r\n\r\n` : body;
    return { line: `${method} ${target} HTTP/1.1`, fields: all, body: sent };
  });

const textOf = ({ line, fields, body = '' }: Request) => `${[line, ...fields].join('\r\n')}\r\n\r\n${body}`;

const increment = (body: string, ...fields: string[]): Request => ({
  line: 'POST /v1/increment HTTP/1.1',
  fields: ['Host: localhost', 'Content-Type: application/json', ...fields, `Content-Length: ${body.length}`],
  body,
});
const PLAIN = textOf(increment('{"name":"a"}'));
const READ = 'GET /v1/counters/a HTTP/1.1\r\nHost: localhost\r\n\r\n';
/** What smugglers hope that two readers read in two ways. */
const INNER = 'GET /v1/counters/inner HTTP/1.1\r\nHost: localhost\r\n\r\n';

const SMUGGLED: Readonly<Record<string, string>> = {
  'two lengths': textOf(increment('{"name":"a"}', 'Content-Length: 5')),
  'two equal lengths': textOf(increment('{"name":"a"}', 'Content-Length: 12')),
  'a length and chunks': textOf(increment('0\r\n\r\n', 'Transfer-Encoding: chunked')),
  'chunks and a length': textOf(increment('5\r\nabcde\r\n0\r\n\r\n', 'Transfer-Encoding : chunked')),
  'chunks spelt oddly': textOf(increment('0\r\n\r\n', 'Transfer-Encoding: xchunked')),
  'chunks on a line of its own': textOf(increment('0\r\n\r\n', 'Transfer-Encoding:\r\n chunked')),
  'a list of lengths': PLAIN.replace('Length: 12', 'Length: 12, 12'),
  'a length with a sign': PLAIN.replace('Length: 12', 'Length: +12'),
  'a length in hexadecimal': PLAIN.replace('Length: 12', 'Length: 0xc'),
  'a length with zeros': PLAIN.replace('Length: 12', 'Length: 0012'),
  'a length that is none': PLAIN.replace('Length: 12', 'Length: '),
  'a length beyond all': PLAIN.replace('Length: 12', 'Length: 18446744073709551617'),
  'a length with a space before the colon': PLAIN.replace('Length:', 'Length :'),
  'a length of GET': `${READ.replace('\r\n\r\n', `\r\nContent-Length: ${INNER.length}\r\n\r\n`)}${INNER}`,
  'a length of 0 of GET': READ.replace('\r\n\r\n', '\r\nContent-Length: 0\r\n\r\n'),
  'a bare LF behind a field': READ.replace('localhost\r\n', 'localhost\n'),
  'a bare LF between fields': PLAIN.replace('localhost\r\n', 'localhost\n'),
  'a bare CR between fields': PLAIN.replace('localhost\r\n', 'localhost\r'),
  'a bare LF behind the request line': READ.replace('1.1\r\n', '1.1\n'),
  'bare LFs': READ.replaceAll('\r\n', '\n'),
  'a bare LF at the end': READ.replace('\r\n\r\n', '\r\n\n'),
  'a bare CR': READ.replace('localhost\r\n', 'localhost\r'),
  'a field within a field': READ.replace('localhost', 'localhost\rContent-Length: 5'),
  'obs-fold': READ.replace('localhost', 'localhost\r\n folded'),
  'obs-fold with a tab': READ.replace('localhost', 'localhost\r\n\tfolded'),
  'empty lines before': `\r\n\r\n${READ}`,
  'a space before': ` ${READ}`,
  'absolute-form': READ.replace('/v1', 'http://evil.example/v1'),
  'authority-form': READ.replace('GET /v1/counters/a', 'CONNECT localhost:80'),
  'asterisk-form': READ.replace('GET /v1/counters/a', 'OPTIONS *'),
  'NUL in a value': READ.replace('localhost', 'local\0host'),
  'NUL in a name': READ.replace('Host', 'Ho\0st'),
  'NUL in the target': READ.replace('/a', '/\0a'),
  'NUL behind': READ.replace('\r\n\r\n', '\r\n\r\n\0'),
  'a long target': READ.replace('/a', `/${'a'.repeat(9_000)}`),
  'a target too long': READ.replace('/a', `/${'a'.repeat(20_000)}`),
  'a long field': READ.replace('localhost', `localhost\r\nX: ${'x'.repeat(9_000)}`),
  'a field too long': READ.replace('localhost', `localhost\r\nX: ${'x'.repeat(20_000)}`),
  'many fields': READ.replace('localhost', `localhost${'\r\nX: 1'.repeat(500)}`),
  'the Host behind many fields': READ.replace('Host', `${'X: 1\r\n'.repeat(2_001)}Host`),
  'two Hosts': READ.replace('localhost', 'localhost\r\nHost: evil.example'),
  'two Hosts, the other first': READ.replace('Host:', 'Host: evil.example\r\nHost:'),
  'no Host': READ.replace('Host', 'Ghost'),
  'a method in small letters': READ.replace('GET', 'get'),
  'a method of its own': READ.replace('GET', 'FETCH'),
  'names in capitals': PLAIN.replace('Content-Length', 'CONTENT-LENGTH').replace('Host', 'HOST'),
  'names in small letters': PLAIN.toLowerCase().replace('post', 'POST').replace('http/', 'HTTP/'),
  'HTTP/1.0': READ.replace('1.1', '1.0'),
  'HTTP/1.0 that stays': READ.replace('1.1', '1.0').replace('\r\n\r\n', '\r\nConnection: keep-alive\r\n\r\n'),
  'HTTP/1.2': READ.replace('1.1', '1.2'),
  'HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'HTTP/0.9': READ.replace(' HTTP/1.1', ''),
  'a version with more behind': READ.replace('1.1', '1.1 '),
  'a tab in the request line': READ.replace('GET ', 'GET\t'),
  'options for the next hop': READ.replace('\r\n\r\n', '\r\nConnection: keep-alive, Host\r\n\r\n'),
  'options twice': READ.replace('\r\n\r\n', '\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n'),
  'a connection of a proxy': READ.replace('\r\n\r\n', '\r\nProxy-Connection: close\r\n\r\n'),
  'an upgrade that nothing asks for': READ.replace('\r\n\r\n', '\r\nUpgrade: h2c\r\n\r\n'),
  'a trailer': PLAIN.replace('Host', 'Trailer: Host\r\nHost'),
  'a body that is longer than it says': PLAIN.replace('Length: 12', 'Length: 11'),
  'a body that is shorter than it says': PLAIN.replace('Length: 12', 'Length: 13'),
  'a name of other bytes': READ.replace('Host', 'H\xf6st'),
  'no name': READ.replace('Host:', 'X: 1\r\n: 2\r\nHost:'),
  'a line without a colon': READ.replace('Host:', 'X\r\nHost:'),
  'nothing at all': '\r\n',
};

type Cut = (text: string) => readonly string[];

/** What a client gets that sends each request when the one before is answered; the last one goes with what is told behind. */
async function oneByOne(server: HttpBeforeConstantLanes, requests: readonly string[], cut: Cut): Promise<string> {
  const client = await SocketClient.connect(server.port);
  for (let i = 0; i < requests.length - 1; i++) {
    await client.send(...cut(requests[i] as string));
    await client.answers(i + 1);
  }
  await client.send(...cut(`${requests.at(-1)}${LAST}`));
  return client.rest();
}

async function pipelined(server: HttpBeforeConstantLanes, requests: readonly string[], cut: Cut): Promise<string> {
  return oneByOne(server, [requests.join('')], cut);
}

/** A byte at a time, and each request is answered before the next byte comes. */
async function slowly(server: HttpBeforeConstantLanes, requests: readonly string[]): Promise<string> {
  const client = await SocketClient.connect(server.port);
  for (const byte of `${requests.join('')}${LAST}`) {
    await client.send(byte);
    while (server.service.admission.requests > 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return client.rest();
}

/**
 * The fast path answers as node:http does. What is no request ends the connection of a client that waits for the answer to a request before it: then
 * node:http drops that answer or not, as the bytes came, and the fast path may do what node:http does for a client that waits for each answer, or
 * sends slowly; and either may leave out, behind an answer, that the rest was no request.
 */
async function agrees(ask: typeof oneByOne, requests: readonly string[], cut: Cut): Promise<void> {
  const [ours, nodes] = await Promise.all([ask(fast, requests, cut), ask(node, requests, cut)]);
  if (ours === nodes) return;
  const others = await Promise.all([oneByOne(node, requests, whole), slowly(node, requests)]);
  expect([nodes, ...others].map(answersIn)).toContain(answersIn(ours));
}

/** Without a last one that says that the rest is no request. */
function answersIn(text: string): string {
  const end = text.indexOf('HTTP/1.1 400 INVALID_ARGUMENT');
  return end > 0 ? text.slice(0, end) : text;
}

const whole = (text: string) => [text];
const bytes = (text: string) => [...text];
const every = (length: number) => (text: string) => text.match(new RegExp(`[^]{1,${length}}`, 'g')) ?? [];
const cutting = fc.oneof(fc.constant(whole), fc.constant(bytes), fc.integer({ min: 2, max: 200 }).map(every));

describe('the fast path answers as node:http does', () => {
  it(
    'whatever is asked, in whatever pieces, and counts it alike',
    async () => {
      const asked = fc.array(request.map(textOf), { minLength: 1, maxLength: 4 });
      await fc.assert(
        fc.asyncProperty(asked, cutting, fc.constantFrom(oneByOne, pipelined), async (requests, cut, ask) => {
          const [ours, nodes] = await Promise.all([ask(fast, requests, cut), ask(node, requests, cut)]);
          expect(ours).toBe(nodes);
          const [{ figures, admission }, expected] = [fast.service, node.service.figures];
          expect([figures.answers, figures.problems]).toEqual([expected.answers, expected.problems]);
          expect(admission).toMatchObject({ requests: 0, bodyBytes: 0 });
        }),
        { numRuns: STREAMS / 2 },
      );
    },
    TIMEOUT_MILLISECONDS,
  );

  it.each(Object.entries(SMUGGLED))('%s', async (_, text) => {
    for (const cut of [whole, every(7), bytes].slice(0, text.length > 1_000 ? 2 : 3)) {
      for (const before of [[], [READ, PLAIN]]) {
        await agrees(oneByOne, [...before, text], cut);
        await agrees(pipelined, [...before, text], cut);
      }
    }
  });

  it.each([PLAIN, READ, textOf(increment(utf8('{"name":"ä","delta":"x"}'))), READ.replace('GET', 'HEAD')])(
    'wherever a request is cut in two',
    async (text) => {
      const places = Array.from({ length: text.length - 1 }, (_, i) => i + 1);
      await Promise.all(places.map((at) => agrees(oneByOne, [text], (sent) => [sent.slice(0, at), sent.slice(at)])));
    },
  );

  it(
    'also where a byte is wrong, more than it was, or gone',
    async () => {
      const wrong = fc
        .record({
          text: request.map(textOf),
          at: fc.nat(400),
          gone: fc.nat(2),
          added: fc.constantFrom('', '\r', '\n', '\0', ' ', '\t', ':', '\r\n', '\n\n', '0', ',', '\x80', '/', 'Z'),
        })
        .map(({ text, at, gone, added }) => {
          const place = at % text.length;
          return `${text.slice(0, place)}${added}${text.slice(place + gone)}`;
        });
      await fc.assert(
        fc.asyncProperty(wrong, cutting, fc.boolean(), async (text, cut, isFirst) =>
          agrees(oneByOne, isFirst ? [text] : [PLAIN, text], cut),
        ),
        { numRuns: STREAMS / 2 },
      );
    },
    TIMEOUT_MILLISECONDS,
  );
});
