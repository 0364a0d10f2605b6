import { z } from 'zod';
import type { StatsAnswer } from '../client/index.js';
import type { Admission } from './admission.js';
import { DURATION_BUCKETS, type Durations, type Figures } from './figures.js';
import { type Family, OPENMETRICS_TYPE, openMetrics, type Sample } from './openmetrics.js';
import { type Route, route } from './route.js';

/** /metrics: what STATS tells of the lanes, and what HTTP counts of itself. No label is a text of a client's: names would make a series each. */

type Tree = { readonly [key: string]: unknown };

/** A figure in the stats of a lane, or of a partition: where it is, and by how much it is multiplied. */
interface Row extends Family {
  readonly of: 'lane' | 'partition';
  readonly path: string;
  readonly times?: number;
}

const row = (
  name: string,
  type: 'counter' | 'gauge' | 'summary',
  of: Row['of'],
  path: string,
  help: string,
  times?: number,
): Row => ({ name: `tallystick_${name}`, type, of, path, help, ...(times !== undefined && { times }) });

const MICROSECONDS = 1e-6;
const MILLISECONDS = 1e-3;

/** One row for each figure of the lanes. Of a summary the path is that of its percentiles. */
const ROWS: readonly Row[] = [
  row('operations', 'counter', 'partition', 'applied', 'Operations that were applied since the server started.'),
  row('operations_refused', 'counter', 'partition', 'refused', 'Operations that were refused by their counter.'),
  row('batches_repeated', 'counter', 'lane', 'repeated', 'Batches that came again, and got their first answer.'),
  row('requests', 'counter', 'lane', 'requests', 'Frames of clients, also those that were refused.'),
  row('requests_refused', 'counter', 'lane', 'refused', 'Requests that were answered with an error.'),
  row('received_bytes', 'counter', 'lane', 'bytesIn', 'What came from clients.'),
  row('sent_bytes', 'counter', 'lane', 'bytesOut', 'What went to clients.'),
  row('connections', 'gauge', 'lane', 'connections', 'Connections of clients; that of HTTP is one of them.'),
  row('log_groups', 'counter', 'lane', 'log.groups', 'Groups that were flushed, each with one flush.'),
  row('log_entries', 'counter', 'lane', 'log.entries', 'Batches in these groups.'),
  row('log_appended_bytes', 'counter', 'lane', 'log.bytes', 'Bytes in these groups.'),
  row('log_segments', 'gauge', 'lane', 'log.segments', 'Files of the log.'),
  row('log_segment_bytes', 'gauge', 'lane', 'log.fileBytes', 'Size of the file that is appended to.'),
  row('log_tail_bytes', 'gauge', 'lane', 'checkpoints.tailBytes', 'Log that a start would have to replay.'),
  row('log_tail_limit_bytes', 'gauge', 'lane', 'checkpoints.tailLimit', 'Beyond so much of it writes wait.'),
  row('flush_seconds', 'summary', 'lane', 'commitMicroseconds', 'How long flushes of groups took.', MICROSECONDS),
  row('group_bytes', 'summary', 'lane', 'groupBytes', 'How large groups were.'),
  row('unflushed_entries', 'gauge', 'partition', 'unflushed', 'Batches that are applied and wait for their flush.'),
  row('forwarded_requests', 'counter', 'lane', 'mesh.forwarded', 'Requests that another lane owned.'),
  row('checkpoints', 'counter', 'lane', 'checkpoints.made', 'Checkpoints that were made.'),
  row('checkpoint_pages', 'counter', 'lane', 'checkpoints.pagesWritten', 'Pages that were written for them.'),
  row('checkpoint_file_bytes', 'gauge', 'lane', 'checkpoints.fileBytes', 'Size of the file of checkpoints.'),
  row('checkpoint_bytes', 'gauge', 'partition', 'checkpointBytes', 'Size of the last checkpoint.'),
  row(
    'checkpoint_age_seconds',
    'gauge',
    'partition',
    'checkpointSeconds',
    'Since the last checkpoint, if there is one.',
  ),
  row('history_pending_items', 'gauge', 'lane', 'history.pendingItems', 'Rows of history that wait to be written.'),
  row('history_file_bytes', 'gauge', 'lane', 'history.fileBytes', 'Size of the file of history.'),
  row('counters', 'gauge', 'partition', 'counters', 'Counters.'),
  row('producers', 'gauge', 'partition', 'producers', 'Producers that are remembered.'),
  row('operation_ids', 'gauge', 'partition', 'operationIds', 'Operation ids that are remembered.'),
  row('memory_bytes', 'gauge', 'partition', 'memoryBytes', 'Memory of the counters and all that belongs to them.'),
  row('window_memory_bytes', 'gauge', 'partition', 'windowBytes', 'The part of it that windows take.'),
  row(
    'recovery_checkpoint_seconds',
    'gauge',
    'lane',
    'recovery.checkpointMilliseconds',
    'To load at start.',
    MILLISECONDS,
  ),
  row('recovery_log_seconds', 'gauge', 'lane', 'recovery.logMilliseconds', 'To replay the log at start.', MILLISECONDS),
  row('recovery_log_bytes', 'gauge', 'lane', 'recovery.bytes', 'Log that was replayed at start.'),
];

const family = (name: string, type: Family['type'], help: string): Family => ({
  name: `tallystick_${name}`,
  type,
  help,
});

const HTTP = {
  answers: family('http_answers', 'counter', 'Answers of HTTP by route and status.'),
  problems: family('http_problems', 'counter', 'Answers of HTTP that are problems, by code.'),
  durations: family('http_request_seconds', 'histogram', 'From a request that is there to its answer.'),
  inHand: family('http_requests_in_hand', 'gauge', 'Requests that are being answered.'),
  bodies: family('http_body_bytes', 'gauge', 'Bodies that came in part or are being answered.'),
  connections: family('http_connections', 'gauge', 'Connections of HTTP.'),
};
const PROCESS = {
  resident: family('process_resident_bytes', 'gauge', 'Memory of the process that is in the machine.'),
  processor: family('process_processor_seconds', 'counter', 'Time of processors that the process has used.'),
};

export interface ProcessFigures {
  readonly residentBytes: number;
  readonly processorSeconds: number;
}

/** All of it, as text. */
export function metricsOf(
  lanes: readonly StatsAnswer[],
  figures: Figures,
  admission: Pick<Admission, 'requests' | 'bodyBytes'>,
  own: ProcessFigures,
): string {
  return openMetrics([
    ...ROWS.map((each) => [each, samplesOf(each, lanes)] as const),
    [HTTP.answers, answersOf(figures)],
    [HTTP.problems, [...figures.problems].map(([code, count]) => counted({ code }, count))],
    [HTTP.durations, [...buckets('read', figures.durations.read), ...buckets('write', figures.durations.write)]],
    [HTTP.inHand, [now(admission.requests)]],
    [HTTP.bodies, [now(admission.bodyBytes)]],
    [HTTP.connections, [now(figures.connections)]],
    [PROCESS.resident, [now(own.residentBytes)]],
    [PROCESS.processor, [counted({}, own.processorSeconds)]],
  ]);
}

const now = (value: number): Sample => ({ suffix: '', labels: {}, value });
const counted = (labels: Sample['labels'], value: number): Sample => ({ suffix: '_total', labels, value });

const answersOf = ({ answers }: Figures): Sample[] =>
  [...answers].flatMap(([route, statuses]) =>
    [...statuses].map(([status, count]) => counted({ route, status }, count)),
  );

function samplesOf(each: Row, lanes: readonly StatsAnswer[]): Sample[] {
  return lanes.flatMap((stats) => {
    const { lane, partitions } = stats;
    if (each.of === 'lane') return figuresOf(each, stats, { lane });
    return partitions.flatMap((partition) => {
      const unflushed = partition.sequence - partition.flushed;
      return figuresOf(each, { ...partition, unflushed }, { lane, partition: partition.partition });
    });
  });
}

/** None where the stats do not tell: another version's, or nothing yet. */
function figuresOf({ type, path, times = 1 }: Row, stats: Tree, labels: Sample['labels']): Sample[] {
  const found = path.split('.').reduce<unknown>((tree, key) => (tree as Tree | undefined)?.[key], stats);
  if (type === 'summary') return quantiles(found as Tree | undefined, times, labels);
  if (typeof found !== 'number' && typeof found !== 'bigint') return [];
  return [{ suffix: type === 'counter' ? '_total' : '', labels, value: times === 1 ? found : Number(found) * times }];
}

const QUANTILES = { p50: '0.5', p99: '0.99', p999: '0.999', max: '1' } as const;

function quantiles(found: Tree | undefined, times: number, labels: Sample['labels']): Sample[] {
  return Object.entries(QUANTILES).flatMap(([key, quantile]) => {
    const value = found?.[key];
    return typeof value === 'number' ? [{ suffix: '', labels: { ...labels, quantile }, value: value * times }] : [];
  });
}

function buckets(load: string, { counts, seconds }: Durations): Sample[] {
  let sum = 0;
  const samples = counts.map((count, i): Sample => {
    sum += count;
    return { suffix: '_bucket', labels: { load, le: String(DURATION_BUCKETS[i] ?? '+Inf') }, value: sum };
  });
  const total: Sample[] = [
    { suffix: '_count', labels: { load }, value: sum },
    { suffix: '_sum', labels: { load }, value: seconds },
  ];
  return [...samples, ...total];
}

/** Of the process, whichever thread asks. */
function ownFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), processorSeconds: (user + system) * MICROSECONDS };
}

export const metricsRoute: Route = route({
  method: 'GET',
  path: '/metrics',
  id: 'getMetrics',
  summary: 'Figures for Prometheus, as OpenMetrics.',
  load: 'probe',
  type: OPENMETRICS_TYPE,
  query: {},
  answer: z.string(),
  handle: async ({ client, figures, admission }) => metricsOf(await client.stats(), figures, admission, ownFigures()),
});
