import { expect, it, onTestFinished } from 'vitest';
import { clientOfTest } from '../integration/clients.js';
import { serverOfTest } from '../integration/server-process.js';
import { type Answer, openHttp } from './http-harness.js';

/** HTTP before lanes that refuse, or do not answer. */

it('a quota that is used up is told, with when to come again, and what was refused did not happen', async () => {
  const server = await serverOfTest({ environment: { TALLYSTICK_QUOTA_PER_SECOND: '1' } });
  const { http, listener } = await openHttp(server);
  onTestFinished(() => listener.close());
  const answers: Answer[] = [];
  while (!answers.some(({ status }) => status === 429)) {
    const some = Array.from({ length: 10 }, () => http.post('/v1/increment', { name: 'a' }));
    answers.push(...(await Promise.all(some)));
  }
  const refused = answers.filter(({ status }) => status !== 200);
  for (const { status, headers, json } of refused) {
    expect([status, headers['retry-after']]).toEqual([429, '1']);
    expect(json).toMatchObject({ code: 'QUOTA_EXCEEDED', retryable: true, outcome: 'refused' });
  }
  const client = await clientOfTest(server);
  expect(await client.get('a', { read: 'latest' })).toBe(BigInt(answers.length - refused.length));
});

it('a lane that does not answer in time is told as such, and its key keeps the repeat from counting twice', async () => {
  const server = await serverOfTest();
  const { http, listener } = await openHttp(server, { timeout: 200 });
  onTestFinished(() => listener.close());
  await http.get('/readyz');
  server.run.child.kill('SIGSTOP');
  const ask = () => http.post('/v1/increment', { name: 'a' }, { 'Idempotency-Key': 'once' });
  const late = await ask();
  expect(late.json).toMatchObject({ status: 504, code: 'TIMEOUT', outcome: 'unknown', retryable: true });
  expect((await http.get('/v1/counters/a')).status).toBe(504);
  expect((await http.get('/readyz')).status).toBe(504);
  expect((await http.get('/livez')).status).toBe(200);
  server.run.child.kill('SIGCONT');
  const inTime = async (again: () => Promise<Answer>) => {
    for (;;) {
      const answer = await again();
      if (answer.status !== 504) return answer;
    }
  };
  expect((await inTime(ask)).json).toEqual({ name: 'a', value: '1' });
  expect((await inTime(() => http.get('/v1/counters/a?read=latest'))).json.value).toBe('1');
});
