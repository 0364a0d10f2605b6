import { MAX_TIME } from '../../protocol/request.js';

/**
 * Times of records, as milliseconds since 1970; undefined for text that is none. A time without a zone is taken as UTC.
 *
 * A number is told apart by its size: below 100,000,000,000 (the year 5138) it is seconds, from there on (the year 1973) milliseconds.
 */

const FIRST_MILLISECONDS = 1e11;
const NUMBER = /^[0-9]{1,15}(?:\.[0-9]{1,9})?$/;
const ISO = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?$/;
const LOG = /^(\d\d)\/([A-Z][a-z]{2})\/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})$/;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** The time of an access log, such as `17/May/2015:10:05:03 +0000`. */
export function parseLogTime(text: string): number | undefined {
  const [, day, month = '', year, hour, minute, second, zone] = LOG.exec(text) ?? [];
  return instant([year, MONTHS.indexOf(month) + 1, day, hour, minute, second].map(Number), 0, zone);
}

/** ISO 8601 (RFC 3339, the time of day and its parts may be left out), or a number of seconds or milliseconds. */
export function parseTime(text: string): number | undefined {
  if (NUMBER.test(text)) {
    const number = Number(text);
    return inRange(Math.floor(number < FIRST_MILLISECONDS ? number * 1_000 : number));
  }
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '0', zone] = ISO.exec(text) ?? [];
  const milliseconds = Number(fraction.slice(0, 3).padEnd(3, '0'));
  return instant([year, month, day, hour, minute, second].map(Number), milliseconds, zone);
}

/** A second of 60, a leap second, is the one behind it. A date that no calendar has is none. */
function instant(parts: readonly number[], milliseconds: number, zone = 'Z'): number | undefined {
  const [year, month, day, hour, minute, second] = parts as [number, number, number, number, number, number];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const [, sign, hours = '0', minutes = '0'] = /^([+-])(\d\d):?(\d\d)$/.exec(zone) ?? [];
  if (hour > 23 || minute > 59 || second > 60 || Number(hours) > 23 || Number(minutes) > 59) return undefined;
  const offset = (Number(hours) * 60 + Number(minutes)) * (sign === '-' ? -60_000 : 60_000);
  return inRange(date.getTime() + ((hour * 60 + minute) * 60 + second) * 1_000 + milliseconds - offset);
}

const inRange = (time: number): number | undefined => (time >= 0 && time <= MAX_TIME ? time : undefined);
