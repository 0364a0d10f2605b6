import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BucketSums, type Fineness } from '../../src/history/bucket.js';
import { type Bucket, endOf, MILLISECONDS, RESOLUTIONS, type Resolution } from '../../src/series/bucket.js';
import { range, series, valueAt } from '../../src/series/series.js';
import { areWholeHours, MAX_STEPS, type SeriesQuery, stepsOf } from '../../src/series/steps.js';
import { DAY, HOUR, MINUTE, NOW } from '../history/rows.js';

/** A delta, and the resolution at which it is kept by now. */
interface Event {
  readonly time: number;
  readonly delta: bigint;
  readonly resolution: Resolution;
}

function bucketsOf(events: readonly Event[], finest: Fineness = 'minute'): Bucket[] {
  const sums = new BucketSums(finest);
  for (const { time, delta, resolution } of events) {
    const span = finest === 'hour' && resolution === 'minute' ? finest : resolution;
    const start = Math.floor(time / MILLISECONDS[span]) * MILLISECONDS[span];
    sums.add({ resolution, start, sum: delta, ...(span !== resolution && { span }) });
  }
  return sums.within(0, Number.POSITIVE_INFINITY);
}

/** The oracle. */
const sumIn = (events: readonly Event[], from: number, to: number) =>
  events.reduce((sum, { time, delta }) => (time >= from && time < to ? sum + delta : sum), 0n);

const query = (from: number, to: number, count: number, unit: Resolution, zone = 'UTC'): SeriesQuery => ({
  ...{ from, to, zone, step: { count, unit } },
});
const at = (time: number, delta: bigint, resolution: Resolution = 'minute'): Event => ({ time, delta, resolution });
const answer = (events: readonly Event[], asked: SeriesQuery) => series(bucketsOf(events), stepsOf(asked));
/** `start/hours sum resolution`, the start in UTC, with `~` where it is not exact. */
const texts = (points: ReturnType<typeof series>) =>
  points.map(({ start, end, sum, resolution, exact }) => {
    const begin = new Date(start).toISOString().slice(5, 16);
    return `${begin}/${(end - start) / HOUR} ${exact ? '' : '~'}${sum} ${resolution}`;
  });

describe('steps', () => {
  const edges = (asked: SeriesQuery) => stepsOf(asked).edges.map((edge) => new Date(edge).toISOString().slice(5, 16));

  test('are whole, and reach out of what was asked for', () => {
    expect(edges(query(NOW + 7 * MINUTE, NOW + 16 * MINUTE, 5, 'minute'))).toEqual([
      ...['06-18T00:05', '06-18T00:10', '06-18T00:15', '06-18T00:20'],
    ]);
    expect(edges(query(NOW + HOUR, NOW + DAY, 1, 'day'))).toEqual(['06-18T00:00', '06-19T00:00']);
  });

  test('begin anew with each day, whose last step may be shorter', () => {
    expect(edges(query(NOW + 15 * HOUR, NOW + 26 * HOUR, 7, 'hour'))).toEqual([
      ...['06-18T14:00', '06-18T21:00', '06-19T00:00', '06-19T07:00'],
    ]);
  });

  test.each([
    ['Europe/Berlin', '2026-03-29', 23],
    ['Europe/Berlin', '2026-10-25', 25],
    ['Europe/Berlin', '2026-06-18', 24],
    ['Australia/Lord_Howe', '2026-10-04', 23.5],
    ['Australia/Lord_Howe', '2026-04-05', 24.5],
    ['Asia/Kolkata', '2026-03-29', 24],
  ])('of a day in %s on %s take %d hours, as hours and as a day', (zone, date, hours) => {
    const noon = Date.parse(date) + DAY / 2 - (zone.startsWith('Europe') ? HOUR : 9 * HOUR);
    const [start = 0, end = 0] = stepsOf(query(noon, noon + 1, 1, 'day', zone)).edges;
    expect((end - start) / HOUR).toBe(hours);
    expect(stepsOf(query(start, end, 1, 'hour', zone)).edges).toHaveLength(Math.ceil(hours) + 1);
  });

  test('of a day that the calendar leaves out are none', () => {
    const [from, to] = [Date.parse('2011-12-29T12:00Z'), Date.parse('2012-01-01T12:00Z')];
    expect(edges(query(from, to, 1, 'day', 'Pacific/Apia'))).toEqual([
      ...['12-29T10:00', '12-30T10:00', '12-31T10:00', '01-01T10:00', '01-02T10:00'],
    ]);
  });

  test.each([
    ['that are too many', query(0, MAX_STEPS * MINUTE + 1, 1, 'minute')],
    ['backwards', query(NOW, NOW, 1, 'hour')],
    ['before 1970', query(-1, NOW, 1, 'day')],
    ['beyond all calendars', query(0, 8.64e15, 100_000, 'day')],
    ['of no length', query(0, NOW, 0, 'day')],
    ['of a part', query(0, HOUR, 0.5, 'hour')],
    ['of 25 hours', query(0, NOW, 25, 'hour')],
    ['in no zone', query(0, NOW, 1, 'day', 'Nowhere')],
  ])('%s are refused', (_, asked) => {
    expect(() => stepsOf(asked)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});

describe('a series', () => {
  test('of nothing is exact', () => {
    expect(texts(answer([], query(NOW, NOW + 2 * HOUR, 1, 'hour')))).toEqual([
      ...['06-18T00:00/1 0 minute', '06-18T01:00/1 0 minute'],
    ]);
  });

  test('has the sums of its steps, of all resolutions that fit into them', () => {
    const events = [
      at(NOW + 1, 1n),
      at(NOW + 30 * MINUTE, 2n, 'hour'),
      at(NOW + DAY - 1, 4n),
      at(NOW + DAY, 8n, 'day'),
    ];
    expect(texts(answer(events, query(NOW, NOW + 2 * DAY, 1, 'day')))).toEqual([
      ...['06-18T00:00/24 7 hour', '06-19T00:00/24 8 day'],
    ]);
  });

  test('has a longer point where only more is kept, exact, and from where that begins to where it ends', () => {
    const events = [at(NOW + 5 * HOUR, 1n, 'day'), at(NOW + 3 * HOUR, 10n), at(NOW + DAY + 90 * MINUTE, 100n, 'hour')];
    expect(texts(answer(events, query(NOW + 22 * HOUR, NOW + 26 * HOUR, 30, 'minute')))).toEqual([
      ...['06-18T00:00/24 11 day', '06-19T00:00/0.5 0 minute', '06-19T00:30/0.5 0 minute', '06-19T01:00/1 100 hour'],
    ]);
  });

  test.each(['Asia/Kolkata', 'Australia/Adelaide'])(
    'of days in %s is not exact where an hour lies across midnight',
    (zone) => {
      const midnight = stepsOf(query(NOW, NOW + 1, 1, 'day', zone)).edges[1] as number;
      const [before, , later] = [midnight - 31 * MINUTE, midnight, midnight + 31 * MINUTE];
      const asked = query(midnight - 1, midnight + DAY + 1, 1, 'day', zone);
      const exact = (events: readonly Event[]) => answer(events, asked).map((point) => `${point.exact} ${point.sum}`);
      expect(exact([at(before, 1n, 'hour'), at(later, 2n, 'hour')])).toEqual(['true 1', 'true 2', 'true 0']);
      // 1 came before midnight and 2 after it, which nobody knows any more.
      expect(exact([at(midnight - 1, 1n, 'hour'), at(midnight, 2n, 'hour')])).toEqual(['false 3', 'false 0', 'true 0']);
      expect(exact([at(midnight - 1, 1n), at(midnight, 2n)])).toEqual(['true 1', 'true 2', 'true 0']);
    },
  );

  test('is not exact either where what lies across midnight comes to 0', () => {
    const midnight = Date.parse('2026-06-17T18:30Z');
    const events = [at(midnight - 1, 1n, 'hour'), at(midnight, -1n, 'hour')];
    const points = answer(events, query(midnight - 1, midnight + 1, 1, 'day', 'Asia/Kolkata'));
    expect(points.map(({ exact, sum }) => `${exact} ${sum}`)).toEqual(['false 0', 'false 0']);
  });

  test('of days in a zone is not exact where only days of UTC are kept, and does not grow together', () => {
    const events = [1, 2, 3].map((day) => at(NOW + day * DAY + 1, BigInt(day), 'day'));
    expect(texts(answer(events, query(NOW + DAY, NOW + 4 * DAY, 1, 'day', 'Europe/Berlin')))).toEqual([
      ...['06-18T22:00/24 ~1 day', '06-19T22:00/24 ~2 day', '06-20T22:00/24 ~3 day', '06-21T22:00/24 ~0 day'],
    ]);
    const hours = texts(answer(events, query(NOW + DAY, NOW + 3 * DAY, 1, 'hour', 'Asia/Kolkata')));
    expect(hours.slice(0, 2)).toEqual(['06-18T23:30/24 ~1 day', '06-19T23:30/24 ~2 day']);
  });

  const resolution = fc.constantFrom(...RESOLUTIONS);
  const event = fc.record({
    time: fc.integer({ min: NOW - 3 * DAY, max: NOW + 3 * DAY }),
    delta: fc.bigInt(-5n, 5n),
    resolution,
  });
  const zone = fc.constantFrom(
    ...[
      'UTC',
      'Europe/Berlin',
      'America/St_Johns',
      'Asia/Kolkata',
      'Asia/Kathmandu',
      'Australia/Lord_Howe',
      'Pacific/Apia',
    ],
  );
  const asked = fc
    .record({
      from: fc.integer({ min: NOW - 4 * DAY, max: NOW + 3 * DAY }),
      length: fc.integer({ min: 1, max: 3 * DAY }),
      step: fc.oneof(
        fc.record({ count: fc.constantFrom(7, 15, 60, 90), unit: fc.constant<Resolution>('minute') }),
        fc.record({ count: fc.constantFrom(1, 2, 6, 24), unit: fc.constant<Resolution>('hour') }),
        fc.record({ count: fc.constantFrom(1, 2, 3), unit: fc.constant<Resolution>('day') }),
      ),
      zone,
    })
    .map(({ from, length, step, zone: name }): SeriesQuery => ({ from, to: from + length, step, zone: name }));
  const across = (buckets: readonly Bucket[], edge: number) =>
    buckets.some((bucket) => bucket.start < edge && endOf(bucket) > edge);

  test('is what a list of deltas says, or says that it is not exact, and where', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), asked, (events, wanted) => {
        const buckets = bucketsOf(events);
        const steps = stepsOf(wanted);
        const points = series(buckets, steps);
        expect(points[0]?.start).toBeLessThanOrEqual(wanted.from);
        expect(points.at(-1)?.end).toBeGreaterThanOrEqual(wanted.to);
        for (const [index, { start, end, exact, sum }] of points.entries()) {
          expect(start).toBe(index === 0 ? start : points[index - 1]?.end);
          if (exact) expect(sum).toBe(sumIn(events, start, end));
          // It says so exactly where something kept lies across one of its ends.
          expect(exact).toBe(!across(buckets, start) && !across(buckets, end));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test('is exact in all of its steps where minutes are kept, and in days of zones of whole hours where hours are', () => {
    const kept = (only: Resolution) =>
      fc.array(
        event.map((one) => ({ ...one, resolution: only })),
        { maxLength: 30 },
      );
    const check = (events: readonly Event[], wanted: SeriesQuery) => {
      const steps = stepsOf(wanted);
      const points = series(bucketsOf(events), steps);
      expect(points.map(({ start }) => start)).toEqual(steps.edges.slice(0, -1));
      expect(points.map(({ sum }) => sum)).toEqual(points.map(({ start, end }) => sumIn(events, start, end)));
      expect(points.every(({ exact }) => exact)).toBe(true);
    };
    const inHours = asked.map(
      (one): SeriesQuery => ({ ...one, zone: 'Europe/Berlin', step: { count: 1, unit: 'day' } }),
    );
    fc.assert(fc.property(kept('minute'), asked, check), { numRuns: 1_000 });
    fc.assert(fc.property(kept('hour'), inHours, check), { numRuns: 1_000 });
  });

  test('is the same of minutes that are added up by the hour where all of its edges are whole hours', () => {
    let compared = 0;
    const check = (events: readonly Event[], wanted: SeriesQuery) => {
      const steps = stepsOf(wanted);
      if (!areWholeHours(steps.edges)) return;
      compared++;
      expect(series(bucketsOf(events, 'hour'), steps)).toEqual(series(bucketsOf(events), steps));
      const [from, to] = [steps.edges[0] as number, steps.edges.at(-1) as number];
      expect(range(bucketsOf(events, 'hour'), from, to)).toEqual(range(bucketsOf(events), from, to));
    };
    fc.assert(fc.property(fc.array(event, { maxLength: 40 }), asked, check), { numRuns: 2_000 });
    expect(compared).toBeGreaterThan(500);
  });

  test('of the days on which the clock is set has the hours of these days', () => {
    for (const date of ['2026-03-29', '2026-10-25']) {
      const from = Date.parse(date) - 2 * DAY;
      const events = Array.from({ length: 5 * 24 }, (_, hour) => at(from + hour * HOUR, 1n, 'hour'));
      const points = answer(events, query(from + DAY, from + 4 * DAY, 1, 'day', 'Europe/Berlin'));
      expect(points.every(({ exact, sum, start, end }) => exact && sum === BigInt((end - start) / HOUR))).toBe(true);
      expect(points.map(({ sum }) => sum)).toContain(date === '2026-03-29' ? 23n : 25n);
    }
  });

  test('of a range, as one point, is exact for the time that it names', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 30 }), asked, fc.boolean(), (events, wanted, isWhole) => {
        const [from, to] = [wanted.from, wanted.to].map((time) => (isWhole ? time - (time % MINUTE) : time)) as [
          number,
          number,
        ];
        const buckets = bucketsOf(events);
        const point = range(buckets, from, to);
        expect(point.start).toBeLessThanOrEqual(from);
        expect(point.end).toBeGreaterThanOrEqual(to);
        expect(point.sum).toBe(sumIn(events, point.start, point.end));
        const areWhole = from % MINUTE === 0 && to % MINUTE === 0;
        expect(point.exact).toBe(areWhole && !across(buckets, from) && !across(buckets, to));
        expect(point.exact).toBe(point.start === from && point.end === to);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('Within a minute', () => {
  // of deltas that come to 0 nothing is kept
  test('nothing is said to be exact, also where no bucket says that anything happened', () => {
    const inTheMiddle = NOW - (NOW % MINUTE) - 30_000;
    expect(valueAt(5n, [], inTheMiddle)).toMatchObject({ value: 5n, at: inTheMiddle + 30_000, exact: false });
    const point = { sum: 0n, start: inTheMiddle - 30_000, end: inTheMiddle + 90_000, exact: false };
    expect(range([], inTheMiddle, inTheMiddle + MINUTE)).toMatchObject(point);
  });
});

describe('the value at an instant', () => {
  test('is exact for the instant that it names, which is the one asked for where nothing lies across it', () => {
    const event = fc.record({
      time: fc.integer({ min: NOW - 3 * DAY, max: NOW }),
      delta: fc.bigInt(-(2n ** 62n), 2n ** 62n),
      resolution: fc.constantFrom(...RESOLUTIONS),
    });
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 30 }),
        fc.integer({ min: NOW - 4 * DAY, max: NOW }),
        fc.boolean(),
        (events, time, isWhole) => {
          const instant = isWhole ? time - (time % MINUTE) : time;
          const buckets = bucketsOf(events);
          const present = sumIn(events, 0, Number.POSITIVE_INFINITY);
          const found = valueAt(present, buckets, instant);
          expect(found.value).toBe(sumIn(events, 0, found.at));
          expect(found.exact).toBe(found.at === instant);
          const isKept = !buckets.some((bucket) => bucket.start < instant && endOf(bucket) > instant);
          expect(found.exact).toBe(instant % MINUTE === 0 && isKept);
          expect(found.at).toBeGreaterThanOrEqual(instant);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('says what served it', () => {
    const buckets = bucketsOf([at(NOW - 40 * DAY, 1n, 'day'), at(NOW - 3 * DAY, 2n, 'hour'), at(NOW - HOUR, 4n)]);
    const served = (instant: number) => {
      const { value, exact, resolution } = valueAt(100n, buckets, instant);
      return `${value} ${exact} ${resolution}`;
    };
    expect(served(NOW - 30 * MINUTE)).toBe('100 true minute');
    expect(served(NOW - 2 * HOUR)).toBe('96 true minute');
    expect(served(NOW - 4 * DAY)).toBe('94 true hour');
    expect(served(NOW - 3 * DAY + 1)).toBe('96 false hour');
    expect(served(NOW - 40 * DAY + HOUR)).toBe('94 false day');
    expect(served(NOW - 40 * DAY)).toBe('93 true day');
  });
});
