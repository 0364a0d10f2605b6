import { milliseconds, rate, ratio, three } from './table.mjs';

/** The figures of load/history.mjs as rows. */

export const HISTORY_HEAD = ['', 'p50', 'p99', 'most', 'CPU time each'];

export function historyRows({ bytesACounterHour, commits, rollUp, series, kept, counters, hours, rowsACommit }) {
  const alone = (title, value) => [title, value, '', '', ''];
  const spread = (title, { p50, p99, most, cpuMilliseconds }) => [
    title,
    ...[p50, p99, most, cpuMilliseconds].map((value) => (value === undefined ? '' : milliseconds(value))),
  ];
  const rows = kept['of 24 hours rolled up'];
  return [
    alone('bytes a counter-hour, one count a minute', three(bytesACounterHour.one)),
    alone('bytes a counter-hour, about ten counts a minute', three(bytesACounterHour.busy)),
    alone(
      `counter-hours committed a second (${counters.toLocaleString('en')} counters, ${hours} h)`,
      rate(commits.one.rowsASecond),
    ),
    alone('counter-hours rolled up a second', rate((counters * 24) / rollUp.seconds)),
    alone(
      'bytes that a day of minutes frees, of those that it took',
      `${Math.round((-100 * rows.bytes) / (bytesACounterHour.one * counters * 24))}%`,
    ),
    spread(`commit of ${rowsACommit.toLocaleString('en')} counter-hours`, commits.one.commitMilliseconds),
    spread(
      `step of a roll-up, ${Math.round((counters * 24) / rollUp.steps).toLocaleString('en')} counter-hours`,
      rollUp.stepMilliseconds,
    ),
    ...Object.entries(series).map(([zone, times]) => spread(`30 days by the hour, ${zone}`, times)),
  ];
}

export const SERVED_HEAD = [
  'round',
  'before: p50',
  'p99',
  'before, again: p50',
  'p99',
  'p99, times',
  'while rolling up: p50',
  'p99',
  'p99, times',
  'counter-hours a second',
];

const SECONDS_OF_A_DAY = 86_400;

/** What a client feels, in words. */
export function servedText({ counters, days, rate: perSecond, p99Ratio, noise, rowsASecond, series: { p50, p99 } }) {
  const needed = (counters * 24) / SECONDS_OF_A_DAY;
  return [
    `A server with ${counters.toLocaleString('en')} counters that have a day of minutes to be rolled up, and ${perSecond.toLocaleString('en')} durable increments a second.`,
    `Their p99 while it does is ${ratio(p99Ratio)} times that before, the median of the rounds; measured before a second time it was ${ratio(noise)} times that of the first, which is the noise.`,
    `Meanwhile ${ratio(rowsASecond)} counter-hours a second are rolled up; so many counters that are active in each hour need ${three(needed)}.`,
    `A series of 30 days by the hour, ${days} of them by minutes, takes a client ${milliseconds(p50)} (p50; p99 ${milliseconds(p99)}).`,
  ].join(' ');
}

export function servedRows({ rounds }) {
  return rounds.map(({ quiet, rolling, rowsASecond }, index) => [
    index + 1,
    ...quiet.flatMap(({ p50, p99 }) => [milliseconds(p50), milliseconds(p99)]),
    three(quiet[1].p99 / quiet[0].p99),
    milliseconds(rolling.p50),
    milliseconds(rolling.p99),
    three(rolling.p99 / quiet[1].p99),
    rate(rowsASecond),
  ]);
}
