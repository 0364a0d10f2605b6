import { describe, expect, it } from 'vitest';
import type { ToldEvent } from '../../src/cli/client.js';
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
