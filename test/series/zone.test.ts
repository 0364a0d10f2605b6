import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Zone } from '../../src/series/zone.js';
import { DAY, HOUR, MINUTE } from '../history/rows.js';

const formats = new Map<string, Intl.DateTimeFormat>();

/** The day of the calendar as another format of Intl tells it. */
function shownDay(zone: string, instant: number): number {
  const format = formats.get(zone) ?? new Intl.DateTimeFormat('en-CA', { timeZone: zone });
  formats.set(zone, format);
  return Date.parse(format.format(instant)) / DAY;
}

/** The naive way: minute by minute, until the date is there. */
function firstMinuteOf(zone: string, day: number): number {
  for (let instant = day * DAY - 15 * HOUR; ; instant += MINUTE) if (shownDay(zone, instant) >= day) return instant;
}

const dayOf = (date: string) => Date.parse(date) / DAY;
const iso = (instant: number) => new Date(instant).toISOString().slice(0, 16);

describe('a day begins', () => {
  test.each([
    ['UTC', '2026-03-29', '2026-03-29T00:00'],
    ['Europe/Berlin', '2026-03-29', '2026-03-28T23:00'],
    ['Europe/Berlin', '2026-03-30', '2026-03-29T22:00'],
    ['Europe/Berlin', '2026-10-25', '2026-10-24T22:00'],
    ['Europe/Berlin', '2026-10-26', '2026-10-25T23:00'],
    ['Asia/Kolkata', '2026-01-01', '2025-12-31T18:30'],
    ['Asia/Kathmandu', '2026-01-01', '2025-12-31T18:15'],
    // Half an hour of summer time.
    ['Australia/Lord_Howe', '2026-04-05', '2026-04-04T13:00'],
    ['Australia/Lord_Howe', '2026-04-06', '2026-04-05T13:30'],
    ['Australia/Lord_Howe', '2026-10-04', '2026-10-03T13:30'],
    ['Australia/Lord_Howe', '2026-10-05', '2026-10-04T13:00'],
    // Set forward from midnight to one.
    ['America/Sao_Paulo', '2018-11-04', '2018-11-04T03:00'],
    // Set forward from half an hour before midnight to half an hour after it.
    ['America/Toronto', '1919-03-31', '1919-03-31T04:30'],
    // Set back from midnight to eleven: the day before is an hour longer.
    ['America/Sao_Paulo', '2018-02-18', '2018-02-18T03:00'],
    // Set back from one minute past midnight: the day had begun.
    ['America/St_Johns', '2009-11-01', '2009-11-01T02:30'],
    // The calendar leaves 2011-12-30 out.
    ['Pacific/Apia', '2011-12-29', '2011-12-29T10:00'],
    ['Pacific/Apia', '2011-12-30', '2011-12-30T10:00'],
    ['Pacific/Apia', '2011-12-31', '2011-12-30T10:00'],
  ])('in %s on %s at %s of UTC', (zone, date, expected) => {
    expect(iso(new Zone(zone).startOfDay(dayOf(date)))).toBe(expected);
    expect(iso(firstMinuteOf(zone, dayOf(date)))).toBe(expected);
  });

  test('when its date, or a later one, is shown first, on each day of any year in any zone', () => {
    const zones = Intl.supportedValuesOf('timeZone');
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.integer({ min: 1_975, max: 2_037 }), (name, year) => {
        const zone = new Zone(name);
        for (let day = Date.UTC(year) / DAY; day < Date.UTC(year + 1) / DAY; day++) {
          const start = zone.startOfDay(day);
          if (!(shownDay(name, start) >= day && shownDay(name, start - 1) < day))
            expect(iso(start)).toBe(`${name} ${day}`);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('on both days on which the clock is set, and their neighbours', () => {
    const zones = [
      'Europe/Berlin',
      'America/New_York',
      'Australia/Lord_Howe',
      'Africa/Cairo',
      'America/Santiago',
      'Asia/Beirut',
    ];
    for (const name of zones) {
      const zone = new Zone(name);
      for (let day = dayOf('2024-01-01'); day < dayOf('2026-01-01'); day++) {
        const length = zone.startOfDay(day + 1) - zone.startOfDay(day);
        if (length === DAY) continue;
        for (const near of [day - 1, day, day + 1]) expect(zone.startOfDay(near)).toBe(firstMinuteOf(name, near));
      }
    }
  });
});

test('an instant lies in the day that has begun, and whose next one has not', () => {
  const zones = ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Australia/Lord_Howe', 'Pacific/Apia', 'Asia/Kathmandu'];
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.integer({ min: Date.parse('1990-01-01'), max: Date.parse('2030-01-01') }),
      (name, instant) => {
        const zone = new Zone(name);
        const day = zone.dayOf(instant);
        expect(zone.startOfDay(day)).toBeLessThanOrEqual(instant);
        expect(zone.startOfDay(day + 1)).toBeGreaterThan(instant);
      },
    ),
    { numRuns: 500 },
  );
  // Between the minute of the new day and midnight, the clock shows the old one again.
  expect(new Zone('America/St_Johns').dayOf(Date.parse('2009-11-01T03:00Z'))).toBe(dayOf('2009-11-01'));
});

test('an unknown zone is refused', () => {
  for (const name of ['', 'Mars/Olympus', 'Europe/Berlin ', '../etc']) {
    expect(() => new Zone(name)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  }
});
