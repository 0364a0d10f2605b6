import { expect, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { startProgram } from './ingest-programs.js';
import { serverOfTest } from './server-process.js';

const CLASSES = JSON.stringify([
  { pattern: 'views:*', once: '24h' },
  { pattern: 'few:*', once: '1h', onceItems: 2, windows: '1h' },
]);
const environment = { TALLYSTICK_CLASSES: CLASSES };

test('a view counts once for each visitor and day, whoever says so, and over kill -9', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment });
  const client = await clientOfTest(server);
  const day = { within: '24h' } as const;
  expect(await client.incrementOnce('views:/', 'ann', day)).toEqual({ counted: true, value: 1n });
  const told = await Promise.all(
    ['ann', 'bob', 'bob', new TextEncoder().encode('ann')].map((item) => client.incrementOnce('views:/', item)),
  );
  expect(told).toEqual([
    { counted: false, value: 1n },
    { counted: true, value: 2n },
    { counted: false, value: 2n },
    { counted: false, value: 2n },
  ]);
  // in the order of the calls, also among increments
  const [plain, once, after] = await Promise.all([
    client.increment('views:/', 10),
    client.incrementOnce('views:/', 'eve', { delta: 5, ack: 'applied' }),
    client.increment('views:/', 1),
  ]);
  expect([plain, once, after]).toEqual([12n, { counted: true, value: 17n }, 18n]);
  const visitors = Array.from({ length: 3_000 }, (_, i) => `visitor ${i}`);
  const indirect = await clientOfTest(server, { direct: false });
  const counts = await Promise.all(visitors.map((item) => indirect.incrementOnce('views:/about', item)));
  expect(counts.every(({ counted }, i) => counted && counts[i]?.value === BigInt(i + 1))).toBe(true);
  await client.flush();

  await server.kill('SIGKILL');
  await server.start();
  const again = await clientOfTest(server);
  const repeated = await Promise.all(visitors.map((item) => again.incrementOnce('views:/about', item, day)));
  expect(repeated.filter(({ counted }) => counted)).toEqual([]);
  expect(await again.incrementOnce('views:/', 'eve')).toEqual({ counted: false, value: 18n });
  expect(await again.delete('views:/', { reason: 'test' })).toEqual({ previous: 18n, existed: true });
  expect(await again.incrementOnce('views:/', 'eve')).toEqual({ counted: true, value: 1n });
});

test('what cannot be counted says why; windows have what was; the command line counts too', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4, environment });
  const client = await clientOfTest(server);
  const codeOf = (call: Promise<unknown>) => call.then(String, ({ code, outcome }) => `${code} ${outcome}`);
  expect(await codeOf(client.incrementOnce('views:/', 'ann', { within: '1h' }))).toBe('NOT_TRACKED refused');
  expect(await codeOf(client.incrementOnce('other', 'ann'))).toBe('NOT_TRACKED refused');
  expect(await codeOf(client.incrementOnce('views:/', ''))).toBe('INVALID_ARGUMENT refused');
  expect(await codeOf(client.incrementOnce('views:/', 'ann', { within: '1 day' }))).toBe('INVALID_ARGUMENT refused');
  expect(await codeOf(client.incrementOnce('views:/', 'ann', { delta: 0.5 }))).toBe('INVALID_ARGUMENT refused');
  for (const item of ['a', 'b']) await client.incrementOnce('few:x', item);
  expect(await codeOf(client.incrementOnce('few:x', 'c'))).toBe('ITEMS_FULL refused');
  expect(await client.get('few:x')).toBe(2n);
  expect(await client.window('few:x', '1h')).toMatchObject({ value: 2n });

  const program = startProgram(['once', 'views:/', '-', '--within', '24h', '--server', server.url]);
  program.stdin.end('ann\nbob\nann\n');
  expect(await program.outcome).toMatchObject({ status: 0, out: '2\n', err: '' });
});
