import { once } from 'node:events';
import { createConnection } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openHttp, sharedHttp } from './http-harness.js';

/** What any request meets, whatever it is for. */

const shared = sharedHttp({ hosts: ['counters.example'] });
const JSON_HEADER = { 'Content-Type': 'application/json' };

/** Sends bytes and reads until the server ends the connection. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = createConnection({ port, host: '127.0.0.1' });
  onTestFinished(() => {
    socket.destroy();
  });
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.on('error', () => {});
  socket.write(bytes);
  await once(socket, 'close');
  return text;
}

/** Status and problem of such an answer. */
function problemIn(text: string) {
  const [head = '', body = ''] = text.split('\r\n\r\n');
  expect(head).toContain('application/problem+json');
  return { line: head.split('\r\n')[0], ...JSON.parse(body) };
}

describe('a request', () => {
  it.each([
    ['GET', '/', 404, 'ROUTE_UNKNOWN'],
    ['GET', '/v1/counters/', 404, 'ROUTE_UNKNOWN'],
    ['GET', '/v1/increment/', 404, 'ROUTE_UNKNOWN'],
    ['GET', '//v1/increment', 404, 'ROUTE_UNKNOWN'],
    ['GET', '/v1/increment', 405, 'METHOD_UNKNOWN'],
    ['PUT', '/v1/counters/a', 405, 'METHOD_UNKNOWN'],
    ['OPTIONS', '/v1/increment', 405, 'METHOD_UNKNOWN'],
  ])('%s %s is answered with %i', async (method, path, status, code) => {
    const answer = await shared().http.ask(method, path);
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.json).toMatchObject({ type: `urn:tallystick:error:${code}`, status, code, outcome: 'refused' });
    expect(answer.json.title).toMatch(/\.$/);
  });

  it('is told which methods there are', async () => {
    expect((await shared().http.ask('PUT', '/v1/counters/a')).headers.allow).toBe('GET, HEAD, DELETE');
    expect((await shared().http.ask('GET', '/v1/set')).headers.allow).toBe('POST');
  });

  it('of HEAD gets the head alone', async () => {
    const { status, headers, text } = await shared().http.ask('HEAD', '/v1/counters/a');
    expect([status, text, headers['content-type']]).toEqual([200, '', 'application/json']);
  });

  it.each([
    ['text/html', 406],
    ['application/json;q=0', 406],
    ['application/json;q=0, */*', 406],
    ['application/*;q=0.5, text/html', 200],
    ['text/html, */*;q=0.1', 200],
    ['APPLICATION/JSON; charset=utf-8', 200],
    ['*/*', 200],
  ])('that accepts %s is answered with %i', async (accept, status) => {
    const answer = await shared().http.get('/v1/counters/a', { Accept: accept });
    expect([answer.status, answer.json.code]).toEqual([status, status === 200 ? undefined : 'NOT_ACCEPTABLE']);
  });

  it.each([
    [{}, 415],
    [{ 'Content-Type': 'text/plain' }, 415],
    [{ 'Content-Type': 'application/x-www-form-urlencoded' }, 415],
    [{ 'Content-Type': 'application/json; charset=utf-16' }, 415],
    [{ ...JSON_HEADER, 'Content-Encoding': 'gzip' }, 415],
    [{ 'Content-Type': 'Application/JSON; charset="UTF-8"' }, 200],
    [{ ...JSON_HEADER, 'Content-Encoding': 'identity' }, 200],
  ])('whose body is called %j is answered with %i', async (headers, status) => {
    const { http } = shared();
    const body = Buffer.from('{"names":["a"]}');
    const answer = await http.ask('POST', '/v1/get', { headers: { 'Content-Type': '', ...headers } as never, body });
    expect([answer.status, answer.json.code]).toEqual([status, status === 200 ? undefined : 'MEDIA_UNSUPPORTED']);
  });

  it.each([
    ['{"names":["a"]', 'no JSON'],
    ['', 'no JSON'],
    ['[', 'no JSON'],
    ['['.repeat(500_000), 'no JSON'],
    [Buffer.from([0x22, 0xff, 0x22]), 'no UTF-8'],
    ['{"names":["a"],"__proto__":{}}', '__proto__'],
  ])('with a body that is none is refused', async (body, why) => {
    const { json } = await shared().http.post('/v1/get', body);
    expect(json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
    expect(json.detail).toContain(why);
  });

  it('has a body of at most 1 MiB, said before or not', async () => {
    const { http, service } = shared();
    const body = JSON.stringify({ names: ['a'], read: 'x'.repeat(1_048_577) });
    for (const headers of [{ 'Content-Length': String(body.length) }, { 'Transfer-Encoding': 'chunked' }]) {
      const { status, json } = await http.post('/v1/get', body, headers as Record<string, string>);
      expect([status, json.code]).toEqual([413, 'BODY_TOO_LARGE']);
    }
    const exact = JSON.stringify({ names: ['a'], read: 'x'.repeat(1_048_576 - 25) });
    expect(exact.length).toBe(1_048_576);
    expect((await http.post('/v1/get', exact)).json.code).toBe('INVALID_ARGUMENT');
    expect(service.admission.bodyBytes).toBe(0);
  });

  it.each(['evil.example', 'evil.example:80', '127.0.0.1.evil.example', 'localhost.evil.example', 'a@127.0.0.1', ' '])(
    'to the host %j is refused, as its name could lead anywhere',
    async (host) => {
      const { status, json } = await shared().http.get('/livez', { Host: host });
      expect([status, json.code]).toEqual([421, 'HOST_REFUSED']);
    },
  );

  it.each(['127.0.0.1', '127.0.0.1:7080', 'LOCALHOST:1', '[::1]:7080', '10.1.2.3', 'counters.example:8443'])(
    'to the host %j is answered',
    async (host) => {
      for (let i = 0; i < 2; i++) expect((await shared().http.get('/livez', { Host: host })).status).toBe(200);
    },
  );

  it('may wait with its body for leave', async () => {
    const { http } = shared();
    expect((await http.post('/v1/get', { names: ['a'] }, { Expect: '100-continue' })).status).toBe(200);
    expect((await http.post('/v1/get', { names: ['a'] }, { Expect: 'more' })).json.code).toBe('INVALID_ARGUMENT');
  });
});

const NONSENSE_BEHIND = [
  'POST /v1/increment HTTP/1.1',
  'Host: localhost',
  'Content-Type: application/json',
  'Content-Length: 17',
  '',
  '{"name":"before"}NONSENSE',
  '',
  '',
].join('\r\n');

describe('what is no request', () => {
  it('is told so, and the connection ends', async () => {
    const { port } = shared().http;
    expect(problemIn(await raw(port, 'NONSENSE\r\n\r\n'))).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
    expect(problemIn(await raw(port, 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n'))).toMatchObject({
      line: 'HTTP/1.1 421 Misdirected Request',
      code: 'HOST_REFUSED',
    });
    const long = await raw(port, `GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(problemIn(long)).toMatchObject({ status: 431, code: 'HEADERS_TOO_LARGE' });
    const smuggled =
      'POST /v1/get HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
    expect(problemIn(await raw(port, smuggled))).toMatchObject({ status: 400 });
  });

  it('is told behind the answer to the request before it', async () => {
    const answers = await raw(shared().http.port, NONSENSE_BEHIND);
    expect(answers).toMatch(/^HTTP\/1\.1 200 OK\r\n.*"before".*HTTP\/1\.1 400 INVALID_ARGUMENT\r\n.*"refused"}$/s);
  });

  it('is not told to those who wait for the answer of node:http to the request before it', async () => {
    const { http, listener } = await openHttp(shared().server, { listen: { nodeAlone: true } });
    onTestFinished(() => listener.close());
    const value = async () => Number((await http.get('/v1/counters/before?read=latest')).json.value);
    const before = await value();
    expect(await raw(http.port, NONSENSE_BEHIND)).not.toContain('refused');
    expect(await value()).toBe(before + 1);
  });

  it('is not waited for: half a head and half a body end', async () => {
    const listen = { headersMilliseconds: 50, requestMilliseconds: 50 };
    const { http, listener, service } = await openHttp(shared().server, { listen });
    onTestFinished(() => listener.close());
    expect(problemIn(await raw(http.port, 'GET /livez HTTP/1.1\r\nHost:'))).toMatchObject({
      status: 408,
      code: 'REQUEST_TIMEOUT',
      retryable: true,
    });
    const half =
      'POST /v1/get HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{';
    expect(problemIn(await raw(http.port, half))).toMatchObject({ status: 408 });
    while (service.admission.bodyBytes > 0) await new Promise((resolve) => setImmediate(resolve));
  });
});

describe('a server with too much in hand', () => {
  const POST = 'POST /v1/increment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';

  it('refuses reads before writes, and never a probe', async () => {
    const { http, listener, service } = await openHttp(shared().server, {
      admission: { requests: 2, requestsForReads: 1 },
    });
    onTestFinished(() => listener.close());
    service.admission.enter('write');
    const read = await http.get('/v1/counters/a');
    expect(read.json).toMatchObject({ status: 503, code: 'OVERLOADED', retryable: true, outcome: 'refused' });
    expect(read.headers['retry-after']).toBe('1');
    expect((await http.post('/v1/increment', { name: 'a' })).status).toBe(200);
    service.admission.enter('write');
    expect((await http.post('/v1/increment', { name: 'a' })).status).toBe(503);
    expect((await http.get('/livez')).status).toBe(200);
    service.admission.leave();
    service.admission.leave();
    expect((await http.get('/v1/counters/a')).status).toBe(200);
    expect(service.admission.requests).toBe(0);
  });

  it('bounds the bytes of bodies, and has those back of clients that went away', async () => {
    const { http, listener, service } = await openHttp(shared().server, { admission: { bodyBytes: 100 } });
    onTestFinished(() => listener.close());
    const socket = createConnection({ port: http.port, host: '127.0.0.1' });
    socket.write(`${POST}Content-Length: 200\r\n\r\n${' '.repeat(80)}`);
    while (service.admission.bodyBytes < 80) await new Promise((resolve) => setImmediate(resolve));
    const refused = await http.post('/v1/increment', { name: 'x'.repeat(50) });
    expect(refused.json).toMatchObject({ status: 503, code: 'OVERLOADED' });
    socket.destroy();
    while (service.admission.bodyBytes > 0) await new Promise((resolve) => setImmediate(resolve));
    expect((await http.post('/v1/increment', { name: 'x'.repeat(50) })).status).toBe(200);
  });
});

describe('a service that ends', () => {
  it('answers what it let in, refuses what comes, and ends each connection', async () => {
    const { http, listener, service } = await openHttp(shared().server);
    const before = await http.post('/v1/increment', { name: 'last' });
    expect(before.headers.connection).toBe('keep-alive');
    service.admission.enter('write');
    let isClosed = false;
    const closed = listener.close().then(() => {
      isClosed = true;
    });
    for (let i = 0; i < 10; i++) await expect(http.get('/livez')).rejects.toThrow();
    expect(isClosed).toBe(false);
    service.admission.leave();
    await closed;
    const exchange = service.begin('GET', '/livez', { host: 'localhost' } as never);
    const answer = await new Promise((resolve) => service.answer(exchange as never, undefined, resolve));
    expect(answer).toMatchObject({ status: 503, body: expect.stringContaining('SHUTTING_DOWN') });
  });
});
