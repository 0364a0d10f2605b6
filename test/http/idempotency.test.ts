import { describe, expect, it } from 'vitest';
import { IdempotencyKeys } from '../../src/http/idempotency.js';
import { ManualClock } from '../support/manual-clock.js';
import { openHttp, sharedHttp } from './http-harness.js';

const shared = sharedHttp();
const once = (key: string) => ({ 'Idempotency-Key': key });

describe('a request with a key', () => {
  it('happens once, and is answered as it was at first', async () => {
    const { http } = shared();
    const body = { operations: [{ name: 'paid:1', delta: 5 }, { name: 'paid:2' }, { name: 'paid:1' }] };
    const first = await http.post('/v1/increment', body, once('k1'));
    expect(first.json.results.map(({ value }: { value: string }) => value)).toEqual(['5', '1', '6']);
    await http.post('/v1/increment', { name: 'paid:1' });
    expect((await http.post('/v1/increment', body, once('k1'))).json).toEqual(first.json);
    expect((await http.get('/v1/counters/paid:1')).json.value).toBe('7');
  });

  it('happens once though the thread of HTTP that took it has forgotten it', async () => {
    const body = { name: 'paid:again' };
    await shared().http.post('/v1/increment', body, once('k2'));
    const { http, listener } = await openHttp(shared().server);
    expect((await http.post('/v1/increment', body, once('k2'))).json.value).toBe('1');
    const other = await http.post('/v1/increment', { ...body, delta: 2 }, once('k3'));
    expect(other.json.value).toBe('3');
    await listener.close();
  });

  it('is refused with another body, also where that goes to another partition', async () => {
    const { http } = shared();
    await http.post('/v1/increment', { name: 'key:0' }, once('k4'));
    for (let i = 1; i < 20; i++) {
      const { json } = await http.post('/v1/increment', { name: `key:${i}` }, once('k4'));
      expect(json).toMatchObject({ status: 422, code: 'OPERATION_CONFLICT', outcome: 'refused' });
      expect((await http.get(`/v1/counters/key:${i}`)).json.exists).toBe(false);
    }
  });

  it('may be put right where nothing of it happened', async () => {
    const { http } = shared();
    expect((await http.post('/v1/increment', { name: 'right', delta: 'x' }, once('k5'))).status).toBe(400);
    expect((await http.post('/v1/increment', { name: 'right', delta: 7 }, once('k5'))).json.value).toBe('7');
  });

  it('is refused again as it was refused at first, and so is another one under its key', async () => {
    const { http } = shared();
    const body = { name: 'bounded', delta: -1, min: 0 };
    expect((await http.post('/v1/increment', body, once('k8'))).json.code).toBe('OUT_OF_BOUNDS');
    await http.post('/v1/increment', { name: 'bounded', delta: 5 });
    expect((await http.post('/v1/increment', body, once('k8'))).json.code).toBe('OUT_OF_BOUNDS');
    expect((await http.post('/v1/increment', { ...body, delta: 7 }, once('k8'))).json.code).toBe('OPERATION_CONFLICT');
  });

  it('of which another one is being answered is told so', async () => {
    const { http } = shared();
    const body = { name: 'twice' };
    const answers = await Promise.all([1, 2, 3].map(() => http.post('/v1/increment', body, once('k6'))));
    const taken = answers.filter(({ status }) => status === 200);
    expect(taken.length).toBeGreaterThan(0);
    for (const { json } of taken) expect(json.value).toBe('1');
    for (const { status, json, headers } of answers) {
      if (status !== 200)
        expect([json.code, json.outcome, headers['retry-after']]).toEqual(['KEY_IN_PROGRESS', 'unknown', '1']);
    }
  });

  it.each(['', 'a b', 'x'.repeat(256), 'é'])('that is no key is refused: %j', async (key) => {
    const { json } = await shared().http.post(
      '/v1/increment',
      { name: 'no' },
      once(Buffer.from(key).toString('latin1')),
    );
    expect(json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
  });

  it('is refused where a key would change nothing, and needless where nothing can happen twice', async () => {
    const { http } = shared();
    const set = await http.post('/v1/set', { name: 'a', value: 1, reason: 'r' }, once('k7'));
    expect(set.json).toMatchObject({ status: 400, code: 'INVALID_ARGUMENT' });
    expect((await http.post('/v1/get', { names: ['a'] }, once('k7'))).status).toBe(200);
  });
});

describe('the keys', () => {
  const codeOf = (work: () => void): string | undefined => {
    try {
      work();
      return undefined;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it('are open until they end, then hold for their first request, until the server forgets its ids', () => {
    const clock = new ManualClock();
    const keys = new IdempotencyKeys(clock, 1_000);
    keys.begin('k', 'a');
    expect(codeOf(() => keys.begin('k', 'a'))).toBe('KEY_IN_PROGRESS');
    keys.end('k', true);
    expect(codeOf(() => keys.begin('k', 'b'))).toBe('OPERATION_CONFLICT');
    keys.begin('k', 'a');
    keys.end('k', false);
    expect(codeOf(() => keys.begin('k', 'b'))).toBe('OPERATION_CONFLICT');
    clock.advance(1_000);
    expect(codeOf(() => keys.begin('k', 'b'))).toBeUndefined();
  });

  it('are bounded: the oldest is forgotten first, and none that is open', () => {
    const keys = new IdempotencyKeys(new ManualClock(), 1_000, 3);
    keys.begin('open', 'a');
    for (const key of ['1', '2', '3']) {
      keys.begin(key, 'a');
      keys.end(key, true);
    }
    expect(codeOf(() => keys.begin('1', 'b'))).toBeUndefined();
    expect(codeOf(() => keys.begin('3', 'b'))).toBe('OPERATION_CONFLICT');
    expect(codeOf(() => keys.begin('open', 'a'))).toBe('KEY_IN_PROGRESS');
  });
});
