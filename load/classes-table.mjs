import { rate, ratio } from './table.mjs';

/** How a row of classes.json is shown. */

export const CLASSES_HEAD = [
  'all names are of',
  'a second',
  'times no classes',
  "ns of the server's cores",
  'times no classes',
];

export function classesRow({ case: name, perSecond, throughput, nanoseconds, cost }) {
  return [name, rate(perSecond), ratio(throughput), Math.round(nanoseconds), ratio(cost)];
}
