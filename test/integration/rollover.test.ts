import { connect } from 'tallystick';
import { startServer } from 'tallystick/server';
import { expect, onTestFinished, test } from 'vitest';
import { TIMEOUT_MILLISECONDS } from './clients.js';
import { directoryOfTest } from './server-process.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Without summer time, and half an hour beside the hours of UTC. It is never midnight in both. */
const ZONES = [
  { zone: 'Asia/Kolkata', ahead: 5.5 * HOUR },
  { zone: 'Pacific/Marquesas', ahead: -9.5 * HOUR },
] as const;
const farFromMidnight = ({ ahead }: (typeof ZONES)[number]): boolean => {
  const passed = (Date.now() + ahead) % DAY;
  return HOUR < passed && passed < DAY - HOUR;
};

test('a counter of a class that rolls over has what its day counted; its history has the days that are over, and their values', async () => {
  const { zone, ahead } = ZONES.find(farFromMidnight) as (typeof ZONES)[number];
  const classes = [{ pattern: 'daily:*', rollover: 'daily', zone, history: true, lateness: 'any' }] as const;
  const server = await startServer({ dataDir: directoryOfTest(), port: 0, classes });
  onTestFinished(() => server.close());
  const client = await connect(server.url, { timeout: TIMEOUT_MILLISECONDS });
  onTestFinished(() => client.close());

  const midnight = Math.floor((Date.now() + ahead) / DAY) * DAY - ahead;
  const yesterday = midnight - DAY;
  expect(await client.increment('daily:a', 5)).toBe(5n);
  expect(await client.increment('daily:a', 3, { time: yesterday + HOUR })).toBe(5n);
  expect(await client.increment('daily:a', 4, { time: yesterday + 20 * HOUR })).toBe(5n);
  expect(await client.increment('daily:a', 2, { time: yesterday - 1 })).toBe(5n);
  expect(await client.get('daily:a')).toBe(5n);

  const { points } = await client.series('daily:a', { from: yesterday - DAY, to: midnight, step: '1d', zone });
  expect(points.map(({ value, exact }) => [value, exact])).toEqual([
    [2n, true],
    [7n, true],
  ]);
  const valuesAt = async (...times: number[]) =>
    await Promise.all(times.map(async (time) => (await client.valueAt('daily:a', time)).value));
  expect(await valuesAt(yesterday, yesterday + 2 * HOUR, midnight - 1_000, midnight)).toEqual([0n, 3n, 7n, 0n]);
  await expect(client.expire('daily:a', { after: '1h' })).rejects.toMatchObject({ code: 'NOT_TRACKED' });
});

test('a class that rolls over and has a time to live, or a zone for nothing, is refused by its key', async () => {
  const start = (rule: object) =>
    startServer({ dataDir: directoryOfTest(), port: 0, classes: [{ pattern: 'a', ...rule }] as never });
  await expect(start({ rollover: 'daily', ttl: '1h' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expect(start({ zone: 'Europe/Berlin' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expect(start({ rollover: 'daily', zone: 'Europe/Bern' })).rejects.toThrow(/no time zone such as/);
});
