import { rate, ratio, three } from './table.mjs';

/** How a row of http.json is shown. */

export const HTTP_HEAD = [
  '',
  'ours/s',
  'Fastify/s',
  'ratio',
  'target',
  'CPU us, ours',
  'CPU us, Fastify',
  'p99 ms, ours',
];

export function httpRow({ name, target, p99Milliseconds, ...row }) {
  const { ours, fastify, ratio: found, oursMicroseconds, fastifyMicroseconds } = row;
  const wanted = target === undefined ? '' : `>= ${target}`;
  const costs = [oursMicroseconds, fastifyMicroseconds].map(three);
  return [name, rate(ours), rate(fastify), ratio(found), wanted, ...costs, p99Milliseconds];
}
