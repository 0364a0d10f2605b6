import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matchesPattern } from '../../src/protocol/pattern.js';
import { cli } from './command-line.js';
import { FakeServer } from './fake-target.js';

const server = new FakeServer(4);
server.stats = [
  {
    classes: [
      { pattern: 'views:*', windows: '1d' },
      { pattern: 'x*', windows: '1h', seconds: true },
      { pattern: '*', history: { minutes: 86_400_000 } },
    ],
  },
];
server.values.set('views:/', 120n);
server.values.set('views:/a\u001b', 6n);

describe('window', () => {
  it('prints the value of one counter with what it may be off by, and a table of several', async () => {
    expect((await cli(['window', 'views:/'], { server })).out).toBe('120 ±2\n');
    expect((await cli(['window', 'views:/', '--aligned', '--last', '5m'], { server })).out).toBe('120\n');
    const { out } = await cli(['window', 'views:/', 'views:/a\u001b', 'views:/'], { server });
    expect(out).toBe('views:/         120 ±2\nviews:/a\\u{1b}    6 ±2\n');
  });

  it('prints objects for machines', async () => {
    const { out } = await cli(['window', 'views:/', '--last', '1m', '--json'], { server });
    expect(JSON.parse(out)).toEqual([
      {
        ...{ name: 'views:/', value: '120', error: '2', perSecond: 2 },
        ...{ from: '1970-01-01T00:00:00.000Z', to: '1970-01-01T00:01:00.000Z' },
      },
    ]);
  });

  it('prints what increased and what decreased a counter', async () => {
    expect((await cli(['window', 'views:/', '--gross'], { server })).out).toBe('120 (+150 -30) ±2\n');
    const { out } = await cli(['window', 'views:/', '--gross', '--aligned', '--json'], { server });
    expect(JSON.parse(out)).toMatchObject([{ value: '120', increases: '150', decreases: '30', gross: '180' }]);
    expect((await cli(['rate', 'views:/', '--gross'], { server })).out).toBe('3/s\n');
  });

  it('says what is not tracked', async () => {
    const failed = await cli(['window', 'nobody'], { server });
    expect(failed).toMatchObject({ status: 1, out: '' });
    expect(failed.err).toMatch(/^NOT_TRACKED: .*nobody/);
  });
});

describe('rate', () => {
  it('prints changes a second', async () => {
    expect((await cli(['rate', 'views:/'], { server })).out).toBe('2/s\n');
    expect(JSON.parse((await cli(['rate', 'views:/', '--json'], { server })).out)).toMatchObject([{ perSecond: 2 }]);
  });
});

describe('classes', () => {
  it('prints the rules, and the one that holds for a name', async () => {
    expect((await cli(['classes'], { server })).out).toBe(
      'views:*: total, windows 1d\nx*: total, windows 1h, seconds true\n*: total, history minutes 86400000\n',
    );
    expect((await cli(['classes', 'views:/', 'x'], { server })).out).toBe(
      'views:/  views:*: total, windows 1d\nx  x*: total, windows 1h, seconds true\n',
    );
    const { out } = await cli(['classes', 'views:/', '--json'], { server });
    expect(JSON.parse(out)).toEqual([{ name: 'views:/', pattern: 'views:*', windows: '1d' }]);
  });

  it('match names as a regular expression would', () => {
    const letters = fc.stringMatching(/^[ab*.]{0,8}$/);
    const name = fc.stringMatching(/^[ab.]{0,8}$/);
    fc.assert(
      fc.property(letters, name, (pattern, name) => {
        const expression = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*')}$`, 's');
        expect([pattern, name, matchesPattern(pattern, name)]).toEqual([pattern, name, expression.test(name)]);
      }),
      { numRuns: 3_000 },
    );
  });
});
