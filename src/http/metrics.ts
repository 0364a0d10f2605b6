import { z } from 'zod';
import type { Reading, StatsAnswer } from '../client/index.js';
import type { ErrorCode } from '../errors.js';
import type { Admission } from './admission.js';
import { DURATION_BUCKETS, type Durations, type Figures } from './figures.js';
import { type Family, OPENMETRICS_TYPE, openMetrics, type Sample } from './openmetrics.js';
import { type Route, route } from './route.js';

/**
 * /metrics: what STATS tells of the lanes, and what HTTP counts of itself. No label is a text of a client's: names would make a series each. Those of
 * `metricsNames` are, which the operator chose.
 */

type Tree = { readonly [key: string]: unknown };

/** A figure in the stats of a lane, or of a partition. */
interface Row extends Family {
  readonly of: 'lane' | 'partition';
  /** Where it is; of a histogram its distribution. */
  readonly path: string;
  /** The label whose values are the keys of what is there, where that is a map of figures. */
  readonly by?: string;
  /** Keys that are told as 0 where nothing is there: what appears with its first value has not grown, for an alert. */
  readonly keys?: readonly string[];
  /** How many of what is told there make one of what is told here. */
  readonly per?: number;
}

const row = (
  name: string,
  type: Family['type'],
  of: Row['of'],
  path: string,
  help: string,
  more: Pick<Row, 'by' | 'keys' | 'per'> = {},
): Row => ({ name: `tallystick_${name}`, type, of, path, help, ...more });

/** What an operator should hear of. */
const CODES: readonly ErrorCode[] = [
  'INTERNAL',
  'OVERLOADED',
  'QUOTA_EXCEEDED',
  'STORAGE_FAILED',
  'STORAGE_FULL',
  'TOO_SLOW',
];
const COUNTER_CODES: readonly ErrorCode[] = ['ITEMS_FULL', 'MEMORY_FULL', 'OPERATIONS_FULL', 'OVERFLOW'];

const MICROSECONDS = { per: 1e6 };
const MILLISECONDS = { per: 1e3 };

/** One row for each figure of the lanes. */
const ROWS: readonly Row[] = [
  row('operations', 'counter', 'partition', 'applied', 'Operations that were applied since the directory was made.'),
  row(
    'operations_refused',
    'counter',
    'lane',
    'operationsRefused',
    'Operations that were refused within requests that were applied, by code.',
    { by: 'code', keys: COUNTER_CODES },
  ),
  row('acks', 'counter', 'lane', 'acks', 'Writes that were acknowledged, by kind of acknowledgement.', { by: 'kind' }),
  row(
    'ack_seconds',
    'histogram',
    'lane',
    'ackMicroseconds',
    'From a write that is there to its acknowledgement, of one in 16.',
    {
      by: 'kind',
      ...MICROSECONDS,
    },
  ),
  row('batches_repeated', 'counter', 'lane', 'repeated', 'Batches that came again, and got their first answer.'),
  row('requests', 'counter', 'lane', 'requests', 'Frames of clients, also those that were refused.'),
  row('requests_refused', 'counter', 'lane', 'refusals', 'Requests that were answered with an error, by code.', {
    by: 'code',
    keys: CODES,
  }),
  row('requests_in_flight', 'gauge', 'lane', 'queues.requestsInFlight', 'Requests of clients that wait for an answer.'),
  row('connections_held', 'gauge', 'lane', 'queues.held', 'Connections that are not read from until there is room.'),
  row('flush_waiters', 'gauge', 'lane', 'queues.waiters', 'Answers that wait for a flush.'),
  row('waiting_reads', 'gauge', 'lane', 'waitingReads.count', 'Reads that wait for a flush or a position.'),
  row('waiting_read_bytes', 'gauge', 'lane', 'waitingReads.bytes', 'What is kept for them.'),
  row('open_group_bytes', 'gauge', 'lane', 'queues.openBytes', 'Records of the group that collects.'),
  row('received_bytes', 'counter', 'lane', 'bytesIn', 'What came from clients.'),
  row('sent_bytes', 'counter', 'lane', 'bytesOut', 'What went to clients.'),
  row('connections', 'gauge', 'lane', 'connections', 'Connections of clients; that of HTTP is one of them.'),
  row('log_groups', 'counter', 'lane', 'log.groups', 'Groups that were flushed, each with one flush.'),
  row('log_delayed_groups', 'counter', 'lane', 'log.delayed', 'Groups held for those who had just been answered.'),
  row(
    'log_own_groups',
    'counter',
    'lane',
    'log.within',
    "Groups that the lane's own thread flushed, and no other one.",
  ),
  row('log_entries', 'counter', 'lane', 'log.entries', 'Batches in these groups.'),
  row('log_appended_bytes', 'counter', 'lane', 'log.bytes', 'Bytes in these groups.'),
  row('log_segments', 'gauge', 'lane', 'log.segments', 'Files of the log.'),
  row('log_file_bytes', 'gauge', 'lane', 'log.fileBytes', 'Size of these files.'),
  row('log_age_seconds', 'gauge', 'lane', 'log.ageSeconds', 'Since the oldest of these files was made.'),
  row('log_tail_bytes', 'gauge', 'lane', 'checkpoints.tailBytes', 'Log that a start would have to replay.'),
  row('log_tail_limit_bytes', 'gauge', 'lane', 'checkpoints.tailLimit', 'Beyond so much of it writes wait.'),
  row('flush_seconds', 'histogram', 'lane', 'commitMicroseconds', 'How long flushes of groups took.', MICROSECONDS),
  row('group_bytes', 'histogram', 'lane', 'groupBytes', 'How large groups were.'),
  row('unflushed_entries', 'gauge', 'partition', 'unflushed', 'Batches that are applied and wait for their flush.'),
  row('forwarded_requests', 'counter', 'lane', 'mesh.forwarded', 'Requests that another lane owned.'),
  row('forwarded_request_bytes', 'gauge', 'lane', 'mesh.requestBytes', 'Such requests on their way.'),
  row('forwarded_answer_bytes', 'gauge', 'lane', 'mesh.answerBytes', 'Answers on their way to other lanes.'),
  row('feeds', 'gauge', 'lane', 'feeds.feeds', 'Feeds of followers that are open.'),
  row('feed_pending_changes', 'gauge', 'lane', 'feeds.pending', 'Counters that followers are still to be told of.'),
  row('feed_frames', 'counter', 'lane', 'feeds.frames', 'Frames that told followers of changes.'),
  row('feeds_cut_off', 'counter', 'lane', 'feeds.cutOff', 'Feeds that ended as their readers were too slow.'),
  row('feeds_found_in_log', 'counter', 'lane', 'hindsight.found', 'Feeds that went on from what the log alone knew.'),
  row('feeds_begun_anew', 'counter', 'lane', 'hindsight.missed', 'Feeds that could not go on, as that was not found.'),
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
  row(
    'large_counters',
    'gauge',
    'partition',
    'largeValues',
    'Counters at 2^60 and beyond, either way, when last looked at.',
  ),
  row('producers', 'gauge', 'partition', 'producers', 'Producers that are remembered.'),
  row('operation_ids', 'gauge', 'partition', 'operationIds', 'Operation ids that are remembered.'),
  row('memory_bytes', 'gauge', 'partition', 'memoryBytes', 'Memory of the counters and all that belongs to them.'),
  row('window_memory_bytes', 'gauge', 'partition', 'windowBytes', 'The part of it that windows take.'),
  row('memory_part_bytes', 'gauge', 'lane', 'memory', 'Memory of a lane by what it is for.', { by: 'part' }),
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
  streams: family('http_streams', 'gauge', 'Streams of server-sent events.'),
};
const VALUES = family(
  'counter_value',
  'gauge',
  'Values of the counters of metricsNames, applied and perhaps not flushed.',
);
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
  exported: readonly Reading<bigint>[],
  figures: Figures,
  admission: Pick<Admission, 'requests' | 'bodyBytes'>,
  own: ProcessFigures,
): string {
  return openMetrics([
    ...ROWS.map((each) => [each, samplesOf(each, lanes)] as const),
    [
      VALUES,
      exported.filter(({ exists }) => exists).map(({ name, value }) => ({ suffix: '', labels: { name }, value })),
    ],
    [HTTP.answers, answersOf(figures)],
    [HTTP.problems, [...figures.problems].map(([code, count]) => counted({ code }, count))],
    [HTTP.durations, [...buckets('read', figures.durations.read), ...buckets('write', figures.durations.write)]],
    [HTTP.inHand, [now(admission.requests)]],
    [HTTP.bodies, [now(admission.bodyBytes)]],
    [HTTP.connections, [now(figures.connections)]],
    [HTTP.streams, [now(figures.streams)]],
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
function figuresOf({ type, path, by, keys = [], per = 1 }: Row, stats: Tree, labels: Sample['labels']): Sample[] {
  const found = path.split('.').reduce<unknown>((tree, key) => (tree as Tree | undefined)?.[key], stats);
  if (by === undefined) return figure(type, per, found, labels);
  if (!found) return [];
  const all: Tree = { ...Object.fromEntries(keys.map((key) => [key, 0])), ...found };
  return Object.entries(all).flatMap(([key, each]) => figure(type, per, each, { ...labels, [by]: key }));
}

function figure(type: Family['type'], per: number, found: unknown, labels: Sample['labels']): Sample[] {
  if (type === 'histogram') return distributed(per, found as Tree | undefined, labels);
  if (typeof found !== 'number' && typeof found !== 'bigint') return [];
  return [{ suffix: type === 'counter' ? '_total' : '', labels, value: per === 1 ? found : Number(found) / per }];
}

/** A distribution of the lanes (log/histogram.ts), whose buckets count all up to their ends. */
function distributed(per: number, found: Tree | undefined, labels: Sample['labels']): Sample[] {
  if (!found) return [];
  const { count, sum, upTo } = found as { count: number; sum: number; upTo: Readonly<Record<string, number>> };
  const ends = Object.entries(upTo).map(([bound, value]) => [String(Number(bound) / per), value] as const);
  return histogramSamples([...ends, ['+Inf', count]], sum / per, labels);
}

function buckets(load: string, { counts, seconds }: Durations): Sample[] {
  let sum = 0;
  const ends = counts.map((count, i) => {
    sum += count;
    return [String(DURATION_BUCKETS[i] ?? '+Inf'), sum] as const;
  });
  return histogramSamples(ends, seconds, { load });
}

/** Of buckets up to +Inf, each of which counts those before it too. */
function histogramSamples(
  ends: readonly (readonly [end: string, count: number])[],
  sum: number,
  labels: Sample['labels'],
): Sample[] {
  const [, count] = ends.at(-1) as readonly [string, number];
  return [
    ...ends.map(([le, value]): Sample => ({ suffix: '_bucket', labels: { ...labels, le }, value })),
    { suffix: '_count', labels, value: count },
    { suffix: '_sum', labels, value: sum },
  ];
}

/** Of the process, whichever thread asks. */
function ownFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), processorSeconds: (user + system) / MICROSECONDS.per };
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
  handle: async ({ client, figures, admission }) => {
    const { exported } = figures;
    // `latest`: on a full disk figures are wanted most, and what is not flushed stays so
    const read = exported.length > 0 ? client.read(exported, { read: 'latest' }) : [];
    const [lanes, readings] = await Promise.all([client.stats(), read]);
    return metricsOf(lanes, readings, figures, admission, ownFigures());
  },
});
