import { startServer } from 'tallystick/server';
import { expect, onTestFinished, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { startProgram } from './ingest-programs.js';
import { directoryOfTest, serverOfTest } from './server-process.js';

async function run(url: string, args: readonly string[]) {
  const program = startProgram([...args, '--server', url]);
  program.stdin.end();
  const { out, status, err } = await program.outcome;
  return { out: out.trimEnd(), status, err };
}

test('a limit in a fixed window is one call, whichever client makes it, and the counter ends over kill -9', async () => {
  const server = await serverOfTest({ lanes: 2, partitions: 4 });
  const client = await clientOfTest(server);
  const limit = { max: 3, expiry: { after: '1h', ifNone: true } } as const;
  const began = Date.now();
  for (const value of [1n, 2n, 3n]) expect(await client.increment('calls:alice', 1, limit)).toBe(value);
  await expect(client.increment('calls:alice', 1, limit)).rejects.toMatchObject({ code: 'OUT_OF_BOUNDS' });
  const { expires } = await client.expiry('calls:alice');
  expect(expires).toBeGreaterThanOrEqual(began + 3_600_000);

  await server.kill('SIGKILL');
  await server.start();
  const again = await clientOfTest(server);
  expect(await again.expiry(['calls:alice', 'calls:bob'])).toEqual([
    { existed: true, expires },
    { existed: false, expires: undefined },
  ]);
  await expect(again.increment('calls:alice', 1, limit)).rejects.toMatchObject({ code: 'OUT_OF_BOUNDS' });
  expect(await again.expire('calls:alice', { at: Date.now() })).toEqual({ existed: true, expires: undefined });
  expect(await again.increment('calls:alice', 1, limit)).toBe(1n);

  // What ends while no server runs is gone when one does.
  expect(await again.expire('calls:alice', { at: Date.now() + 20 })).toMatchObject({ existed: true });
  await server.kill('SIGKILL');
  await server.start();
  const last = await clientOfTest(server);
  expect(await last.get('calls:alice')).toBe(0n);
  await server.kill('SIGKILL');
  await server.start();
  expect(await (await clientOfTest(server)).get('calls:alice')).toBe(0n);
});

test('a class gives its counters a time to live; the command line sets, takes and tells one', async () => {
  const classes = [{ pattern: 'code:*', ttl: '15m' }];
  const server = await startServer({ dataDir: directoryOfTest(), port: 0, classes });
  onTestFinished(() => server.close());
  const client = await clientOfTest(server);
  const began = Date.now();
  await client.set('code:1', 4_711, { reason: 'sent' });
  const { expires = 0 } = await client.expiry('code:1');
  expect(expires).toBeGreaterThanOrEqual(began + 900_000);
  expect(expires).toBeLessThanOrEqual(Date.now() + 900_000);

  expect(await run(server.url, ['expire', 'code:1'])).toMatchObject({
    out: new Date(expires).toISOString(),
    status: 0,
  });
  expect((await run(server.url, ['expire', 'code:2'])).out).toBe('absent');
  expect((await run(server.url, ['incr', 'tries', '--max', '1', '--ttl', '1h'])).out).toBe('1');
  const refused = await run(server.url, ['incr', 'tries', '--max', '1', '--ttl', '1h']);
  expect([refused.status, refused.err.slice(0, 14)]).toEqual([1, 'OUT_OF_BOUNDS:']);
  const later = '2099-01-01T00:00:00.000Z';
  expect((await run(server.url, ['expire', 'tries', '--at', later])).out).toBe(later);
  expect((await run(server.url, ['expire', 'tries', '--after', '1d', '--if-none'])).out).toBe(later);
  const told = JSON.parse((await run(server.url, ['expire', 'tries', '--never', '--json'])).out);
  expect(told).toEqual({ name: 'tries', existed: true, expires: null });
  expect((await run(server.url, ['expire', 'tries', '--never', '--after', '1h'])).status).toBe(2);
});
