import { startServer } from 'tallystick/server';
import { expect, onTestFinished, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { directoryOfTest } from './server-process.js';

const MINUTE = 60_000;
const CLASSES = [
  { pattern: 'views:*', windows: '1d' },
  { pattern: 'calls:*', windows: '1h', lateness: '2h', late: 'total' },
  { pattern: 'bursts:*', seconds: true },
  { pattern: 'stock:*', windows: '1d', gross: true, lateness: '6h' },
];

async function serverOfTest(dataDir: string, classes: readonly unknown[]) {
  const server = await startServer({ dataDir, port: 0, lanes: 2, partitions: 4, classes });
  onTestFinished(async () => {
    if (server.state === 'serving') await server.close();
  });
  return server;
}

test('windows count increments by their times, over a restart too, and what is not tracked is no number', async () => {
  const dataDir = directoryOfTest();
  const first = await serverOfTest(dataDir, CLASSES);
  const client = await clientOfTest(first);
  const now = Date.now();
  await client.increment('views:/', 5);
  await client.increment('views:/', 7, { time: now - 30 * MINUTE });
  await client.increment('views:/', 1, { time: new Date(now - 40 * MINUTE) });
  await client.batch([
    { name: 'views:/about', delta: 3, time: now - 10 * MINUTE },
    { name: 'calls:a', delta: 2, time: now - 180 * MINUTE },
    { name: 'plain', delta: 9 },
  ]);
  const check = async (reader: typeof client) => {
    expect(await reader.get('views:/')).toBe(13n);
    expect(await reader.window('views:/', '35m')).toMatchObject({ value: 12n, durable: true });
    expect(await reader.window('views:/', '15m', { mode: 'aligned' })).toMatchObject({ value: 5n, error: 0n });
    expect(await reader.window('views:/', '1d')).toMatchObject({ value: 13n });
    const both = await reader.window(['views:/about', 'views:/', 'views:/nobody'], '1h');
    expect(both.map(({ name, value }) => [name, value])).toEqual([
      ['views:/about', 3n],
      ['views:/', 13n],
      ['views:/nobody', 0n],
    ]);
    expect(await reader.rate('views:/about', '1h')).toBeCloseTo(3 / 3600, 9);
    // Too late for its class, and so in the total alone
    expect([await reader.get('calls:a'), (await reader.window('calls:a', '1h')).value]).toEqual([2n, 0n]);
    await expect(reader.window('calls:a', '2h')).rejects.toMatchObject({ code: 'NOT_TRACKED' });
    await expect(reader.window(['views:/', 'plain'], '1h')).rejects.toMatchObject({ code: 'NOT_TRACKED' });
    await expect(reader.window('views:/', '2d')).rejects.toMatchObject({ code: 'NOT_TRACKED' });
    await expect(reader.window('views:/', 'soon')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  };
  await check(client);
  await expect(client.increment('views:/', 1, { time: now - 61 * MINUTE })).rejects.toMatchObject({
    code: 'TIME_TOO_OLD',
    outcome: 'refused',
  });
  await expect(client.increment('views:/', 1, { time: Date.now() + 10 * MINUTE })).rejects.toMatchObject({
    code: 'TIME_AHEAD',
  });
  await client.close();
  await first.close();
  const second = await serverOfTest(dataDir, CLASSES);
  await check(await clientOfTest(second, { producer: false }));
});

test('windows of a class with seconds are true to a second, beside others that are told in minutes', async () => {
  const dataDir = directoryOfTest();
  const first = await serverOfTest(dataDir, CLASSES);
  const client = await clientOfTest(first);
  const now = Date.now();
  await client.increment('bursts:a', 5, { time: now - 120_000 });
  await client.increment('bursts:a', 7, { time: now - 30_000 });
  await client.increment('views:/', 7, { time: now - 30_000 });
  const check = async (reader: typeof client) => {
    const burst = await reader.window('bursts:a', '20s', { mode: 'aligned' });
    expect(burst).toMatchObject({ value: 0n, error: 0n });
    expect([burst.from % 1_000, burst.to - burst.from <= 20_000]).toEqual([0, true]);
    const [seconds, minutes] = await reader.window(['bursts:a', 'views:/'], '1s', { mode: 'aligned' });
    expect([seconds?.value, seconds?.from]).toEqual([0n, Math.floor((seconds?.to as number) / 1_000) * 1_000]);
    expect(minutes?.from).toBe(Math.floor((minutes?.to as number) / 60_000) * 60_000);
    expect(await reader.window('bursts:a', '10m')).toMatchObject({ value: 12n });
    await expect(reader.window('bursts:a', '1d')).rejects.toMatchObject({ code: 'NOT_TRACKED' });
  };
  await check(client);
  await client.close();
  await first.close();
  await check(await clientOfTest(await serverOfTest(dataDir, CLASSES), { producer: false }));
});

test('gross sums are told where they are asked for and kept, over a restart too', async () => {
  const dataDir = directoryOfTest();
  const first = await serverOfTest(dataDir, CLASSES);
  const client = await clientOfTest(first);
  const now = Date.now();
  for (const [delta, age] of [
    [9, 0],
    [-5, 0],
    [20, 3],
    [-16, 3],
  ] as const) {
    await client.increment('stock:lamp', delta, { time: now - age * 60 * MINUTE });
  }
  const check = async (reader: typeof client) => {
    const hour = await reader.window('stock:lamp', '1h', { mode: 'aligned', gross: true });
    expect(hour).toMatchObject({ value: 4n, increases: 9n, decreases: 5n, gross: 14n, error: 0n });
    expect(hour.rate).toBeCloseTo(14_000 / (hour.to - hour.from), 9);
    const day = await reader.window('stock:lamp', '1d', { gross: true });
    expect(day).toMatchObject({ value: 8n, increases: 29n, decreases: 21n, gross: 50n });
    const net = await reader.window('stock:lamp', '1d');
    expect(net).toMatchObject({ value: 8n });
    expect(net).not.toHaveProperty('gross');
    expect(await reader.rate('stock:lamp', '1d', { gross: true })).toBeCloseTo(50 / 86_400, 9);
    await expect(reader.window('views:/', '1h', { gross: true })).rejects.toMatchObject({ code: 'NOT_TRACKED' });
  };
  await check(client);
  await client.close();
  await first.close();
  await check(await clientOfTest(await serverOfTest(dataDir, CLASSES), { producer: false }));
});

test('gross sums are of what was called, also where the client sums before it sends', async () => {
  const client = await clientOfTest(await serverOfTest(directoryOfTest(), CLASSES));
  const counters = client.counters(['stock:lamp', 'stock:chair']);
  for (let i = 0; i < 1_000; i++) {
    client.counter('stock:lamp').add(i % 2 === 0 ? 3 : -2);
    counters.add(1, i % 2 === 0 ? 1 : -1);
  }
  await client.flush();
  const [lamp, chair] = await client.window(['stock:lamp', 'stock:chair'], '1h', { mode: 'aligned', gross: true });
  expect(lamp).toMatchObject({ value: 500n, increases: 1_500n, decreases: 1_000n });
  expect(chair).toMatchObject({ value: 0n, increases: 500n, decreases: 500n });
});

test('a class that a start brings is told by the server, and knows nothing of what was before it', async () => {
  const dataDir = directoryOfTest();
  const first = await serverOfTest(dataDir, []);
  const client = await clientOfTest(first);
  await client.increment('views:/', 5);
  await expect(client.window('views:/', '1m')).rejects.toMatchObject({ code: 'NOT_TRACKED' });
  await client.close();
  await first.close();
  const second = await serverOfTest(dataDir, CLASSES);
  const again = await clientOfTest(second);
  expect((await again.stats())[1]).toMatchObject({
    classes: [
      { pattern: 'views:*' },
      { pattern: 'calls:*' },
      { pattern: 'bursts:*', seconds: true },
      { pattern: 'stock:*' },
    ],
  });
  await expect(again.window('views:/', '1m')).rejects.toMatchObject({ code: 'NOT_TRACKED' });
  expect(await again.increment('views:/')).toBe(6n);
});
