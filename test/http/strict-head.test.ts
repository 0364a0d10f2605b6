import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StrictHeadReader } from '../../src/http/strict-head.js';

/** What the fast path takes for a request: little, and only in one form. */

const read = (text: string | Buffer) => new StrictHeadReader().read(Buffer.from(text as string, 'latin1'));
const GET = 'GET /v1/counters/a HTTP/1.1\r\nHost: localhost\r\n\r\n';
const post = (length: string, more = '') =>
  `POST /v1/increment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${more}Content-Length: ${length}\r\n\r\n`;

const from = (characters: string) => fc.constantFrom(...characters);
const ALPHANUMERIC = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
const text = (character: fc.Arbitrary<string>, minLength: number, maxLength: number) =>
  fc.array(character, { minLength, maxLength }).map((all) => all.join(''));

/** A plain request, and what it says. */
const plain = fc
  .record({
    isPost: fc.boolean(),
    target: text(from(`${ALPHANUMERIC}-._~!$&'()*+,;=:@/?%`), 0, 40).map((rest) => `/${rest}`),
    host: fc.array(text(visible, 1, 9), { maxLength: 3 }).map((words) => words.join(' \t')),
    others: fc.uniqueArray(fc.tuple(text(from(`${ALPHANUMERIC}!#$%&'*+-.^_\`|~`), 1, 12), text(visible, 0, 12)), {
      selector: ([name]) => name.toLowerCase(),
      maxLength: 5,
    }),
    spaces: fc.tuple(text(from(' \t'), 0, 3), text(from(' \t'), 0, 3)),
    bodyBytes: fc.nat(99_999),
  })
  .filter(({ others }) => !others.some(([name]) => /^(host|content-length|connection|upgrade|expect)$/i.test(name)))
  .map(({ isPost, target, host, others, spaces: [before, after], bodyBytes }) => {
    const fields = [['HOST', host], ...others, ...(isPost ? [['Content-Length', String(bodyBytes)]] : [])];
    const lines = fields.map(([name, value]) => `${name}:${before}${value}${after}\r\n`);
    const method = isPost ? 'POST' : 'GET';
    return {
      head: `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`,
      says: { method, target, host, bodyBytes: isPost ? bodyBytes : 0 },
    };
  });

describe('the head of a plain request', () => {
  it('is read when it is whole, whatever comes behind it, and not before', () => {
    fc.assert(
      fc.property(plain, fc.uint8Array({ maxLength: 20 }), ({ head, says }, rest) => {
        const reader = new StrictHeadReader();
        const bytes = Buffer.concat([Buffer.from(head, 'latin1'), rest]);
        for (let length = 0; length < head.length; length++)
          expect(reader.read(bytes.subarray(0, length))).toBeUndefined();
        for (let length = head.length; length <= bytes.length; length++) {
          const { method, target, bodyBytes, fields, ...found } = reader.read(bytes.subarray(0, length)) ?? {};
          expect({ method, target, bodyBytes, host: fields?.host }).toEqual(says);
          expect(found).toEqual({ bytes: head.length });
        }
      }),
      { numRuns: 200 },
    );
  });

  it('is what that request says, not what the one before it said', () => {
    const reader = new StrictHeadReader();
    const of = (text: string) => reader.read(Buffer.from(text));
    expect(of(post('5'))?.bodyBytes).toBe(5);
    expect(of(post('6'))?.bodyBytes).toBe(6);
    expect(of(post('x'))).toBeUndefined();
    expect(of(post('x'))).toBeUndefined();
    expect(of(GET)).toMatchObject({ method: 'GET', bodyBytes: 0, fields: { contentType: undefined } });
    expect(of(post('6').replace('POST', 'GET'))).toBeUndefined();
    expect(of(post('6'))).toMatchObject({ bodyBytes: 6, fields: { contentType: 'application/json' } });
  });

  it('may ask for what HTTP/1.1 does anyway', () => {
    expect(read(GET.replace('\r\n\r\n', '\r\nConnection: Keep-Alive\r\n\r\n'))).toBeDefined();
  });
});

describe('what is not plain is not read', () => {
  it.each([
    ['another method', GET.replace('GET', 'HEAD')],
    ['a method in other letters', GET.replace('GET', 'get')],
    ['an empty line before it', `\r\n${GET}`],
    ['a space before it', ` ${GET}`],
    ['a line that ends without CR', GET.replace('localhost\r\n', 'localhost\n')],
    ['a request line that ends without CR', GET.replace('1.1\r\n', '1.1\n')],
    ['a line that ends without LF', GET.replace('localhost\r\n', 'localhost\r')],
    ['a CR within a value', GET.replace('localhost', 'local\rhost')],
    ['an end without CR', GET.replace('\r\n\r\n', '\n\n')],
    ['HTTP/1.0', GET.replace('1.1', '1.0')],
    ['a version in other letters', GET.replace('HTTP', 'http')],
    ['no version', GET.replace(' HTTP/1.1', '')],
    ['two spaces', GET.replace('GET ', 'GET  ')],
    ['a tab for a space', GET.replace('GET ', 'GET\t')],
    ['absolute-form', GET.replace('/v1', 'http://localhost/v1')],
    ['asterisk-form', GET.replace('/v1/counters/a', '*')],
    ['a fragment', GET.replace('/a', '/a#b')],
    ['a quote in the target', GET.replace('/a', '/"a"')],
    ['a target of other bytes', GET.replace('/a', '/\xe9')],
    ['a line that goes on', GET.replace('localhost', 'localhost\r\n more')],
    ['a space before the colon', GET.replace('Host:', 'Host :')],
    ['a line without a colon', GET.replace('Host:', 'Host')],
    ['a name of other bytes', GET.replace('Host', 'H\xf6st')],
    ['no name', GET.replace('Host:', ':')],
    ['NUL', GET.replace('localhost', 'local\0host')],
    ['a value of other bytes', GET.replace('localhost', 'l\xf6calhost')],
    ['DEL', GET.replace('localhost', 'localhost\x7f')],
    ['no fields', 'GET /livez HTTP/1.1\r\n\r\n'],
    ['two Hosts', GET.replace('\r\n\r\n', '\r\nhost: localhost\r\n\r\n')],
    ['two lengths', post('5', 'content-length: 5\r\n')],
    ['two other lengths', post('5', 'Content-Length: 6\r\n')],
    ['two types', post('5', 'Content-Type: text/plain\r\n')],
    ['chunks', post('5', 'Transfer-Encoding: chunked\r\n')],
    ['chunks without a length', GET.replace('\r\n\r\n', '\r\ntransfer-encoding: chunked\r\n\r\n')],
    ['a body of GET', post('5').replace('POST', 'GET')],
    ['a POST without a length', GET.replace('GET', 'POST')],
    ['a connection that is to end', GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')],
    ['a list of options', GET.replace('\r\n\r\n', '\r\nConnection: keep-alive, close\r\n\r\n')],
    ['an option of long ago', GET.replace('\r\n\r\n', '\r\nProxy-Connection: close\r\n\r\n')],
    ['an upgrade', GET.replace('\r\n\r\n', '\r\nUpgrade: websocket\r\n\r\n')],
    ['a wait for leave', post('5', 'Expect: 100-continue\r\n')],
    ['more than is usual', GET.replace('\r\n\r\n', `\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`)],
    [
      'more fields than are usual',
      GET.replace('\r\n\r\n', `${Array.from({ length: 100 }, (_, i) => `\r\nx${i}: 1`).join('')}\r\n\r\n`),
    ],
  ])('%s', (_, head) => {
    expect(read(head)).toBeUndefined();
  });

  it.each(['', '+5', '-5', '05', '5 5', '5,5', '5, 5', '0x5', '5.0', '1e1', '100000', '5;', '\u0665'])(
    'a length of %j',
    (length) => {
      expect(read(post('5'))).toBeDefined();
      expect(read(post(length))).toBeUndefined();
    },
  );
});
