import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLogTime, parseTime } from '../../src/cli/ingest/time.js';

const MAY = Date.UTC(2015, 4, 17, 10, 5, 3);

describe('the time of a field', () => {
  it.each([
    ['2015-05-17T10:05:03Z', MAY],
    ['2015-05-17 10:05:03', MAY],
    ['2015-05-17T12:05:03+02:00', MAY],
    ['2015-05-17T04:35:03-0530', MAY],
    ['2015-05-17T10:05:03.1239Z', MAY + 123],
    ['2015-05-17T10:05Z', MAY - 3_000],
    ['2015-05-17', Date.UTC(2015, 4, 17)],
    ['2016-12-31T23:59:60Z', Date.UTC(2017, 0, 1)],
    ['1431857103', MAY],
    ['1431857103.5', MAY + 500],
    ['1431857103000', MAY],
    ['0', 0],
    ['99999999999', 99_999_999_999_000],
    ['100000000000', 100_000_000_000],
    ['253402300799999', 253_402_300_799_999],
  ])('%s is %d', (text, time) => {
    expect(parseTime(text)).toBe(time);
  });

  it.each([
    ...['', '-', '-1', '1e9', 'yesterday', '253402300800000', '1969-12-31T23:59:59Z', '2015-02-30', '2015-13-01'],
    ...['2015-05-17T24:00:00Z', '2015-05-17T10:60:00Z', '2015-05-17T10:05:03+24:00', '17/May/2015:10:05:03 +0000'],
  ])('%j is none', (text) => {
    expect(parseTime(text)).toBeUndefined();
  });

  it('is what ISO 8601 says of every time', () => {
    const date = fc.date({ min: new Date(0), max: new Date(253_402_300_799_999), noInvalidDate: true });
    fc.assert(
      fc.property(date, (date) => {
        expect(parseTime(date.toISOString())).toBe(date.getTime());
      }),
    );
  });
});

describe('the time of an access log', () => {
  it.each([
    ['17/May/2015:10:05:03 +0000', MAY],
    ['17/May/2015:12:05:03 +0200', MAY],
    ['16/May/2015:23:35:03 -1030', MAY],
  ])('%s is %d', (text, time) => {
    expect(parseLogTime(text)).toBe(time);
  });

  it.each(['31/Feb/2015:10:05:03 +0000', '17/Mai/2015:10:05:03 +0000', '17/May/2015:10:05:03', '2015-05-17'])(
    '%j is none',
    (text) => {
      expect(parseLogTime(text)).toBeUndefined();
    },
  );
});
