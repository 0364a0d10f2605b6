import { describe, expect, it } from 'vitest';
import { sharedHttp } from './http-harness.js';

/** Counters over HTTP, before a real server. */

const shared = sharedHttp();
const INT64_MAX = 2n ** 63n - 1n;

describe('an increment', () => {
  it('answers the new value, as a string or as a number', async () => {
    const { http } = shared();
    expect((await http.post('/v1/increment', { name: 'one' })).json).toEqual({ name: 'one', value: '1' });
    expect((await http.post('/v1/increment', { name: 'one', delta: '41' })).json).toEqual({ name: 'one', value: '42' });
    const { json } = await http.post('/v1/increment?numbers=true', { name: 'one', delta: -2, ack: 'applied' });
    expect(json).toEqual({ name: 'one', value: 40 });
  });

  it('keeps numbers of 64 bits whole, and tells one that JSON cannot hold as a problem that happened', async () => {
    const { http } = shared();
    const { json } = await http.post('/v1/increment', { name: 'large', delta: String(INT64_MAX) });
    expect(json.value).toBe(String(INT64_MAX));
    const unsafe = await http.get('/v1/counters/large?numbers=true');
    expect(unsafe.json).toMatchObject({ status: 422, code: 'VALUE_UNSAFE', detail: `The value is ${INT64_MAX}.` });
    const overflow = await http.post('/v1/increment', { name: 'large' });
    expect(overflow.json).toMatchObject({ status: 409, code: 'OVERFLOW', outcome: 'refused', retryable: false });
    expect((await http.post('/v1/increment?numbers=true', { name: 'large', delta: -1 })).json.outcome).toBe('applied');
  });

  it.each([[1.5], [2 ** 53], ['1.5'], ['0x1'], ['+1'], ['01'], [''], [null], [true], [[1]], ['99999999999999999999']])(
    'of %j is refused',
    async (delta) => {
      const { status, headers, json } = await shared().http.post('/v1/increment', { name: 'refused', delta });
      expect(status).toBe(400);
      expect(headers['content-type']).toBe('application/problem+json');
      expect(json).toMatchObject({ type: 'urn:tallystick:error:INVALID_ARGUMENT', status: 400, outcome: 'refused' });
      expect(json.detail).toContain('delta');
    },
  );

  it('beyond 64 bits is refused though it has 19 digits', async () => {
    const { json } = await shared().http.post('/v1/increment', { name: 'refused', delta: '9223372036854775808' });
    expect(json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
  });

  it('is refused under a name that is none, and others of the same turn are not', async () => {
    const { http } = shared();
    const bad = ['', 'x'.repeat(1_025), 'é'.repeat(513), '\ud800', 7].map((name) =>
      http.post('/v1/increment', { name }),
    );
    const good = await http.post('/v1/increment', { name: 'neighbour' });
    expect(good.json).toEqual({ name: 'neighbour', value: '1' });
    for (const { status } of await Promise.all(bad)) expect(status).toBe(400);
    const reads = await Promise.all(
      [`/v1/counters/${'é'.repeat(513)}`, '/v1/counters/neighbour'].map((path) => http.get(encodeURI(path))),
    );
    expect(reads.map(({ status }) => status)).toEqual([400, 200]);
  });

  it('keeps to its bounds', async () => {
    const { http } = shared();
    await http.post('/v1/increment', { name: 'stock', delta: 1 });
    const { json } = await http.post('/v1/increment', { name: 'stock', delta: -2, min: '0' });
    expect(json).toMatchObject({ status: 409, code: 'OUT_OF_BOUNDS' });
    expect((await http.post('/v1/increment', { name: 'stock', delta: -1, min: 0, max: 1 })).json.value).toBe('0');
  });

  it('with an id happens once', async () => {
    const { http } = shared();
    const body = { name: 'orders', id: 'order-4711' };
    for (let i = 0; i < 3; i++) expect((await http.post('/v1/increment', body)).json.value).toBe('1');
    expect((await http.post('/v1/increment', { ...body, delta: 2 })).json).toMatchObject({
      status: 422,
      code: 'OPERATION_CONFLICT',
    });
  });
});

describe('a batch', () => {
  it('tells each operation what became of it, in their order', async () => {
    const operations = [{ name: 'b:1', delta: 5 }, { name: 'b:2', delta: -1, min: 0 }, { name: 'b:1' }];
    const { status, json } = await shared().http.post('/v1/increment', { operations });
    expect(status).toBe(200);
    expect(json.failed).toBe(1);
    expect(json.results).toMatchObject([
      { name: 'b:1', value: '5' },
      { name: 'b:2', error: { code: 'OUT_OF_BOUNDS', outcome: 'refused', retryable: false } },
      { name: 'b:1', value: '6' },
    ]);
  });

  it('of which nothing was applied is a problem, by the error that made it fail', async () => {
    const operations = [{ name: '{cart}a' }, { name: '{cart}b', delta: -1, min: 0 }];
    const { status, json } = await shared().http.post('/v1/increment', { operations, atomic: true });
    expect(status).toBe(409);
    expect(json).toMatchObject({
      code: 'OUT_OF_BOUNDS',
      results: [{ error: { code: 'ATOMIC_ABORTED' } }, { name: '{cart}b' }],
    });
    expect((await shared().http.get('/v1/counters/%7Bcart%7Da')).json.value).toBe('0');
  });

  it('that is atomic needs one partition', async () => {
    const operations = Array.from({ length: 20 }, (_, i) => ({ name: `apart:${i}` }));
    const { json } = await shared().http.post('/v1/increment', { operations, atomic: true });
    expect(json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
    expect(json.detail).toContain('{tag}');
  });

  it.each([
    [{ operations: [] }, 'operations'],
    [{ operations: [{ name: 5 }] }, 'operations.0.name'],
    [{ operations: [{ name: 'a' }], atomic: 1 }, 'atomic'],
    [{ operations: [{ name: 'a', ack: 'applied' }] }, 'ack'],
    [{ name: 'a', operation: [] }, 'operation'],
    [{}, 'name'],
    [[], 'expected'],
    [null, 'expected'],
  ])('or increment of %j is refused by what is wrong with it', async (body, why) => {
    const { json } = await shared().http.post('/v1/increment', body);
    expect(json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
    expect(json.detail).toContain(why);
  });
});

describe('a counter', () => {
  it('is read by its path, whatever is in its name', async () => {
    const { http } = shared();
    for (const name of ['a/b', 'ünï/code', 'per%cent', '?#&=+ ', '{name}', 'views:/', '"\\\n\u0000\u2028\u{1f600}']) {
      await http.post('/v1/increment', { name, delta: 3 });
      for (const read of ['', '?read=latest', '?read=durable&numbers=false']) {
        const { text } = await http.get(`/v1/counters/${encodeURIComponent(name)}${read}`);
        expect(text).toBe(JSON.stringify({ name, value: '3', exists: true, durable: true }));
      }
      const { text } = await http.get(`/v1/counters/${encodeURIComponent(name)}?numbers=true`);
      expect(text).toBe(JSON.stringify({ name, value: 3, exists: true, durable: true }));
    }
    expect((await http.get('/v1/counters/a/b')).json.value).toBe('3');
    expect((await http.get('/v1/counters/nobody')).json).toEqual({
      name: 'nobody',
      value: '0',
      exists: false,
      durable: true,
    });
  });

  it('is read with others, in the order in which they were asked for', async () => {
    const { http } = shared();
    await http.post('/v1/increment', { operations: [{ name: 'm:1' }, { name: 'm:2', delta: 2 }] });
    const { json } = await http.post('/v1/get?numbers=true', { names: ['m:2', 'm:3', 'm:1', 'm:2'], read: 'latest' });
    expect(json.counters.map((each: { name: string; value: number }) => [each.name, each.value])).toEqual([
      ['m:2', 2],
      ['m:3', 0],
      ['m:1', 1],
      ['m:2', 2],
    ]);
  });

  it.each([
    '/v1/counters/a?read=never',
    '/v1/counters/a?reed=latest',
    '/v1/counters/a?read=latest&read=latest',
    '/v1/counters/a?numbers=yes',
    '/v1/counters/a?%ff=1',
    '/v1/counters/%ff',
    '/v1/counters/a%',
  ])('is not read by %s', async (path) => {
    expect((await shared().http.get(path)).json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
  });

  it('is set, with a reason and if it is wished with an expectation', async () => {
    const { http } = shared();
    const set = (body: object) => http.post('/v1/set', { name: 'lamp', reason: 'delivery', ...body });
    expect((await set({ value: '9007199254740993' })).json).toEqual({ name: 'lamp', previous: '0' });
    expect((await set({ value: 7, expect: 1 })).json).toMatchObject({ status: 409, code: 'EXPECTATION_FAILED' });
    expect((await set({ value: 7, expect: '9007199254740993' })).json.previous).toBe('9007199254740993');
    expect((await set({ value: 7, reason: '' })).json.detail).toContain('reason');
    expect((await set({ value: 7, reason: 'é'.repeat(200) })).status).toBe(400);
  });

  it('is deleted by its path or by a body, with a reason', async () => {
    const { http } = shared();
    const name = 'gone/1';
    await http.post('/v1/increment', { name, delta: 5 });
    expect((await http.ask('DELETE', '/v1/counters/gone%2F1')).json).toMatchObject({ status: 400 });
    const wrong = await http.ask('DELETE', '/v1/counters/gone%2F1?reason=over&expect=4');
    expect(wrong.json).toMatchObject({ status: 409, code: 'EXPECTATION_FAILED' });
    const { json } = await http.ask('DELETE', '/v1/counters/gone%2F1?reason=it+is+over&expect=5');
    expect(json).toEqual({ name, previous: '5', existed: true });
    expect((await http.post('/v1/delete', { name, reason: 'again' })).json).toEqual({
      name,
      previous: '0',
      existed: false,
    });
  });
});
