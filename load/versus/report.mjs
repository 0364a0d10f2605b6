import { milliseconds, rate, ratio, textTable, three } from '../table.mjs';
import { dollarsPerBillion } from './cost.mjs';

/** The comparison as tables; `table(head, rows)` makes them text or Markdown. */

export function printVersus(report, table = textTable) {
  const parts = [];
  if (report.batches) parts.push(...batchParts(report.batches, table));
  if (report.callers) parts.push(...callerParts(report.callers, table));
  if (report.sizes) parts.push(sizePart(report.sizes, table));
  return parts.map(({ title, text }) => `\n${title}\n\n${text}`).join('\n');
}

export function batchParts({ connections, depth, nameBytes, names, contestants, ratios }, table) {
  const tried = Object.entries(depth.tried).map(([at, perSecond]) => `${at}: ${rate(perSecond)}`);
  const against = ratios.filter(({ theirs }) => theirs.startsWith('redis always'));
  return [
    {
      title: `(a) Batches: ${names.toLocaleString('en')} random names of ${nameBytes} bytes, ${connections} connections, ${(connections * depth.best).toLocaleString('en')} increments in flight. Redis always by pipelined depth: ${tried.join(', ')}. (f) What it costs the server`,
      text: table(
        ['', 'increments/s', 'CPU s a million', 'bytes written an increment', '$ a billion'],
        contestants.map(({ name, perSecond, cpuSecondsPerMillion, bytesPerMillion }) => [
          name,
          rate(perSecond.median),
          three(cpuSecondsPerMillion.median),
          three(bytesPerMillion.median / 1e6),
          dollarsPerBillion({
            cpuSecondsPerMillion: cpuSecondsPerMillion.median,
            bytesPerMillion: bytesPerMillion.median,
          }).toFixed(3),
        ]),
      ),
    },
    {
      title: 'Ratios to Redis with appendfsync always, medians with their spread',
      text: table(
        ['', 'against', 'ratio'],
        against.map(({ ours, theirs, ratio: one }) => [ours, theirs, ratio(one)]),
      ),
    },
  ];
}

export function callerParts({ callers, rates }, table) {
  const of = (rows, title, shown) => ({
    title,
    text: table(
      [shown, '', 'increments/s', 'p50', 'p99', 'p99.9'],
      rows.flatMap(({ setting, contestants }) =>
        contestants.map(({ name, perSecond, p50, p99, p999 }) => [
          setting,
          name,
          rate(perSecond.median),
          ...[p50, p99, p999].map(({ median }) => milliseconds(median)),
        ]),
      ),
    ),
  });
  const ratios = (rows, title, shown) => ({
    title,
    text: table(
      [shown, '', 'against', 'throughput', 'p50', 'p99'],
      rows.flatMap(({ setting, ratios: pairs }) =>
        pairs.map(({ ours, theirs, throughput, p50, p99 }) => [
          setting,
          ours,
          theirs,
          ratio(throughput),
          ratio(p50),
          ratio(p99),
        ]),
      ),
    ),
  });
  return [
    of(callers, '(b) An application: callers that each await one increment after the other', 'callers'),
    ratios(callers, 'Ratios; of latencies less is better', 'callers'),
    of(rates, '(c) Open loop: increments that are due at a fixed rate', 'rate'),
    ratios(rates, 'Ratios; of latencies less is better', 'rate'),
  ];
}

export function sizePart(rows, table) {
  return {
    title: `(d) Memory a counter, names of ${rows[0].nameBytes} bytes, and (e) seconds from the start after kill -9 to the first answer`,
    text: table(
      ['counters', 'tallystick B', 'redis B', 'ratio', 'tallystick s', 'redis s', 'ratio'],
      rows.map(({ counters, tallystick, redis, memoryRatio, restartRatio }) => [
        counters.toLocaleString('en'),
        three(tallystick.bytesPerCounter),
        three(redis.bytesPerCounter),
        three(memoryRatio),
        three(tallystick.restartSeconds.median),
        three(redis.restartSeconds.median),
        three(restartRatio),
      ]),
    ),
  };
}
