import { expect, it } from 'vitest';
import { cli } from './command-line.js';
import { FakeServer } from './fake-target.js';

function serverWith(uniques: Record<string, string[]>): FakeServer {
  const server = new FakeServer(4);
  for (const [name, items] of Object.entries(uniques)) server.uniques.set(name, new Set(items));
  return server;
}

it('see prints how many of the items were new, with a ~ where that is an estimate', async () => {
  const server = serverWith({});
  expect(await cli(['see', 'v', 'a'], { server })).toMatchObject({ status: 0, out: '1\n' });
  expect((await cli(['see', 'v', 'a'], { server })).out).toBe('0\n');
  expect((await cli(['see', 'v', 'a', 'b', 'c', '--json'], { server })).out).toBe('{"new":2,"exact":true}\n');
  expect((await cli(['see', 'v', 'd'], { server })).out).toBe('~1\n');
  expect((await cli(['see', 'v', '-'], { server, stdin: 'e\nf\r\n\na\n' })).out).toBe('~2\n');
  expect([...(server.uniques.get('v') ?? [])]).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  expect(await cli(['see', 'v'], { server })).toMatchObject({ status: 2 });
});

it('uniques prints a number, a table of them, or that of the union', async () => {
  const server = serverWith({ v: ['a', 'b'], w: ['b', 'c', 'd', 'e'], '\u001b': ['a'] });
  expect((await cli(['uniques', 'v'], { server })).out).toBe('2\n');
  expect((await cli(['uniques', 'w'], { server })).out).toBe('~4\n');
  expect((await cli(['uniques', 'nobody'], { server })).out).toBe('0\n');
  expect((await cli(['uniques', 'v', 'w', 'v', '\u001b'], { server })).out).toBe(
    'v        2\nw       ~4\n\\u{1b}   1\n',
  );
  expect((await cli(['uniques', 'v', 'w', '--union'], { server })).out).toBe('~5\n');
  expect((await cli(['uniques', '-'], { server, stdin: 'v\n' })).out).toBe('v  2\n');
  expect(server.reads.every((read) => read === 'durable')).toBe(true);
  expect((await cli(['uniques', 'v', '--window', '1h'], { server })).out).toBe('1\n');
  await cli(['uniques', 'v', '--latest'], { server });
  expect(server.reads.at(-1)).toBe('latest');
});

it('uniques prints an object a line for machines, and opens no producer', async () => {
  const server = serverWith({ v: ['a'], w: ['b', 'c', 'd', 'e'] });
  const { out, connections } = await cli(['uniques', 'v', 'w', '--json'], { server });
  expect(
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { names: ['v'], count: 1, exact: true, standardError: 0 },
    { names: ['w'], count: 4, exact: false, standardError: 0.008123 },
  ]);
  expect(connections[0]?.options.producer).toBe(false);
});

it('once prints how many of the items counted, and the value for machines', async () => {
  const server = serverWith({});
  expect(await cli(['once', 'v', 'a', '--within', '24h'], { server })).toMatchObject({ status: 0, out: '1\n' });
  expect((await cli(['once', 'v', 'a'], { server })).out).toBe('0\n');
  expect((await cli(['once', 'v', '-', '--by', '-5'], { server, stdin: 'b\na\nc\n' })).out).toBe('2\n');
  expect((await cli(['once', 'v', 'c', 'd', '--json'], { server })).out).toBe(
    '{"name":"v","counted":1,"value":"-8"}\n',
  );
  const refused = await cli(['once', 'v', 'e', '--within', '1h'], { server });
  expect(refused).toMatchObject({ status: 1, out: '' });
  expect(refused.err).toContain('NOT_TRACKED');
  expect(await cli(['once', 'v'], { server })).toMatchObject({ status: 2 });
});
