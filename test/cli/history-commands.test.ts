import { beforeEach, describe, expect, it } from 'vitest';
import { cli } from './command-line.js';
import { FakeServer } from './fake-target.js';

const HOUR = 3_600_000;
const pointAt = (hour: number, value: bigint, exact = true) => ({
  ...{ from: hour * HOUR, to: (hour + 1) * HOUR, value, exact },
  resolution: 'hour',
});

let server: FakeServer;

beforeEach(() => {
  server = new FakeServer(4);
  server.points.push(pointAt(0, 3n), pointAt(1, -4n), pointAt(2, 10n, false));
});

describe('series', () => {
  it('prints a line for each step, and says which is not exact', async () => {
    const { out } = await cli(['series', 'views:/', '--from', '1970-01-01'], { server });
    expect(out).toBe('1970-01-01T00:00:00.000Z    3\n1970-01-01T01:00:00.000Z   -4\n1970-01-01T02:00:00.000Z  ~10\n');
    expect(server.asked).toEqual([{ name: 'views:/', from: '1970-01-01', step: '1h', zone: 'UTC', read: 'durable' }]);
  });

  it('asks for what it is told to', async () => {
    const time = ['--from', '2026-11-01', '--to', '2026-11-02T00:00Z', '--step', '1d', '--zone', 'Asia/Kolkata'];
    await cli(['series', 'x', ...time, '--latest'], { server });
    expect(server.asked).toEqual([
      {
        ...{ name: 'x', from: '2026-11-01', to: '2026-11-02T00:00Z', step: '1d', zone: 'Asia/Kolkata' },
        read: 'latest',
      },
    ]);
  });

  it('draws the steps on a terminal', async () => {
    const { out } = await cli(['series', 'x', '--from', '1970-01-01'], { server, tty: true });
    expect(out.split('\n')[0]).toBe('▄▁█');
  });

  it('draws steps that are all the same, and none', async () => {
    server.points.splice(0, 3, pointAt(0, 7n), pointAt(1, 7n));
    expect((await cli(['series', 'x', '--from', '1970-01-01'], { server, tty: true })).out).toMatch(/^▁▁\n/);
    server.points.splice(0);
    expect((await cli(['series', 'x', '--from', '1970-01-01'], { server, tty: true })).out).toBe('');
  });

  it('prints objects for machines', async () => {
    const { out } = await cli(['series', 'x', '--from', '1970-01-01', '--json'], { server });
    expect(JSON.parse(out)).toMatchObject({
      name: 'x',
      points: [
        {
          from: '1970-01-01T00:00:00.000Z',
          to: '1970-01-01T01:00:00.000Z',
          value: '3',
          resolution: 'hour',
          exact: true,
        },
        { value: '-4' },
        { value: '10', exact: false },
      ],
    });
  });

  it('needs a time to begin with', async () => {
    const { status, err } = await cli(['series', 'x'], { server });
    expect(status).toBe(2);
    expect(err).toMatch(/--from/);
  });
});

describe('at', () => {
  it('prints the value of an instant, or of the next one that is known', async () => {
    server.values.set('x', 12n);
    expect((await cli(['at', 'x', '2026-11-27T12:00Z'], { server })).out).toBe('12\n');
    expect((await cli(['at', 'x', '2026-11-27T12:30Z'], { server })).out).toBe('12 at 2026-11-27T13:00:00.000Z\n');
    const { out } = await cli(['at', 'x', '2026-11-27T12:30Z', '--json', '--latest'], { server });
    expect(JSON.parse(out)).toEqual({
      ...{ name: 'x', value: '12', at: '2026-11-27T13:00:00.000Z', exact: false, resolution: 'hour' },
    });
    expect(server.reads).toEqual(['durable', 'durable', 'latest']);
  });
});
