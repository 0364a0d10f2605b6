import { describe, expect, it } from 'vitest';
import { sharedHttp } from './http-harness.js';

/** Counters that end by themselves, and increments that count once for each item, over HTTP. */

const shared = sharedHttp();
const DAY = 86_400_000;
const END = '2099-12-31T00:00:00Z';

describe('the end of a counter', () => {
  it('is set, read and taken back', async () => {
    const { http } = shared();
    await http.post('/v1/increment', { name: 'cart:1', delta: 3 });
    const expire = (expiry: unknown) => http.post('/v1/expire', { name: 'cart:1', expiry });
    const read = async () => (await http.get('/v1/expiry?name=cart:1')).json;
    expect(await read()).toEqual({ name: 'cart:1', existed: true, expires: null });
    expect((await expire({ at: END })).json).toEqual({ name: 'cart:1', existed: true, expires: Date.parse(END) });
    expect((await expire({ after: '1d', ifNone: true })).json.expires).toBe(Date.parse(END));
    expect((await read()).expires).toBe(Date.parse(END));
    const before = Date.now();
    const { expires } = (await expire({ after: '1d' })).json;
    expect(expires).toBeGreaterThanOrEqual(before + DAY);
    expect(expires).toBeLessThan(Date.now() + 2 * DAY);
    expect((await expire('never')).json.expires).toBeNull();
    expect((await expire({ at: 0 })).json).toEqual({ name: 'cart:1', existed: true, expires: null });
    expect((await http.get('/v1/counters/cart:1')).json).toMatchObject({ value: '0', exists: false });
    expect((await http.get('/v1/expiry?name=cart:1&read=latest')).json).toMatchObject({ existed: false });
  });

  it.each([
    [{}],
    ['always'],
    [{ after: '1m', at: 0 }],
    [{ after: '1m', never: true }],
    [{ after: 'soon' }],
    [{ after: '999999999999d' }],
    [{ at: 'soon' }],
    [null],
  ])('is refused where it is %j', async (expiry) => {
    const { http } = shared();
    const { json } = await http.post('/v1/expire', { name: 'cart:2', expiry });
    expect(json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT', outcome: 'refused' });
  });

  it('is no matter of an Idempotency-Key', async () => {
    const body = { name: 'cart:3', expiry: { after: '1m' } };
    const { json } = await shared().http.post('/v1/expire', body, { 'Idempotency-Key': 'k' });
    expect(json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
  });

  it('comes with an increment: a limit in a fixed window is one request', async () => {
    const { http } = shared();
    const call = { name: 'calls:alice', max: 2, expiry: { after: '1h', ifNone: true } };
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await http.post('/v1/increment', call)).status);
    expect(statuses).toEqual([200, 200, 409]);
    const { expires } = (await http.get('/v1/expiry?name=calls:alice')).json;
    expect(expires).toBeGreaterThan(Date.now());
    const operations = [{ name: 'calls:bob', expiry: { at: END } }, { name: 'calls:carol' }];
    expect((await http.post('/v1/increment', { operations })).json.failed).toBe(0);
    expect((await http.get('/v1/expiry?name=calls:bob')).json.expires).toBe(Date.parse(END));
    expect((await http.get('/v1/expiry?name=calls:carol')).json.expires).toBeNull();
  });
});

describe('an increment that counts once for each item', () => {
  const once = (body: object, query = '') => shared().http.post(`/v1/once${query}`, { name: 'views:once', ...body });

  it('counts an item once, however often it is asked for', async () => {
    expect((await once({ item: 'a' })).json).toEqual({ name: 'views:once', counted: true, value: '1' });
    const again = await once({ item: 'a', within: '24h', delta: 5, ack: 'applied' });
    expect(again.json).toEqual({ name: 'views:once', counted: false, value: '1' });
    const large = String(2n ** 60n);
    expect((await once({ item: 'b', delta: large })).json.value).toBe(String(2n ** 60n + 1n));
    expect((await once({ item: 'b' }, '?numbers=true')).json).toMatchObject({ status: 422, code: 'VALUE_UNSAFE' });
  });

  it('is refused where the class keeps no such items, or another time', async () => {
    expect((await once({ name: 'plain', item: 'a' })).json).toMatchObject({ status: 422, code: 'NOT_TRACKED' });
    expect((await once({ item: 'c', within: '1h' })).json).toMatchObject({ status: 422, code: 'NOT_TRACKED' });
    expect((await once({ item: '' })).json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
  });

  it('is refused, for now, where its counter has as many items as it may', async () => {
    for (const item of ['a', 'b']) expect((await once({ name: 'votes:1', item })).json.counted).toBe(true);
    const full = await once({ name: 'votes:1', item: 'c' });
    expect(full.json).toMatchObject({ status: 429, code: 'ITEMS_FULL', retryable: true, outcome: 'refused' });
    expect((await once({ name: 'votes:1', item: 'a' })).json).toMatchObject({ counted: false, value: '2' });
  });
});
