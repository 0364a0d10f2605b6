import { createConnection } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Streams } from '../../src/http/streams.js';
import { EventSourceOfTests } from './event-source.js';
import { openHttp, sharedHttp } from './http-harness.js';

/** Server-sent events of a real server: what they tell, and what becomes of their clients. */

const shared = sharedHttp();
const turn = () => new Promise((resolve) => setImmediate(resolve));

function source(query: string, port = shared().http.port): EventSourceOfTests {
  const found = new EventSourceOfTests(`http://127.0.0.1:${port}/v1/feed${query}`);
  onTestFinished(() => found.close());
  return found;
}

const add = (name: string, delta = 1, http = shared().http) => http.post('/v1/increment', { name, delta });

/** Feeds of all lanes. */
async function feeds(): Promise<number> {
  const { lanes } = (await shared().http.get('/v1/stats')).json;
  return lanes.reduce((sum: number, lane: { feeds: { feeds: number } }) => sum + lane.feeds.feeds, 0);
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await turn();
}

describe('a feed', () => {
  it('tells values first and then what becomes of them, as events that a browser reads', async () => {
    const { http } = shared();
    await add('sse:a', 5);
    const events = source('?name=sse:a&name=sse:none&interval=10');
    const { statusCode, headers } = await events.open();
    expect([statusCode, headers['content-type'], headers['cache-control']]).toEqual([
      200,
      'text/event-stream',
      'no-store',
    ]);
    expect((await events.read(2)).sort()).toEqual(['value sse:a=5', 'value sse:none=none']);
    expect(events.parser.retry).toBe(1_000);
    await add('sse:none', 2);
    const change = await events.next();
    expect(change).toEqual({
      event: 'change',
      data: { name: 'sse:none', value: '2', delta: '2', exists: true, partition: expect.any(Number) },
      id: expect.stringMatching(/^[0-9a-f]+(-\d+\.\d+)+$/),
    });
    await http.ask('DELETE', '/v1/counters/sse:a?reason=gone');
    expect(await events.read(1)).toEqual(['change sse:a=none(-5)']);
  });

  it('is of names, of a prefix, or of all, and tells numbers where that is wished', async () => {
    await add('sse:p1', 1);
    await add('sse:p2', 2);
    const [prefix, all] = [source('?prefix=sse:p&numbers=true'), source('')];
    await Promise.all([prefix.open(), all.open()]);
    const told = [(await prefix.next())?.data, (await prefix.next())?.data];
    expect(new Map(told.map(({ name, value }) => [name, value]))).toEqual(
      new Map([
        ['sse:p1', 1],
        ['sse:p2', 2],
      ]),
    );
    await until(async () => {
      const event = await all.next();
      return event?.data.name === 'sse:p2';
    });
  });

  it('goes on from the last id that its client has seen, with what has changed since as one', async () => {
    await add('sse:r', 1);
    const events = source('?name=sse:r&interval=0');
    await events.open();
    expect(await events.read(1)).toEqual(['value sse:r=1']);
    await add('sse:r', 2);
    expect(await events.read(1)).toEqual(['change sse:r=3(2)']);
    events.close();
    for (let i = 0; i < 5; i++) await add('sse:r', 10);
    await events.open();
    expect(await events.read(1)).toEqual(['change sse:r=53(50)']);
    const later = source(`?name=sse:r&from=${events.parser.lastEventId}&interval=0`);
    await add('sse:r', 1);
    await later.open();
    expect(await later.read(1)).toEqual(['change sse:r=54(1)']);
    // It has come further than its address says
    later.close();
    await add('sse:r', 1);
    await later.open();
    expect(await later.read(1)).toEqual(['change sse:r=55(1)']);
  });

  it('is counted in /metrics while it is open', async () => {
    const streams = async () =>
      /^tallystick_http_streams (\d+)$/m.exec((await shared().http.get('/metrics')).text)?.[1];
    await until(async () => (await streams()) === '0');
    const events = source('?name=sse:m');
    await events.open();
    expect(await streams()).toBe('1');
    events.close();
    await until(async () => (await streams()) === '0');
  });

  it('tells where it cannot go on, before the values come anew', async () => {
    await add('sse:x', 1);
    const events = source('?name=sse:x&interval=10');
    events.parser.lastEventId = 'abc-0.5-1.5-2.5-3.5';
    await events.open();
    const reset = await events.next();
    expect(reset).toMatchObject({ event: 'reset', data: { names: ['sse:x'], partition: expect.any(Number) } });
    const value = await events.next();
    expect(value).toMatchObject({ event: 'value', data: { name: 'sse:x', partition: reset?.data.partition } });
  });

  it.each([
    ['?name=a&prefix=b', 400, 'INVALID_ARGUMENT'],
    ['?name=', 400, 'INVALID_ARGUMENT'],
    ['?prefix=a&prefix=b', 400, 'INVALID_ARGUMENT'],
    ['?name=a&interval=5', 400, 'INVALID_ARGUMENT'],
    ['/rate?name=views:/&interval=0', 400, 'INVALID_ARGUMENT'],
    ['?name=a&interval=60001', 400, 'INVALID_ARGUMENT'],
    ['?name=a&from=x', 400, 'INVALID_ARGUMENT'],
    ['?name=a&from=1-65535.1', 400, 'INVALID_ARGUMENT'],
    ['?name=a&last=5m', 400, 'INVALID_ARGUMENT'],
    [`?name=${encodeURIComponent('é'.repeat(600))}`, 400, 'NAME_INVALID'],
    [`?prefix=${encodeURIComponent('é'.repeat(600))}`, 400, 'NAME_INVALID'],
    ['/window?name=views:/', 400, 'INVALID_ARGUMENT'],
    ['/window?last=5m', 400, 'INVALID_ARGUMENT'],
    ['/window?name=views:/&last=0s', 400, 'INVALID_ARGUMENT'],
    ['/window?name=plain&last=5m', 422, 'NOT_TRACKED'],
    ['/window?name=views:/&last=2d', 422, 'NOT_TRACKED'],
    ['/rate?name=plain', 422, 'NOT_TRACKED'],
    ['/uniques?name=plain', 422, 'NOT_TRACKED'],
    ['/uniques?name=visitors:/&window=8d', 422, 'NOT_TRACKED'],
  ])('of "%s" is a problem, %i', async (query, status, code) => {
    const { json } = await shared().http.get(`/v1/feed${query}`);
    expect(json).toMatchObject({ status, code, outcome: 'refused' });
    expect(shared().service.streams.count).toBe(0);
  });

  it('is not what asks for JSON gets, and HEAD gets its head alone', async () => {
    const { http, service } = shared();
    expect((await http.get('/v1/feed?name=a', { Accept: 'application/json' })).status).toBe(406);
    expect((await http.get('/v1/feed?name=a', { 'Last-Event-ID': 'x y' })).json.code).toBe('INVALID_ARGUMENT');
    const head = await http.ask('HEAD', '/v1/feed?name=a');
    expect([head.status, head.headers['content-type'], head.text]).toEqual([200, 'text/event-stream', '']);
    expect(service.streams.count).toBe(0);
  });
});

describe('a feed of windows', () => {
  it('tells them first, and as they change', async () => {
    await add('views:sse', 5);
    const events = source('/window?name=views:sse&last=5m&interval=20');
    await events.open();
    const first = await events.next();
    expect(first).toMatchObject({ event: 'value', data: { name: 'views:sse', value: '5', error: '0' }, id: '' });
    expect(first?.data.to - first?.data.from).toBe(300_000);
    await add('views:sse', 1);
    expect(await events.next()).toMatchObject({ event: 'change', data: { value: '6' } });
  });

  it('is one of rates or unique items too', async () => {
    const { http } = shared();
    await add('views:rate', 60);
    const rates = source('/rate?name=views:rate&interval=20');
    await rates.open();
    expect((await rates.next())?.data).toMatchObject({ name: 'views:rate', rate: 1 });
    await http.post('/v1/see', { name: 'visitors:sse', items: ['a', 'b'] });
    for (const window of ['', '&window=7d']) {
      const counts = source(`/uniques?name=visitors:sse&interval=20${window}`);
      await counts.open();
      const data = { name: 'visitors:sse', count: 2, exact: true, standardError: 0 };
      expect(await counts.next()).toEqual({ event: 'value', data, id: '' });
    }
  });
});

describe('the client of a feed', () => {
  it('leaves nothing behind when it goes, whenever that is', async () => {
    const { http, service } = shared();
    await until(async () => (await feeds()) === 0);
    for (let i = 0; i < 20; i++) {
      const events = source(i % 2 === 0 ? '' : '/window?name=views:/&last=5m');
      await events.open();
      if (i % 4 < 2) await events.next();
      events.close();
    }
    const socket = createConnection({ port: http.port, host: '127.0.0.1' });
    socket.write('GET /v1/feed HTTP/1.1\r\nHost: localhost\r\n\r\n', () => socket.destroy());
    await until(async () => service.streams.count === 0 && (await feeds()) === 0);
    expect(service.admission.requests).toBe(0);
    // All of what was claimed has come back
    for (let i = 0; i < 250; i++) service.streams.claim(4);
    service.streams.giveBack(1_000);
  });

  it('waits for a place where all are taken, and takes none of those of requests', async () => {
    const streams = new Streams(3);
    const { http, listener, service } = await openHttp(shared().server, {
      streams,
      admission: { requestsForReads: 1 },
    });
    onTestFinished(() => listener.close());
    const two = source('?prefix=sse:&interval=10', http.port);
    const { statusCode, headers } = await two.open();
    expect([statusCode, headers['retry-after']]).toEqual([503, '1']);
    const open = ['a', 'b', 'c'].map((name) => source(`?name=${name}`, http.port));
    for (const events of open) expect((await events.open()).statusCode).toBe(200);
    const refused = await http.get('/v1/feed?name=d');
    expect(refused.json).toMatchObject({ status: 503, code: 'OVERLOADED', retryable: true });
    expect(refused.headers['retry-after']).toBe('1');
    expect((await http.get('/v1/counters/a')).status).toBe(200);
    expect(service.admission.requests).toBe(0);
    open[0]?.close();
    await until(() => streams.count === 2);
    expect((await source('?name=d', http.port).open()).statusCode).toBe(200);
  });

  it('is not let in where reads are not', async () => {
    const { http, listener, service } = await openHttp(shared().server, { admission: { requestsForReads: 0 } });
    onTestFinished(() => listener.close());
    expect((await http.get('/v1/feed?name=a')).json).toMatchObject({ status: 503, code: 'OVERLOADED' });
    expect([service.streams.count, service.admission.requests]).toEqual([0, 0]);
  });

  it('stays longer than a request may take', async () => {
    const listen = { headersMilliseconds: 50, requestMilliseconds: 50 };
    const { http, listener } = await openHttp(shared().server, { listen });
    onTestFinished(() => listener.close());
    const events = source('?name=sse:long&interval=10', http.port);
    await events.open();
    await events.read(1);
    // Others come and are thrown out for being late, which is looked for all the time
    for (let i = 0; i < 5; i++) {
      const late = createConnection({ port: http.port, host: '127.0.0.1' });
      late.write('GET /livez HTTP/1.1\r\n');
      late.resume();
      await new Promise((resolve) => late.once('close', resolve));
    }
    await add('sse:long');
    expect(await events.read(1)).toEqual(['change sse:long=1(1)']);
  });

  it('is told when the server ends, and nothing waits for it', async () => {
    const { http, listener } = await openHttp(shared().server);
    const [values, windows] = [source('?name=sse:end', http.port), source('/window?name=views:/&last=5m', http.port)];
    await Promise.all([values.open(), windows.open()]);
    await Promise.all([values.next(), windows.next()]);
    await listener.close();
    for (const events of [values, windows]) {
      const event = await events.next();
      expect(event).toMatchObject({ event: 'problem', data: { code: 'SHUTTING_DOWN', status: 503, retryable: true } });
      expect(await events.next()).toBeUndefined();
    }
  });

  it('is told of a number that it cannot have, and its feed ends', async () => {
    const { http } = shared();
    const events = source('?name=sse:big&numbers=true&interval=10');
    await events.open();
    expect(await events.read(1)).toEqual(['value sse:big=none']);
    await http.post('/v1/set', { name: 'sse:big', value: String(2n ** 60n), reason: 'large' });
    expect(await events.read(2)).toEqual(['problem VALUE_UNSAFE', 'end']);
  });
});
