import { describe, expect, it } from 'vitest';
import type { ToldEvent } from '../../src/cli/sdk.js';
import { cli } from './command-line.js';
import { FakeServer } from './fake-target.js';

const events: readonly ToldEvent[] = [
  { kind: 'value', name: 'a\n', value: 5n, exists: true, delta: 0n, position: '7' },
  { kind: 'value', name: 'b', value: 0n, exists: false, delta: 0n, position: '7-0.3' },
  { kind: 'change', name: 'b', value: 2n ** 62n, exists: true, delta: 2n ** 62n, position: '7-0.4' },
  { kind: 'reset', partition: 0, position: '7' },
  { kind: 'change', name: 'a\n', value: 0n, exists: false, delta: -5n, position: '7-0.9' },
];

function serverWith(all: readonly ToldEvent[] = events): FakeServer {
  const server = new FakeServer(4);
  server.events.push(...all);
  return server;
}

const lines = (out: string) => out.trimEnd().split('\n');

describe('watch', () => {
  it('prints a line for each value and change', async () => {
    const server = serverWith();
    const { status, out, connections } = await cli(['watch', 'a\n', 'b'], { server });
    expect([status, lines(out)]).toEqual([
      0,
      ['a\\u{a}\t5\t', 'b\t-\t', `b\t${2n ** 62n}\t+${2n ** 62n}`, 'a\\u{a}\t-\t-5'],
    ]);
    expect(server.subscribed).toEqual([{ names: ['a\n', 'b'], interval: 1_000 }]);
    expect(connections[0]?.options).toMatchObject({ producer: false });
    expect(connections[0]?.client.closed).toBe(true);
  });

  it('prints an object a line for machines, and so many as are wanted', async () => {
    const { out } = await cli(['watch', '--prefix', '', '--json', '--interval', '50', '--limit', '3'], {
      server: serverWith(),
    });
    expect(lines(out).map((line) => JSON.parse(line))).toEqual([
      { kind: 'value', name: 'a\n', value: '5', delta: '0', exists: true },
      { kind: 'value', name: 'b', value: '0', delta: '0', exists: false },
      { kind: 'change', name: 'b', value: String(2n ** 62n), delta: String(2n ** 62n), exists: true },
    ]);
  });

  it('is a table on a terminal, of the counters that changed last', async () => {
    const { out } = await cli(['watch', 'a\n', 'b', '--limit', '2'], { server: serverWith(), tty: true });
    expect(lines(out)[0]).toMatch(/^a\\u\{a\} {2}5 +$/);
    expect(lines(out)[1]).toMatch(/^b {7}-/);
    const many = Array.from({ length: 40 }, (_, i) => ({ ...(events[0] as ToldEvent), name: `n${i}` }) as ToldEvent);
    const full = await cli(['watch', '--prefix', 'n'], { server: serverWith(many), tty: true });
    expect(lines(full.out)).toHaveLength(23);
    expect(full.out).toContain('n39');
    expect(full.out).not.toContain('n16 ');
  });

  it('shows windows and rates of names instead, and numbers of unique items', async () => {
    const window = { value: 5n, error: 2n, rate: 0.016_666, from: 0, to: 300_000 };
    const server = new FakeServer(4);
    server.events.push({ kind: 'value', name: 'a', ...window }, { kind: 'change', name: 'a', ...window, error: 0n });
    const ask = (...args: string[]) => cli(['watch', 'a', ...args], { server });
    expect((await ask('--window', '5m')).out).toBe('a\t5 ±2\t\na\t5\t\n');
    expect((await ask('--rate', '5m')).out).toBe('a\t0.017/s\t\na\t0.017/s\t\n');
    const times = { from: '1970-01-01T00:00:00.000Z', to: '1970-01-01T00:05:00.000Z' };
    const [first] = lines((await ask('--window', '5m', '--json')).out);
    const number = { value: '5', error: '2', perSecond: 0.016_666 };
    expect(JSON.parse(first as string)).toEqual({ kind: 'value', name: 'a', ...number, ...times });
    const [rate] = lines((await ask('--rate', '1m', '--json', '--interval', '50')).out);
    expect(JSON.parse(rate as string)).toEqual({ kind: 'value', name: 'a', perSecond: 0.016_666, ...times });
    server.events.splice(0, 2, { kind: 'value', name: 'a', count: 70, exact: false, standardError: 0.008_12 });
    expect((await ask('--uniques')).out).toBe('a\t~70\t\n');
    const { out } = await ask('--uniques', '--window', '7d', '--json');
    expect(JSON.parse(out)).toEqual({ kind: 'value', name: 'a', count: 70, exact: false, standardError: 0.008_12 });
    expect(server.subscribed).toEqual([
      { names: ['a'], interval: 1_000, window: '5m' },
      { names: ['a'], interval: 1_000, rate: '5m' },
      { names: ['a'], interval: 1_000, window: '5m' },
      { names: ['a'], interval: 50, rate: '1m' },
      { names: ['a'], interval: 1_000, uniques: true },
      { names: ['a'], interval: 1_000, uniques: '7d' },
    ]);
    const table = await cli(['watch', 'a', '--uniques'], { server, tty: true });
    expect(lines(table.out)[0]).toBe('a  ~70');
  });

  it.each([
    ['--prefix', 'a', '--window', '5m'],
    ['--prefix', 'a', '--uniques'],
    ['a', '--window', '5m', '--rate', '1m'],
    ['a', '--uniques', '--rate', '1m'],
  ])('shows one thing of names: not %j', async (...args) => {
    expect(await cli(['watch', ...args], { server: serverWith() })).toMatchObject({ status: 2, connections: [] });
  });

  it.each([[], ['a', '--prefix', 'b']])('wants names or a prefix: %j', async (...args) => {
    expect(await cli(['watch', ...args], { server: serverWith() })).toMatchObject({ status: 2, connections: [] });
  });

  it.each(['-1', '9', '60001', 'x', '1.5'])('refuses an interval of %s', async (interval) => {
    expect(await cli(['watch', 'a', '--interval', interval])).toMatchObject({ status: 2, connections: [] });
  });
});

describe('tail', () => {
  it('prints all that happens with the position to go on from', async () => {
    const server = serverWith();
    const { status, out } = await cli(['tail'], { server });
    expect(status).toBe(0);
    expect(lines(out).map((line) => JSON.parse(line))).toEqual([
      { kind: 'value', name: 'a\n', value: '5', delta: '0', exists: true, position: '7' },
      { kind: 'value', name: 'b', value: '0', delta: '0', exists: false, position: '7-0.3' },
      {
        kind: 'change',
        name: 'b',
        value: String(2n ** 62n),
        delta: String(2n ** 62n),
        exists: true,
        position: '7-0.4',
      },
      { kind: 'reset', partition: 0, position: '7' },
      { kind: 'change', name: 'a\n', value: '0', delta: '-5', exists: false, position: '7-0.9' },
    ]);
    expect(server.subscribed).toEqual([{ all: true, interval: 0 }]);
  });

  it('goes on from a position, and refuses what is none', async () => {
    const server = serverWith();
    await cli(['tail', '--prefix', 'a', '--from', '7-0.4-3.12', '--limit', '1'], { server });
    expect(server.subscribed).toEqual([{ prefix: 'a', interval: 0, from: '7-0.4-3.12' }]);
    expect(await cli(['tail', '--from', 'x'], { server })).toMatchObject({ status: 2, connections: [] });
  });

  it('stops where nobody reads on', async () => {
    const many = Array.from({ length: 50_000 }, () => events[0] as ToldEvent);
    expect(await cli(['tail'], { server: serverWith(many), breaksWith: 'EPIPE' })).toMatchObject({
      status: 0,
      err: '',
    });
    const broken = await cli(['tail'], { server: serverWith(many), breaksWith: 'ENOSPC' });
    expect([broken.status, broken.err]).toEqual([1, expect.stringMatching(/^OUTPUT_FAILED: /)]);
  });
});
