import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { HttpListenOptions } from '../../src/http/listener.js';
import { ManualClock } from '../support/manual-clock.js';
import { openConstant, SocketClient } from './socket-client.js';

/** What a connection of the fast path does besides reading requests: who answers, in which order, and when it ends. */

async function opened(listen: Partial<HttpListenOptions> = {}) {
  const server = await openConstant(listen);
  onTestFinished(() => server.close());
  const connect = async (): Promise<SocketClient> => {
    const client = await SocketClient.connect(server.port);
    onTestFinished(() => {
      client.socket.destroy();
    });
    return client;
  };
  /** How many requests node:http had. */
  const seen = { byNode: 0 };
  const see = (message: unknown) => {
    if ((message as { socket: Socket }).socket.localPort === server.port) seen.byNode++;
  };
  subscribe('http.server.request.start', see);
  onTestFinished(() => {
    unsubscribe('http.server.request.start', see);
  });
  return { ...server, seen, connect };
}
const turns = async (count = 20): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

const get = (path: string, ...fields: string[]) =>
  `${[`GET ${path} HTTP/1.1`, 'Host: localhost', ...fields].join('\r\n')}\r\n\r\n`;
const post = (body: string, ...fields: string[]) => {
  const all = ['Host: localhost', 'Content-Type: application/json', ...fields, `Content-Length: ${body.length}`];
  return { head: `POST /v1/increment HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n`, body };
};
const increment = (name: string) => {
  const { head, body } = post(JSON.stringify({ name }));
  return head + body;
};

describe('a request is answered beneath node:http', () => {
  it.each([
    ['plain', [get('/v1/counters/a')], 0],
    ['wrong, but plain', [get('/nothing', 'Accept: text/html')], 0],
    ['with a key', [increment('a').replace('Host', 'Idempotency-Key: k\r\nHost')], 0],
    ['one of many', [increment('a'), get('/livez'), increment('b')], 0],
    ['one of many at a time', [increment('a') + get('/livez') + increment('b')], 0],
    ['whose body comes behind its head', [post('{"name":"a"}').head, '{"name":"a"}', increment('b')], 0],
    ['cut within its head', [get('/livez').slice(0, 20), get('/livez').slice(20), get('/livez')], 2],
    ['cut within its body', [increment('a').slice(0, -3), increment('a').slice(-3)], 1],
    ['whose body comes in more pieces', [post('{"name":"a"}').head, '{"name"', ':"a"}'], 1],
    ['of another method', [get('/livez').replace('GET', 'HEAD')], 1],
    ['of a stream', [get('/v1/feed?name=a')], 1],
    ['with a body that is no UTF-8', [increment('a').replace('"a"', '"\xff"')], 1],
    ['behind one that was not', [get('/livez', 'Expect: 100-continue'), get('/livez')], 2],
  ])('%s', async (_, pieces, byNode) => {
    const { seen, connect } = await opened();
    const client = await connect();
    await client.send(...pieces);
    await client.answers(pieces.join('').match(/HTTP\/1\.1/g)?.length ?? 0);
    expect(seen.byNode).toBe(byNode);
  });
});

describe('pipelined requests', () => {
  it('are answered one after the other, in their order', async () => {
    const { lanes, service, connect } = await opened();
    const client = await connect();
    let release: (() => void) | undefined;
    lanes.until = new Promise((resolve) => {
      release = resolve;
    });
    await client.send(increment('a') + increment('b'), get('/nothing') + get('/livez'));
    await turns();
    // Only the first is in hand, and what needs nobody waits for its turn too
    expect([lanes.incremented, service.admission.requests, client.text]).toEqual([['a'], 1, '']);
    release?.();
    await client.answers(4);
    expect(lanes.incremented).toEqual(['a', 'b']);
    expect(client.text.match(/"name":"."|ROUTE_UNKNOWN"|"ok"/g)).toEqual([
      '"name":"a"',
      '"name":"b"',
      'ROUTE_UNKNOWN"',
      'ROUTE_UNKNOWN"',
      '"ok"',
    ]);
  });

  it('of a client that reads no answers wait in its socket', async () => {
    const { service, connect, seen } = await opened();
    const client = await connect();
    client.socket.pause();
    await client.send(get('/openapi.json').repeat(300));
    const answered = () => service.figures.answers.get('getOpenApi')?.get(200) ?? 0;
    for (let before = -1; before < answered(); await turns(500)) before = answered();
    expect(answered()).toBeLessThan(200);
    client.socket.resume();
    await client.answers(300);
    expect([answered(), seen.byNode]).toEqual([300, 0]);
  });
});

describe('connections that read into the same bytes', () => {
  it.each([
    ['behind a request in hand', (name: string) => [increment(name) + increment(`${name}${name}`)]],
    ['where a body is to come', (name: string) => [post(`{"name":"${name}"}`).head, `{"name":"${name}"}`]],
    ['where node:http reads on', (name: string) => [increment(name).slice(0, 60), increment(name).slice(60)]],
  ])('keep what is theirs: %s', async (_, piecesOf) => {
    const { lanes, connect } = await opened();
    let release: (() => void) | undefined;
    lanes.until = new Promise((resolve) => {
      release = resolve;
    });
    const names = ['a', 'b', 'c'];
    const clients = await Promise.all(names.map(connect));
    const all = names.map(piecesOf);
    // The same piece of each, one after the other, so that each comes where the one before it lay
    for (let piece = 0; piece < (all[0] as string[]).length; piece++) {
      for (const [i, client] of clients.entries()) {
        await client.send(all[i]?.[piece] as string);
        await turns();
      }
    }
    release?.();
    for (const [i, client] of clients.entries()) {
      const asked = (all[i] as string[]).join('').match(/"name":"\w+"/g);
      await client.answers(asked?.length ?? 0);
      expect(client.text.match(/"name":"\w+"/g)).toEqual(asked);
    }
  });
});

describe('a connection', () => {
  it('on which nothing was asked for too long is told so', async () => {
    const clock = new ManualClock();
    const { connect } = await opened({ clock });
    const [silent, busy] = [await connect(), await connect()];
    await busy.send(get('/livez'));
    await turns();
    clock.advance(8_000);
    await turns();
    expect([silent.text, busy.isClosed]).toEqual(['', false]);
    clock.advance(2_000);
    expect(await silent.rest()).toMatch(/^HTTP\/1\.1 408 REQUEST_TIMEOUT\r\nConnection: close\r\n/);
    expect(busy.isClosed).toBe(false);
  });

  it('ends when nothing more was asked for a minute, and no sooner', async () => {
    const clock = new ManualClock();
    const { connect, service } = await opened({ clock });
    const client = await connect();
    clock.advance(3_900);
    await client.send(get('/livez'));
    await client.answers(1);
    clock.advance(58_000);
    await client.send(get('/livez'));
    await client.answers(2);
    clock.advance(60_000);
    await turns();
    expect(client.isClosed).toBe(false);
    clock.advance(4_000);
    await client.rest();
    while (service.figures.connections > 0) await turns(1);
  });

  it('whose request is in hand does not end', async () => {
    const clock = new ManualClock();
    const { lanes, connect } = await opened({ clock });
    let release: (() => void) | undefined;
    lanes.until = new Promise((resolve) => {
      release = resolve;
    });
    const client = await connect();
    await client.send(increment('a'));
    while (lanes.incremented.length === 0) await turns(1);
    clock.advance(100_000);
    await turns();
    release?.();
    await client.answers(1);
    expect(client.text).toContain('HTTP/1.1 200');
  });

  it('whose body does not come is left to node:http and its deadline', async () => {
    const { connect, service } = await opened({ headersMilliseconds: 50, requestMilliseconds: 50 });
    const client = await connect();
    await client.send(post('{"name":"a"}').head);
    expect(await client.rest()).toMatch(/^HTTP\/1\.1 408 /);
    expect(service.admission).toMatchObject({ requests: 0, bodyBytes: 0 });
  });

  it('that its client ends where a body is to come is told that this is no request', async () => {
    const { connect } = await opened();
    const client = await connect();
    await client.send(post('{"name":"a"}').head);
    client.socket.end();
    expect(await client.rest()).toMatch(/^HTTP\/1\.1 400 INVALID_ARGUMENT\r\n/);
  });

  it('that breaks while its request is in hand leaves nothing behind', async () => {
    const { lanes, service, connect } = await opened();
    let release: (() => void) | undefined;
    lanes.until = new Promise((resolve) => {
      release = resolve;
    });
    const clients = await Promise.all(Array.from({ length: 4 }, connect));
    for (const client of clients) await client.send(increment('a'));
    while (lanes.incremented.length < 4) await turns(1);
    clients[0]?.socket.resetAndDestroy();
    clients[1]?.socket.destroy();
    clients[2]?.socket.end();
    while (service.figures.connections > 1) await turns(1);
    release?.();
    await clients[3]?.answers(1);
    expect(service.admission).toMatchObject({ requests: 0, bodyBytes: 0 });
    expect(clients[2]?.text).toBe('');
  });

  it('of a service that ends gets the answer to what it asked, and then ends', async () => {
    const server = await openConstant();
    let release: (() => void) | undefined;
    server.lanes.until = new Promise((resolve) => {
      release = resolve;
    });
    const [idle, asking, fresh] = [
      await SocketClient.connect(server.port),
      await SocketClient.connect(server.port),
      await SocketClient.connect(server.port),
    ];
    await idle.send(get('/livez'));
    await idle.answers(1);
    await asking.send(increment('a') + increment('b'));
    while (server.lanes.incremented.length === 0) await turns(1);
    const closed = server.close();
    await idle.rest();
    await fresh.send(get('/livez'));
    expect(await fresh.rest()).toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\nConnection: close\r\n[\s\S]*SHUTTING_DOWN/);
    release?.();
    expect(await asking.rest()).toMatch(
      /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\nConnection: close\r\n\r\n\{"name":"a","value":"2"\}$/,
    );
    await closed;
    expect(server.lanes.incremented).toEqual(['a']);
  });
});
