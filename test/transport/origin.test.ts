import { expect, test } from 'vitest';
import { mayConnect } from '../../src/transport/origin.js';

const ALLOWED = ['https://app.example', 'http://intranet:8080', 'chrome-extension://abcdef'];

test.each([
  // no browser
  [undefined, '127.0.0.1:7080', true],
  [undefined, undefined, true],
  // named
  ['https://app.example', 'db.example:7080', true],
  ['http://intranet:8080', '127.0.0.1', true],
  ['chrome-extension://abcdef', '127.0.0.1', true],
  ['https://app.example:444', 'db.example', false],
  ['http://app.example', 'db.example', false],
  ['https://app.example.evil', 'db.example', false],
  ['https://sub.app.example', 'db.example', false],
  ['chrome-extension://other', '127.0.0.1', false],
  // the same host, by an address that no name server gives away
  ['http://127.0.0.1:3000', '127.0.0.1:7080', true],
  ['http://127.0.0.1', '127.0.0.1', true],
  ['https://localhost:3000', 'localhost:7080', true],
  ['http://localhost', 'LOCALHOST:7080', true],
  ['http://[::1]:3000', '[::1]:7080', true],
  ['http://[0:0:0:0:0:0:0:1]', '[::1]', true],
  ['http://10.1.2.3', '10.1.2.3:7080', true],
  ['http://127.0.0.1', '127.0.0.2', false],
  ['http://localhost', '127.0.0.1', false],
  ['http://[::1]', '127.0.0.1', false],
  // the same host by a name, which may have been made to lead here
  ['http://evil.example:7080', 'evil.example:7080', false],
  ['http://127.0.0.1.evil.example', '127.0.0.1.evil.example', false],
  ['http://localhost.evil.example', 'localhost.evil.example', false],
  ['http://a.localhost', 'a.localhost', false],
  ['http://db', 'db', false],
  // no origins of pages
  ['null', '127.0.0.1', false],
  ['null', 'null', false],
  ['', '127.0.0.1', false],
  ['file://', '127.0.0.1', false],
  ['ftp://127.0.0.1', '127.0.0.1', false],
  ['http://127.0.0.1@evil.example', 'evil.example', false],
  ['http://evil.example@127.0.0.1', '127.0.0.1', false],
  ['http://evil.example/@127.0.0.1', '127.0.0.1', false],
  ['http://127.0.0.1, https://app.example', '127.0.0.1', false],
  ['http://127.0.0.1', 'x@127.0.0.1', false],
  ['http://127.0.0.1', undefined, false],
  ['http://undefined', undefined, false],
  ['http://127.0.0.1', '', false],
])('A page of %s that asks %s for a connection: %s', (origin, host, isAllowed) => {
  expect(mayConnect({ origin, host }, ALLOWED)).toBe(isAllowed);
});

test('Without a list nothing but the host itself is let in', () => {
  expect(mayConnect({ origin: 'https://app.example', host: 'app.example' }, [])).toBe(false);
  expect(mayConnect({ origin: 'http://127.0.0.1', host: '127.0.0.1' }, [])).toBe(true);
});
