import { describe, expect, it } from 'vitest';
import { cli } from './command-line.js';
import { FakeServer } from './fake-target.js';

describe('delete', () => {
  it('asks for a reason, and prints the value that it had, or that there was none', async () => {
    const server = new FakeServer(4);
    server.values.set('x', -7n);
    expect(await cli(['delete', 'x'], { server })).toMatchObject({ status: 2 });
    const failed = await cli(['delete', 'x', '--reason', 'r', '--expect', '7'], { server });
    expect(failed).toMatchObject({ status: 1, out: '' });
    expect(failed.err).toMatch(/^EXPECTATION_FAILED: /);
    expect(await cli(['delete', 'x', '--reason', 'old', '--expect', '-7'], { server })).toMatchObject({ out: '-7\n' });
    expect(await cli(['delete', 'x', '--reason', 'r'], { server })).toMatchObject({ status: 0, out: 'absent\n' });
    expect(server.values.has('x')).toBe(false);
    expect(server.reasons).toEqual(['old', 'r']);
  });
});

describe('ls', () => {
  const server = new FakeServer(4);
  server.values.set('likes:1', 5n);
  server.values.set('likes:\u001b[31m\n', 2n ** 63n - 1n);
  server.values.set('views:1', -3n);

  it('prints the counters that begin with the prefix, a line each', async () => {
    const { out } = await cli(['ls'], { server });
    expect(out).toBe('likes:1\t5\nlikes:\\u{1b}[31m\\u{a}\t9223372036854775807\nviews:1\t-3\n');
    expect((await cli(['ls', 'views'], { server })).out).toBe('views:1\t-3\n');
    expect(await cli(['ls', 'nobody'], { server })).toMatchObject({ status: 0, out: '', err: '' });
    expect((await cli(['ls', '--limit', '1'], { server })).out).toBe('likes:1\t5\n');
  });

  it('prints an object a line for machines', async () => {
    const { out } = await cli(['ls', 'likes', '--json'], { server });
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { name: 'likes:1', value: '5' },
      { name: 'likes:\u001b[31m\n', value: '9223372036854775807' },
    ]);
  });

  it('reads what is durable unless told otherwise, and writes nothing', async () => {
    server.reads.length = 0;
    const { connections } = await cli(['ls'], { server });
    await cli(['ls', '--latest'], { server });
    expect(server.reads).toEqual(['durable', 'latest']);
    expect(connections[0]?.options).toMatchObject({ producer: false });
  });

  it.each(['0', '-1', '1.5', 'x', '1e3', '9007199254740993'])('refuses a limit of %s', async (limit) => {
    expect(await cli(['ls', '--limit', limit], { server })).toMatchObject({ status: 2, connections: [] });
  });

  it('stops where nobody reads on', async () => {
    const many = new FakeServer(4);
    for (let i = 0; i < 50_000; i++) many.values.set(`name ${i}`, 1n);
    expect(await cli(['ls'], { server: many, breaksWith: 'EPIPE' })).toMatchObject({ status: 0, err: '' });
    expect(many.listed).toBeLessThan(10_000);
    const { status, err } = await cli(['ls'], { server: many, breaksWith: 'ENOSPC' });
    expect(status).toBe(1);
    expect(err).toMatch(/^OUTPUT_FAILED: /);
    many.listed = 0;
    expect((await cli(['ls'], { server: many })).out.split('\n')).toHaveLength(50_001);
  });
});

describe('hot', () => {
  const server = new FakeServer(4);
  server.hot.push(
    [
      { name: 'a', perSecond: 900 },
      { name: 'b\u001b', perSecond: 20 },
    ],
    [{ name: 'c', perSecond: 1_234 }],
  );

  it('prints the hottest counters of all lanes, hottest first', async () => {
    expect((await cli(['hot'], { server })).out).toBe('c        1,234/s\na          900/s\nb\\u{1b}     20/s\n');
    expect((await cli(['hot', '--top', '1'], { server })).out).toBe('c  1,234/s\n');
    const { out, connections } = await cli(['hot', '--json', '--top', '2'], { server });
    expect(JSON.parse(out)).toEqual([
      { name: 'c', perSecond: 1_234 },
      { name: 'a', perSecond: 900 },
    ]);
    expect(connections[0]?.options.producer).toBe(false);
    for (const bad of ['0', '101', 'x', '-1'])
      expect(await cli(['hot', '--top', bad], { server })).toMatchObject({ status: 2, connections: [] });
  });
});
