import { describe, expect, it } from 'vitest';
import { type Answer, sharedHttp } from './http-harness.js';

/** Windows, histories, unique items, listings and figures over HTTP, before a real server whose classes keep them. */

const shared = sharedHttp();
const HOUR = 3_600_000;

describe('a window', () => {
  it('and a rate tell what the last so long has changed', async () => {
    const { http } = shared();
    const body = {
      operations: [
        { name: 'views:w', delta: 5 },
        { name: 'views:w', delta: 2, time: Date.now() - 2 * HOUR },
      ],
    };
    expect((await http.post('/v1/increment', body)).json.failed).toBe(0);
    const { json } = await http.get('/v1/window?name=views:w&last=1h&mode=aligned&numbers=true');
    expect(json).toMatchObject({ name: 'views:w', value: 5, error: 0, durable: true });
    expect(json.to - json.from).toBeGreaterThan(0.9 * HOUR);
    expect((await http.get('/v1/window?name=views:w&last=1d&read=latest')).json.value).toBe('7');
    const { rate } = (await http.get('/v1/rate?name=views:w&last=1h')).json;
    expect(rate).toBeCloseTo(5 / 3_600, 4);
  });

  it('of seconds begins with a second', async () => {
    const { http } = shared();
    const told = async (name: string) => {
      const body = { operations: [{ name }, { name, delta: 4, time: Date.now() - 40_000 }] };
      expect((await http.post('/v1/increment', body)).json.failed).toBe(0);
      const { json } = await http.get(`/v1/window?name=${name}&last=30s&mode=aligned`);
      const { rate } = (await http.get(`/v1/rate?name=${name}&last=30s`)).json;
      return { json, rate };
    };
    let began: number;
    let names = 0;
    let last: Awaited<ReturnType<typeof told>>;
    do {
      began = Date.now();
      last = await told(`calls:s${names++}`);
      // On a machine that took so long all of it may lie behind the window
    } while (Date.now() - began > 25_000);
    const { json, rate } = last;
    expect(json).toMatchObject({ value: '1', error: '0' });
    expect([json.from % 1_000, json.to - json.from <= 30_000]).toEqual([0, true]);
    expect(rate).toBeCloseTo(1 / 30, 2);
  });

  it('of a class that keeps them tells what increased and what decreased a counter', async () => {
    const { http } = shared();
    for (const delta of [7, -3])
      expect((await http.post('/v1/increment', { name: 'calls:g', delta })).status).toBe(200);
    const { json } = await http.get('/v1/window?name=calls:g&last=1h&gross=true');
    expect(json).toMatchObject({ value: '4', increases: '7', decreases: '3', gross: '10' });
    const numbers = (await http.get('/v1/window?name=calls:g&last=1h&gross=true&numbers=true')).json;
    expect(numbers).toMatchObject({ increases: 7, decreases: 3, gross: 10 });
    expect((await http.get('/v1/window?name=calls:g&last=1h')).json).not.toHaveProperty('gross');
    expect((await http.get('/v1/rate?name=calls:g&last=1h&gross=true')).json.rate).toBeCloseTo(10 / 3_600, 4);
    expect((await http.get('/v1/window?name=views:w&last=1h&gross=true')).json.code).toBe('NOT_TRACKED');
  });

  it('that is not kept is no wrong number', async () => {
    const { http } = shared();
    await http.post('/v1/increment', { name: 'plain' });
    expect((await http.get('/v1/window?name=plain&last=5m')).json).toMatchObject({ status: 422, code: 'NOT_TRACKED' });
    expect((await http.get('/v1/series?name=plain&from=2026-01-01&step=1d')).json.code).toBe('NOT_TRACKED');
    expect((await http.post('/v1/see', { name: 'plain', items: ['a'] })).json.code).toBe('NOT_TRACKED');
    expect((await http.get('/v1/window?name=plain')).json.detail).toContain('last');
    expect((await http.get('/v1/window?name=plain&last=long')).json.detail).toContain('duration');
  });
});

describe('a history', () => {
  it('is read by days of a time zone, and at an instant', async () => {
    const { http } = shared();
    const at = (time: string, delta: number) => ({ name: 'views:h', delta, time });
    const operations = [at('2026-03-28T23:30:00Z', 3), at('2026-03-29T21:59:00Z', 4)];
    expect((await http.post('/v1/increment', { operations })).json.failed).toBe(0);
    const query = 'name=views:h&from=2026-03-28&to=2026-03-30&step=1d&zone=Europe/Berlin';
    const { points } = (await http.get(`/v1/series?${query}`)).json;
    const told = points.map(({ value, from, to }: { value: string; from: number; to: number }) => [
      value,
      (to - from) / HOUR,
    ]);
    expect(told).toEqual([
      ['0', 24],
      ['7', 23],
      ['0', 24],
    ]);
    const past = await http.get('/v1/at?name=views:h&time=2026-03-29T12:00Z&numbers=true');
    expect(past.json).toMatchObject({ name: 'views:h', value: 3, exact: true, at: Date.parse('2026-03-29T12:00Z') });
    expect((await http.get(`/v1/at?name=views:h&time=${Date.parse('2026-03-29T12:00Z')}`)).json.value).toBe('3');
    expect((await http.get('/v1/at?name=views:h&time=yesterday')).status).toBe(400);
    expect((await http.get('/v1/series?name=views:h&from=0&step=1m')).status).toBe(400);
    expect((await http.get('/v1/series?name=views:h&from=2026-03-28&step=1d&zone=Nowhere')).status).toBe(400);
  });
});

describe('a range', () => {
  it('is what a time has changed, exactly or not', async () => {
    const { http } = shared();
    const at = (time: string, delta: number) => ({ name: 'views:r', delta, time });
    const operations = [at('2026-03-28T23:30:00Z', 3), at('2026-03-29T21:59:00Z', 4)];
    expect((await http.post('/v1/increment', { operations })).json.failed).toBe(0);
    const exactly = await http.get('/v1/range?name=views:r&from=2026-03-29&to=2026-03-30');
    expect(exactly.json).toEqual({
      ...{ name: 'views:r', value: '4', exact: true, durable: true, resolution: expect.any(String) },
      ...{ from: Date.parse('2026-03-29'), to: Date.parse('2026-03-30') },
    });
    const both = await http.get('/v1/range?name=views:r&from=2026-03-28T23:00Z&numbers=true&read=latest');
    expect(both.json).toMatchObject({ value: 7, from: Date.parse('2026-03-28T23:00Z') });
    expect((await http.get('/v1/range?name=plain&from=2026-03-28')).json.code).toBe('NOT_TRACKED');
    expect((await http.get('/v1/range?name=views:r&from=2026-03-28&to=2026-03-27')).status).toBe(400);
    expect((await http.get('/v1/range?name=views:r')).json.detail).toContain('from');
  });
});

describe('unique items', () => {
  it('are seen and counted, together if that is wished', async () => {
    const { http } = shared();
    const see = (name: string, items: string[]) => http.post('/v1/see', { name, items });
    expect((await see('visitors:/', ['a', 'b', 'a'])).json).toEqual({
      name: 'visitors:/',
      seen: [true, true, false].map((isNew) => ({ isNew, exact: true })),
    });
    await see('visitors:/about', ['b', 'c']);
    const names = ['visitors:/', 'visitors:/about'];
    const each = (await http.post('/v1/uniques', { names })).json.counts;
    expect(each).toMatchObject([
      { names: ['visitors:/'], count: 2, exact: true, standardError: 0, durable: true },
      { names: ['visitors:/about'], count: 2 },
    ]);
    const { counts } = (await http.post('/v1/uniques', { names, union: true, read: 'latest' })).json;
    expect(counts).toMatchObject([{ names, count: 3, exact: true }]);
  });

  it('are counted in a window of days, where the class keeps one', async () => {
    const { http } = shared();
    await http.post('/v1/see', { name: 'visitors:week', items: ['a', 'b'] });
    const ask = (window: string) => http.post('/v1/uniques', { names: ['visitors:week'], window });
    expect((await ask('7d')).json.counts).toMatchObject([{ count: 2, exact: true }]);
    expect((await ask('8d')).json).toMatchObject({ status: 422, code: 'NOT_TRACKED' });
    for (const window of ['25h', '0d', '7', 'd']) expect((await ask(window)).json.code).toBe('INVALID_ARGUMENT');
  });

  it('are merged under another name for good, once or again', async () => {
    const { http } = shared();
    await http.post('/v1/see', { name: 'visitors:m1', items: ['a', 'b'] });
    await http.post('/v1/see', { name: 'visitors:m2', items: ['b', 'c'] });
    const body = { name: 'visitors:all', names: ['visitors:m1', 'visitors:m2'] };
    const merged = { name: 'visitors:all', count: 3, exact: true };
    for (let i = 0; i < 2; i++) expect((await http.post('/v1/merge', body)).json).toEqual(merged);
    expect((await http.post('/v1/uniques', { names: ['visitors:all'] })).json.counts[0].count).toBe(3);
    const untracked = await http.post('/v1/merge', { name: 'plain', names: ['visitors:m1'] });
    expect(untracked.json).toMatchObject({ status: 422, code: 'NOT_TRACKED' });
  });
});

describe('a listing', () => {
  it('comes in pages that hold each counter once', async () => {
    const { http } = shared();
    const names = Array.from({ length: 250 }, (_, i) => `list:${i}`);
    await http.post('/v1/increment', { operations: names.map((name, delta) => ({ name, delta })) });
    const found = new Map<string, string>();
    let page: Answer | undefined;
    for (let cursor = ''; page === undefined || cursor !== ''; cursor = page.json.cursor ?? '') {
      page = await http.get(`/v1/counters?prefix=list:&limit=60${cursor && `&cursor=${cursor}`}`);
      expect(page.json.counters.length).toBeLessThanOrEqual(60);
      for (const { name, value } of page.json.counters) {
        expect(found.has(name)).toBe(false);
        found.set(name, value);
      }
    }
    expect([...found].sort()).toEqual(names.map((name, delta) => [name, String(delta)]).sort());
    expect((await http.get('/v1/counters?prefix=nobody:')).json).toEqual({ counters: [] });
    expect((await http.get('/v1/counters?limit=1&numbers=true')).json.counters[0].value).toBeTypeOf('number');
  });

  it.each(['limit=0', 'limit=1001', 'cursor=x', 'cursor=1-99-0', 'cursor=1-0-99999999999'])(
    'refuses %s',
    async (query) => {
      expect((await shared().http.get(`/v1/counters?${query}`)).json).toMatchObject({
        status: 400,
        code: 'INVALID_ARGUMENT',
      });
    },
  );

  it('does not go on in another life of the directory', async () => {
    const { json } = await shared().http.get('/v1/counters?cursor=abcdef-0-1');
    expect(json).toMatchObject({ status: 409, code: 'EPOCH_MISMATCH' });
  });
});

describe('figures', () => {
  it('are those of every lane', async () => {
    const { http } = shared();
    const { lanes } = (await http.get('/v1/stats')).json;
    expect(lanes.map(({ lane }: { lane: number }) => lane)).toEqual([0, 1]);
    expect(lanes[0].partitions.length).toBe(2);
    expect((await http.get('/v1/hot?top=3')).json.counters.length).toBeLessThanOrEqual(3);
    expect((await http.get('/v1/hot?top=101')).status).toBe(400);
  });
});
