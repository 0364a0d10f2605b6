/**
 * The bodies of HELLO and STATS: one MessagePack map each. Keys that are unknown are ignored; a known key of another
 * type or size is BAD_REQUEST.
 */

import { TallystickError } from '../errors.js';
import { type ByteWriter, utf8Length } from './bytes.js';
import { type Packable, type PackedMap, type PackedValue, readMap, writeMap } from './message-pack.js';
import { DEFAULT_LIMITS, LANE } from './opcode.js';

export const PROTOCOL_VERSION = 1;

/** Bytes of a producer's id. */
export const PRODUCER_ID_BYTES = 16;

const CLIENT_BYTES = 128;
const TOKEN_BYTES = 512;
const PRODUCER_NAME_BYTES = 256;
const HOST_BYTES = 255;
const PATTERN_BYTES = 64;
/** The most that a HELLO may have for each partition that it resumes in: an array of two numbers. */
const RESUME_BYTES = 16;
/** Values in a request and in an answer, keys not counted; an answer has a few for each partition. */
const REQUEST_VALUES = 1024;
const ANSWER_VALUES = 1_000_000;

/** A producer by a random id of 16 bytes, or by a name of 1 to 256 bytes that never expires. */
export type ProducerRef = { readonly id: Uint8Array } | { readonly name: string };

export interface HelloRequest {
  readonly version: number;
  /** Name and version of the client, at most 128 bytes. */
  readonly client: string;
  readonly token?: string;
  readonly producer?: ProducerRef;
  /** False: the connection reaches all partitions by this lane. Unless given, only the lane's own. */
  readonly direct?: boolean;
  /** Go on under these incarnations instead of opening new ones. */
  readonly resume?: readonly { readonly partition: number; readonly incarnation: number }[];
}

/** Bytes, counts: the limits of the table in opcode.ts that a client must keep. */
export interface HelloLimits {
  readonly frame: number;
  readonly name: number;
  readonly batch: number;
  readonly inFlight: number;
  readonly window: number;
  readonly cursor: number;
  readonly reason: number;
}

/** Where a producer stands in one partition. */
export interface ProducerPartition {
  readonly partition: number;
  readonly incarnation: number;
  /** The next sequence. */
  readonly next: number;
  readonly cursor?: Uint8Array;
}

/** How clients treat counters of a class. */
export const ACCURACIES = ['relaxed', 'exact', 'strict'] as const;
export type Accuracy = (typeof ACCURACIES)[number];

/** The accuracy of the names that match a pattern. */
export interface AccuracyRule {
  readonly pattern: string;
  readonly accuracy: Accuracy;
}

/** Whether a class keeps what increased its counters and what decreased them, by its pattern. */
export interface GrossRule {
  readonly pattern: string;
  readonly gross: boolean;
}

export interface HelloAnswer {
  readonly version: number;
  /** Name and version of the server. */
  readonly server: string;
  /** The life of the data directory in which ids and positions are valid: u32. */
  readonly epoch: number;
  /** The lane that answers. */
  readonly lane: number;
  readonly lanes: readonly { readonly host: string; readonly port: number }[];
  /** For each partition the index of its lane. */
  readonly partitions: readonly number[];
  readonly limits: HelloLimits;
  /** The first rule that matches a name counts; one that none matches is exact. Absent where all are. */
  readonly accuracy?: readonly AccuracyRule[];
  /** The same: of a name whose class keeps gross sums a client sums no increase and decrease. Absent where none does. */
  readonly gross?: readonly GrossRule[];
  /** Present where the request named a producer; the partitions are all that the connection reaches. */
  readonly producer?: { readonly id: Uint8Array; readonly partitions: readonly ProducerPartition[] };
}

/** What the length of a frame may count before HELLO is answered, of a server with so many partitions. */
export function preHelloFrameBytes(partitions: number): number {
  return DEFAULT_LIMITS.preHelloFrame + RESUME_BYTES * partitions;
}

/** A value of STATS; whole numbers beyond 2^53-1 are bigints. */
export type StatsValue = null | boolean | number | bigint | string | readonly StatsValue[] | StatsMap;
export interface StatsMap {
  readonly [key: string]: StatsValue;
}

export interface PartitionStats extends StatsMap {
  readonly partition: number;
  /** The sequence numbers of the last change, and of the last one that is flushed. */
  readonly sequence: number;
  readonly flushed: number;
  readonly counters: number;
  readonly memoryBytes: number;
}

/** What a lane tells about itself. Other keys than these may come and go. */
export interface StatsAnswer extends StatsMap {
  readonly lane: number;
  readonly partitions: readonly PartitionStats[];
}

export function encodeHelloRequest(writer: ByteWriter, request: HelloRequest): void {
  const { version, client, token, producer, direct, resume } = request;
  writeMap(writer, {
    version,
    client,
    token,
    producer: producer && { ...producer },
    direct,
    resume: resume?.map(({ partition, incarnation }) => [partition, incarnation]),
  });
}

/** Throws VERSION_MISMATCH before it looks at anything but the version. */
export function decodeHelloRequest(body: Uint8Array): HelloRequest {
  // the limit of the frame bounds it, and grows with the partitions that `resume` may name
  const map = readMap(body, body.length);
  const version = integer(map.get('version'), 'version');
  if (version !== PROTOCOL_VERSION) {
    throw new TallystickError('VERSION_MISMATCH', `Version ${version} was asked for, not ${PROTOCOL_VERSION}.`);
  }
  return {
    version,
    client: text(map.get('client'), 'client', 0, CLIENT_BYTES),
    ...(map.has('token') && { token: text(map.get('token'), 'token', 0, TOKEN_BYTES) }),
    ...(map.has('producer') && { producer: producerRef(map.get('producer')) }),
    ...(map.has('direct') && { direct: flag(map.get('direct'), 'direct') }),
    ...(map.has('resume') && {
      resume: array(map.get('resume'), 'resume').map((item) => {
        const [partition, incarnation] = array(item, 'resume');
        return {
          partition: integer(partition, 'resume', 0, LANE - 1),
          incarnation: integer(incarnation, 'resume'),
        };
      }),
    }),
  };
}

export function encodeHelloAnswer(writer: ByteWriter, answer: HelloAnswer): void {
  const { version, server, epoch, lane, lanes, partitions, limits, accuracy, gross, producer } = answer;
  writeMap(writer, {
    version,
    server,
    epoch,
    lane,
    lanes: lanes.map(({ host, port }) => ({ host, port })),
    partitions,
    limits: { ...limits },
    accuracy: accuracy?.map((rule) => [rule.pattern, rule.accuracy]),
    gross: gross?.map((rule) => [rule.pattern, rule.gross]),
    producer: producer && {
      id: producer.id,
      partitions: producer.partitions.map(({ partition, incarnation, next, cursor }) => [
        partition,
        incarnation,
        next,
        cursor ?? null,
      ]),
    },
  });
}

function accuracyRule(item: PackedValue): AccuracyRule {
  const [pattern, wanted] = array(item, 'accuracy');
  const accuracy = ACCURACIES.find((each) => each === wanted);
  if (!accuracy) throw new TallystickError('BAD_REQUEST', 'A rule of `accuracy` has an unknown one.');
  return { pattern: text(pattern, 'accuracy', 1, PATTERN_BYTES), accuracy };
}

function grossRule(item: PackedValue): GrossRule {
  const [pattern, gross] = array(item, 'gross');
  return { pattern: text(pattern, 'gross', 1, PATTERN_BYTES), gross: flag(gross, 'gross') };
}

export function decodeHelloAnswer(body: Uint8Array): HelloAnswer {
  const map = readMap(body, ANSWER_VALUES);
  const lanes = array(map.get('lanes'), 'lanes').map((item) => {
    const lane = mapOf(item, 'lanes');
    return {
      host: text(lane.get('host'), 'host', 0, HOST_BYTES),
      port: integer(lane.get('port'), 'port', 1, 65_535),
    };
  });
  const laneIndex = (value: PackedValue | undefined, key: string) => integer(value, key, 0, lanes.length - 1);
  return {
    version: integer(map.get('version'), 'version'),
    server: text(map.get('server'), 'server', 0, CLIENT_BYTES),
    epoch: integer(map.get('epoch'), 'epoch', 0, 0xffffffff),
    lane: laneIndex(map.get('lane'), 'lane'),
    lanes,
    partitions: array(map.get('partitions'), 'partitions').map((item) => laneIndex(item, 'partitions')),
    limits: helloLimits(mapOf(map.get('limits'), 'limits')),
    ...(map.has('accuracy') && { accuracy: array(map.get('accuracy'), 'accuracy').map(accuracyRule) }),
    ...(map.has('gross') && { gross: array(map.get('gross'), 'gross').map(grossRule) }),
    ...(map.has('producer') && { producer: openedProducer(mapOf(map.get('producer'), 'producer')) }),
  };
}

/** Hot counters of a lane that are told at once. */
export const MOST_HOT = 100;

export interface StatsRequest {
  /** Also hash the memory of each partition, which takes its lane about 0.1 s a GiB. */
  readonly stateHash?: boolean;
  /** Also the counters of each lane that take the most operations, so many at most: 1 to 100. */
  readonly hot?: number;
}

export function encodeStatsRequest(writer: ByteWriter, { stateHash, hot }: StatsRequest = {}): void {
  writeMap(writer, { stateHash, hot });
}

export function decodeStatsRequest(body: Uint8Array): StatsRequest {
  const map = readMap(body, REQUEST_VALUES);
  const [stateHash, hot] = [map.get('stateHash'), map.get('hot')];
  return {
    ...(stateHash !== undefined && { stateHash: flag(stateHash, 'stateHash') }),
    ...(hot !== undefined && { hot: integer(hot, 'hot', 1, MOST_HOT) }),
  };
}

export function encodeStatsAnswer(writer: ByteWriter, answer: StatsAnswer): void {
  // a map of the stats holds nothing that could not be packed
  writeMap(writer, answer as { readonly [key: string]: Packable });
}

export function decodeStatsAnswer(body: Uint8Array): StatsAnswer {
  return laneStats(readMap(body, ANSWER_VALUES));
}

/** The answer to a connection that reaches all lanes. */
export function encodeAllStats(writer: ByteWriter, lanes: readonly StatsAnswer[]): void {
  writeMap(writer, { lanes: lanes as readonly Packable[] });
}

/** What each lane that the connection reaches tells, be it one or all. */
export function decodeAllStats(body: Uint8Array): StatsAnswer[] {
  const map = readMap(body, ANSWER_VALUES);
  const lanes = map.get('lanes');
  return lanes === undefined ? [laneStats(map)] : array(lanes, 'lanes').map((lane) => laneStats(mapOf(lane, 'lanes')));
}

function producerRef(value: PackedValue | undefined): ProducerRef {
  const map = mapOf(value, 'producer');
  if (map.has('id') === map.has('name')) throw wrong('producer', 'has an id or a name');
  if (map.has('id')) return { id: binary(map.get('id'), 'producer', PRODUCER_ID_BYTES) };
  return { name: text(map.get('name'), 'producer', 1, PRODUCER_NAME_BYTES) };
}

function openedProducer(map: PackedMap): NonNullable<HelloAnswer['producer']> {
  return {
    id: binary(map.get('id'), 'producer', PRODUCER_ID_BYTES),
    partitions: array(map.get('partitions'), 'producer').map((item) => {
      const [partition, incarnation, next, cursor] = array(item, 'producer');
      return {
        partition: integer(partition, 'producer', 0, LANE - 1),
        incarnation: integer(incarnation, 'producer'),
        next: integer(next, 'producer'),
        ...(cursor !== null && cursor !== undefined && { cursor: binary(cursor, 'cursor') }),
      };
    }),
  };
}

function helloLimits(map: PackedMap): HelloLimits {
  const limit = (key: keyof HelloLimits) => integer(map.get(key), key, 1);
  return {
    frame: limit('frame'),
    name: limit('name'),
    batch: limit('batch'),
    inFlight: limit('inFlight'),
    window: limit('window'),
    cursor: limit('cursor'),
    reason: limit('reason'),
  };
}

function laneStats(map: PackedMap): StatsAnswer {
  integer(map.get('lane'), 'lane', 0, LANE);
  for (const item of array(map.get('partitions'), 'partitions')) {
    const partition = mapOf(item, 'partitions');
    for (const key of ['partition', 'sequence', 'flushed', 'counters', 'memoryBytes']) integer(partition.get(key), key);
  }
  return statsValue(map) as StatsAnswer;
}

function statsValue(value: PackedValue): StatsValue {
  if (value instanceof Uint8Array) throw wrong('stats', 'have no binary values');
  if (Array.isArray(value)) return value.map(statsValue);
  if (!(value instanceof Map)) return value as StatsValue;
  // no prototype, so that no key of a stranger can be __proto__
  const object: { [key: string]: StatsValue } = Object.create(null);
  for (const [key, item] of value) object[key] = statsValue(item);
  return object;
}

function integer(value: PackedValue | undefined, key: string, min = 0, max: number = Number.MAX_SAFE_INTEGER): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw wrong(key, `is a whole number from ${min} to ${max}`);
}

function text(value: PackedValue | undefined, key: string, minBytes: number, maxBytes: number): string {
  if (typeof value === 'string') {
    const length = utf8Length(value);
    if (length >= minBytes && length <= maxBytes) return value;
  }
  throw wrong(key, `is a string of ${minBytes} to ${maxBytes} bytes`);
}

/** A copy, since the body is gone after its callback. */
function binary(value: PackedValue | undefined, key: string, bytes?: number): Uint8Array {
  if (
    value instanceof Uint8Array &&
    (bytes === undefined ? value.length <= DEFAULT_LIMITS.cursor : value.length === bytes)
  ) {
    return new Uint8Array(value);
  }
  throw wrong(key, `is ${bytes ?? `at most ${DEFAULT_LIMITS.cursor}`} bytes`);
}

function flag(value: PackedValue | undefined, key: string): boolean {
  if (typeof value === 'boolean') return value;
  throw wrong(key, 'is true or false');
}

function array(value: PackedValue | undefined, key: string): readonly PackedValue[] {
  if (Array.isArray(value)) return value as readonly PackedValue[];
  throw wrong(key, 'is an array');
}

function mapOf(value: PackedValue | undefined, key: string): PackedMap {
  if (value instanceof Map) return value as PackedMap;
  throw wrong(key, 'is a map');
}

function wrong(key: string, rule: string): TallystickError {
  return new TallystickError('BAD_REQUEST', `\`${key}\` ${rule}.`);
}
