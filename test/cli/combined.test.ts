import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COMBINED_FIELDS, type CombinedField, CombinedReader } from '../../src/cli/ingest/combined.js';
import { fieldsOf } from './reading.js';

const read = (line: string | Buffer, ...fields: CombinedField[]): (string | null)[] =>
  fieldsOf(new CombinedReader(fields), line, fields.length);

const head = '192.0.2.1 - - [17/May/2025:10:05:03 +0000]';
const breaksOff = (field: string): string => `!no ${field}: the line breaks off or is of no combined format`;
const noRequest = '!no method and path: the request is not of the form "METHOD PATH PROTOCOL"';

describe('the combined format', () => {
  it('gives all fields of an ordinary line', () => {
    const line = `${head} "GET /a?b=c HTTP/1.1" 200 2326 "http://example.org/" "Mozilla/5.0 (X11)"`;
    expect(read(line, ...COMBINED_FIELDS)).toEqual([
      '192.0.2.1',
      '17/May/2025:10:05:03 +0000',
      'GET',
      '/a?b=c',
      '200',
      '2326',
      'http://example.org/',
      'Mozilla/5.0 (X11)',
    ]);
  });

  it('ends a quoted field at an unescaped quote only, and leaves escapes as they are', () => {
    const line = `${head} "GET /a\\"b HTTP/1.1" 200 - "r\\"" "a\\\\"`;
    expect(read(line, 'path', 'bytes', 'referrer', 'agent')).toEqual(['/a\\"b', '-', 'r\\"', 'a\\\\']);
  });

  it('takes a user and a path with spaces', () => {
    const line = '192.0.2.1 - Alice Liddell [t] "GET /two words HTTP/1.1" 200 5';
    expect(read(line, 'time', 'path', 'status')).toEqual(['t', '/two words', '200']);
  });

  it('takes a request of HTTP/0.9', () => {
    expect(read(`${head} "GET /old" 200 5`, 'method', 'path', 'status')).toEqual(['GET', '/old', '200']);
  });

  it.each([
    '-',
    '',
    '\\x16\\x03\\x01',
    'GET',
    'GET ',
    ' /a HTTP/1.1',
    'GET  HTTP/1.1',
    'G{T /a HTTP/1.1',
    'GET /a b c',
    'GET /a HTTPS',
  ])('finds no path in the request %j, but the status behind it', (request) => {
    expect(read(`${head} "${request}" 408 - "-" "x"`, 'method', 'path', 'status', 'agent')).toEqual([
      noRequest,
      noRequest,
      '408',
      'x',
    ]);
  });

  it('needs no more of the line than the fields that are asked for', () => {
    const unterminated = `${head} "GET /a HTTP/1.1" 200 235 "-" "Mozilla/5.0 (compatible`;
    expect(read(unterminated, 'path', 'bytes')).toEqual(['/a', '235']);
    expect(read(unterminated, 'agent', 'path')).toEqual([breaksOff('agent'), '/a']);
    expect(read(`${head} "GET /a HTTP/1.1`, 'ip', 'time')).toEqual(['192.0.2.1', '17/May/2025:10:05:03 +0000']);
  });

  it('never takes a cut line for a whole one', () => {
    const line = `${head} "GET /a HTTP/1.1" 200 2326 "r" "a"`;
    const whole = read(line, ...COMBINED_FIELDS);
    for (let length = 0; length < line.length; length += 1)
      for (const [index, value] of read(line.slice(0, length), ...COMBINED_FIELDS).entries())
        if (!value?.startsWith('!') && COMBINED_FIELDS[index] !== 'bytes') expect(value).toBe(whole[index]);
  });

  it.each(['20', '2000', '2x0', '', 'OK'])('refuses the status %j', (status) => {
    expect(read(`${head} "GET /a HTTP/1.1" ${status} 5`, 'status', 'path')).toEqual([breaksOff('status'), '/a']);
  });

  it('refuses what is not UTF-8, and takes what is', () => {
    expect(read(`${head} "GET /größe\ufffd HTTP/1.1" 200 5`, 'path')).toEqual(['/größe\ufffd']);
    expect(read(Buffer.from(`${head} "GET /gr\xfcn HTTP/1.1" 200 5`, 'latin1'), 'path')).toEqual(['!not valid UTF-8']);
  });

  it('agrees with splitting at spaces where no field holds one', () => {
    const word = fc.stringMatching(/^[a-z0-9./?&=%-]{1,20}$/);
    const line = fc.record({
      ip: word,
      path: word,
      status: fc.stringMatching(/^[1-5][0-9]{2}$/),
      bytes: fc.stringMatching(/^([0-9]{1,9}|-)$/),
      referrer: word,
    });
    fc.assert(
      fc.property(line, ({ ip, path, status, bytes, referrer }) => {
        const text = `${ip} - - [t z] "GET ${path} HTTP/1.1" ${status} ${bytes} "${referrer}" "x"`;
        const awk = text.split(' ');
        const naive = [awk[0], awk[6], awk[8], awk[9], awk[10]?.slice(1, -1)] as string[];
        expect(read(text, 'ip', 'path', 'status', 'bytes', 'referrer')).toEqual(naive);
      }),
    );
  });
});
