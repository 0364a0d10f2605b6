import fc from 'fast-check';
import type { ByteWriter } from '../../src/protocol/bytes.js';
import * as expiry from '../../src/protocol/expiry.js';
import * as history from '../../src/protocol/history.js';
import * as once from '../../src/protocol/once.js';
import { Flag } from '../../src/protocol/opcode.js';
import * as request from '../../src/protocol/request.js';
import * as response from '../../src/protocol/response.js';
import type { UniqueItems } from '../../src/protocol/sketch.js';
import * as tail from '../../src/protocol/tail.js';
import * as uniques from '../../src/protocol/uniques.js';
import * as window from '../../src/protocol/window.js';

export const int64 = fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.bigInt(-100n, 100n));
export const count = fc.oneof(fc.nat(300), fc.maxSafeInteger().map(Math.abs));
export const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
export const key: fc.Arbitrary<request.Key> = fc.oneof(
  fc.record({ name }),
  fc.record({ slot: fc.nat(0xffffffff), generation: count }),
);
export const bytes = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength });
const optional = { requiredKeys: [] as [] };
const sequence = fc.record(
  { sequence: count, unanswered: count, cursor: bytes(1, 64) },
  { requiredKeys: ['sequence', 'unanswered'] },
);
const instant = fc.nat(request.MAX_TIME);
const expiryOfCounter: fc.Arbitrary<request.Expiry> = fc.oneof(
  fc.constant({ never: true as const }),
  fc.record({ at: instant, ifNone: fc.constant(true) }, { requiredKeys: ['at'] }),
  fc.record({ in: instant, ifNone: fc.constant(true) }, { requiredKeys: ['in'] }),
);
const operation = fc
  .tuple(
    fc.record({ key, delta: int64 }),
    fc.record(
      { min: int64, max: int64, operationId: bytes(16), time: fc.nat(request.MAX_TIME), expiry: expiryOfCounter },
      optional,
    ),
  )
  .map(([plain, extension]) => ({ ...plain, ...extension }));
const many = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 12 });
const status = fc.integer({ min: 1, max: 255 });
const progress = { position: count, flushed: count };

const resolution = fc.constantFrom(...history.BUCKET_RESOLUTIONS);
const int128 = fc.oneof(int64, fc.bigInt(-(2n ** 127n), 2n ** 127n - 1n));
const buckets = many(
  fc.record({ resolution, start: fc.nat(2 ** 30).map((minute) => minute * 60_000), sum: int128 }),
).map((unsorted) => unsorted.sort((a, b) => a.start - b.start));

const sighting: fc.Arbitrary<uniques.Sighting> = fc.record({ key, item: bytes(1, 40) });
/** Every other item has the very key of the one before. */
const withRepeatedKeys = (sightings: readonly uniques.Sighting[]): uniques.Sighting[] =>
  sightings.map(({ item, key }, i) => ({ item, key: i % 2 ? (sightings[i - 1] as uniques.Sighting).key : key }));
const counting: fc.Arbitrary<once.OnceOperation> = fc
  .tuple(sighting, fc.option(fc.record({ delta: int64, within: instant }), { nil: undefined }))
  .map(([plain, extension]) => ({ ...plain, ...extension }));
const withRepeatedCountings = (operations: readonly once.OnceOperation[]): once.OnceOperation[] =>
  operations.map((operation, i) => ({ ...operation, key: (operations[i - (i % 3)] as once.OnceOperation).key }));
const uniqueCount: fc.Arbitrary<uniques.UniqueCount> = fc.oneof(
  fc.record({ status: fc.constant(0), exact: fc.boolean(), count }),
  fc.record({ status, exact: fc.constant(true), count: fc.constant(0) }),
);
const hashes: fc.Arbitrary<UniqueItems> = fc.record({ hashes: many(fc.bigInt(0n, 2n ** 64n - 1n)) });
const sketch: fc.Arbitrary<NonNullable<uniques.UniquesAnswer['sketch']>> = fc.oneof(hashes, fc.record({ status }));

const following = {
  after: fc.record({ epoch: fc.nat(0xffffffff), sequence: count }),
  interval: fc.oneof(fc.constant(0), fc.integer({ min: tail.LEAST_INTERVAL, max: tail.MOST_INTERVAL })),
  credit: fc.integer({ min: 1, max: tail.MOST_CREDIT }),
};
const feed = fc.nat(0xffffffff);
const tailRequest: fc.Arbitrary<tail.TailRequest> = fc.oneof(
  fc.record({ kind: fc.constant('end' as const), feed }),
  fc.record({ kind: fc.constant('more' as const), feed, taken: count }),
  fc.record(
    {
      kind: fc.constant('names' as const),
      ...following,
      names: fc.uniqueArray(name, { minLength: 1, maxLength: 12 }),
    },
    { requiredKeys: ['kind', 'interval', 'credit', 'names'] },
  ),
  fc.record(
    { kind: fc.constant('prefix' as const), ...following, prefix: fc.oneof(fc.constant(''), name) },
    { requiredKeys: ['kind', 'interval', 'credit', 'prefix'] },
  ),
);
const toldOf = (name: fc.Arbitrary<string>): fc.Arbitrary<tail.Told> =>
  fc.oneof(
    fc.record({ kind: fc.constant('absent' as const), name }),
    fc.record({ kind: fc.constant('value' as const), name, value: int64 }),
    fc.record({ kind: fc.constant('change' as const), name, value: int64, delta: int64 }),
    fc.record({ kind: fc.constant('deleted' as const), name, delta: int64 }),
  );
const frameOf = (name: fc.Arbitrary<string>): fc.Arbitrary<tail.TailAnswer> =>
  fc.record({ begins: fc.boolean(), whole: fc.boolean(), position: count, told: many(toldOf(name)) });
/** So many that heads of their indexes take one byte, two and three. */
const FOLLOWED = Array.from({ length: 10_000 }, (_, i) => `${i}`);

/** Every body that is laid by hand, with what makes one, and the flags that its decoder needs. */
export interface Body<T> {
  readonly name: string;
  readonly values: fc.Arbitrary<T>;
  readonly encode: (writer: ByteWriter, value: T) => void;
  readonly decode: (body: Uint8Array, value: T) => T;
}
const body = <T>(
  name: string,
  values: fc.Arbitrary<T>,
  encode: Body<T>['encode'],
  decode: Body<T>['decode'],
): Body<unknown> => ({ name, values, encode, decode }) as Body<unknown>;

const sequenced = (value: { sequence?: unknown }) => (value.sequence ? Flag.SEQUENCED : 0);

export const BODIES = [
  body('OPEN', many(name), request.encodeOpen, request.decodeOpen),
  body<request.AddRequest>(
    'ADD',
    fc.record({ sequence, operations: many(operation) }, { requiredKeys: ['operations'] }),
    request.encodeAdd,
    (encoded, value) => request.decodeAdd(encoded, sequenced(value)),
  ),
  body<request.GetRequest>(
    'GET',
    fc.record(
      { after: fc.record({ epoch: fc.nat(0xffffffff), sequence: count }), keys: many(key) },
      { requiredKeys: ['keys'] },
    ),
    request.encodeGet,
    (encoded, value) => request.decodeGet(encoded, value.after ? Flag.AFTER : 0),
  ),
  body<request.SetRequest>(
    'SET',
    fc.record(
      { sequence, key, value: int64, expect: int64, reason: name },
      { requiredKeys: ['key', 'value', 'reason'] },
    ),
    request.encodeSet,
    (encoded, value) => request.decodeSet(encoded, sequenced(value)),
  ),
  body<request.DeleteRequest>(
    'DELETE',
    fc.record({ sequence, key, expect: int64, reason: name }, { requiredKeys: ['key', 'reason'] }),
    request.encodeDelete,
    (encoded, value) => request.decodeDelete(encoded, sequenced(value)),
  ),
  body(
    'LIST',
    fc.record({ prefix: bytes(0, 40), cursor: fc.nat(0xffffffff), limit: fc.integer({ min: 1, max: 0xffffffff }) }),
    request.encodeList,
    request.decodeList,
  ),
  body(
    'WINDOW',
    fc
      .record({
        mode: fc.constantFrom(...window.WINDOW_MODES),
        gross: fc.option(fc.constant(true as const), { nil: undefined }),
        milliseconds: fc.integer({ min: 1, max: 2 ** 40 }),
        keys: many(key),
      })
      .map(({ gross, ...rest }) => ({ ...rest, ...(gross && { gross }) })),
    window.encodeWindow,
    (encoded) => window.decodeWindow(encoded, 0),
  ),
  body<window.WindowAnswer>(
    'the answer to WINDOW',
    fc.record({
      ...progress,
      now: count,
      sums: many(
        fc.oneof(
          fc.record(
            {
              status: fc.constant(0 as const),
              bucket: fc.constantFrom(...window.WINDOW_BUCKETS),
              sum: int64,
              oldest: int64,
              decreases: fc.record({ sum: int64, oldest: int64 }),
            },
            { requiredKeys: ['status', 'bucket', 'sum', 'oldest'] },
          ),
          fc.record({ status }),
        ) as fc.Arbitrary<window.WindowSum>,
      ),
    }),
    window.encodeWindowAnswer,
    window.decodeWindowAnswer,
  ),
  body(
    'HISTORY',
    fc.record({
      question: fc.oneof(
        fc.record({ kind: fc.constant('value' as const), at: count }),
        fc
          .tuple(
            fc.constantFrom('buckets' as const, 'hours' as const),
            fc.nat(2 ** 30),
            fc.integer({ min: 1, max: 2 ** 40 }),
          )
          .map(([kind, from, length]) => ({ kind, from, to: from + length })),
      ),
      key,
    }),
    history.encodeHistory,
    (encoded) => history.decodeHistory(encoded, 0),
  ),
  body<history.HistoryAnswer>(
    'the answer to HISTORY',
    fc.record({
      ...progress,
      now: count,
      found: fc.oneof(
        fc.record({ kind: fc.constant('value' as const), resolution, at: count, value: int128 }),
        fc.record({ kind: fc.constantFrom('buckets' as const, 'hours' as const), buckets }),
      ),
    }),
    history.encodeHistoryAnswer,
    history.decodeHistoryAnswer,
  ),
  body(
    'the answer to OPEN',
    fc.record({
      ...progress,
      ids: many(
        fc.oneof(
          fc.record({ status: fc.constant(0 as const), slot: count, generation: count }),
          fc.record({ status }),
        ) as fc.Arbitrary<response.OpenedName>,
      ),
    }),
    response.encodeOpenAnswer,
    response.decodeOpenAnswer,
  ),
  body<response.AddAnswer>(
    'the answer to ADD',
    fc.record({
      ...progress,
      refused: many(fc.record({ index: fc.nat(11), status })),
      values: fc.oneof(fc.constant([]), fc.array(int64, { minLength: 12, maxLength: 12 })),
    }),
    response.encodeAddAnswer,
    (encoded, value) => response.decodeAddAnswer(encoded, 12, value.values.length > 0),
  ),
  body(
    'the answer to GET',
    fc.record({
      ...progress,
      values: many(
        fc.oneof(
          fc.record({ status: fc.constant(0 as const), value: int64 }),
          fc.record({ status }),
        ) as fc.Arbitrary<response.ReadValue>,
      ),
    }),
    response.encodeGetAnswer,
    response.decodeGetAnswer,
  ),
  body(
    'the answer to SET and DELETE',
    fc.record({ ...progress, status: fc.nat(255), previous: int64 }),
    response.encodeSetAnswer,
    response.decodeSetAnswer,
  ),
  body(
    'the answer to LIST',
    fc.record({ ...progress, cursor: count, counters: many(fc.record({ name, value: int64 })) }),
    response.encodeListAnswer,
    response.decodeListAnswer,
  ),
  body<uniques.SeeRequest>(
    'SEE',
    fc.record({ sequence, sightings: many(sighting).map(withRepeatedKeys) }, { requiredKeys: ['sightings'] }),
    uniques.encodeSee,
    (encoded, value) => uniques.decodeSee(encoded, sequenced(value)),
  ),
  body<uniques.SeeAnswer>(
    'the answer to SEE',
    fc.record({
      ...progress,
      refused: many(fc.record({ index: fc.nat(10), status })),
      seen: fc.oneof(
        fc.constant([]),
        fc.array(fc.record({ isNew: fc.boolean(), exact: fc.boolean() }), { minLength: 11, maxLength: 11 }),
      ),
    }),
    uniques.encodeSeeAnswer,
    (encoded, value) => uniques.decodeSeeAnswer(encoded, 11, value.seen.length > 0),
  ),
  body<once.OnceRequest>(
    'ONCE',
    fc.record({ sequence, operations: many(counting).map(withRepeatedCountings) }, { requiredKeys: ['operations'] }),
    once.encodeOnce,
    (encoded, value) => once.decodeOnce(encoded, sequenced(value)),
  ),
  body<once.OnceAnswer>(
    'the answer to ONCE',
    fc.record({
      ...progress,
      refused: many(fc.record({ index: fc.nat(10), status })),
      counted: fc.array(fc.boolean(), { minLength: 11, maxLength: 11 }),
      values: fc.oneof(fc.constant([]), fc.array(int64, { minLength: 11, maxLength: 11 })),
    }),
    once.encodeOnceAnswer,
    (encoded, value) => once.decodeOnceAnswer(encoded, 11, value.values.length > 0),
  ),
  body<uniques.MergeRequest>(
    'MERGE',
    fc.record({ sequence, key, items: hashes }, { requiredKeys: ['key', 'items'] }),
    uniques.encodeMerge,
    (encoded, value) => uniques.decodeMerge(encoded, sequenced(value)),
  ),
  body<uniques.MergeAnswer>(
    'the answer to MERGE',
    fc.tuple(fc.record(progress), uniqueCount).map(([told, number]) => ({ ...told, ...number })),
    uniques.encodeMergeAnswer,
    uniques.decodeMergeAnswer,
  ),
  body<uniques.UniquesRequest>(
    'UNIQUES',
    fc.record(
      {
        after: fc.record({ epoch: fc.nat(0xffffffff), sequence: count }),
        wanted: fc.constantFrom('each', 'union', 'sketch'),
        window: fc.record({
          unit: fc.constantFrom('hours' as const, 'days' as const),
          length: fc.integer({ min: 1, max: 100 }),
        }),
        keys: many(key),
      },
      { requiredKeys: ['wanted', 'keys'] },
    ),
    uniques.encodeUniques,
    (encoded, value) => uniques.decodeUniques(encoded, value.after ? Flag.AFTER : 0),
  ),
  body<uniques.UniquesAnswer>(
    'the answer to UNIQUES',
    fc.oneof(
      fc.record({ ...progress, wanted: fc.constant('each' as const), counts: many(uniqueCount) }),
      fc.record({ ...progress, wanted: fc.constant('union' as const), counts: fc.tuple(uniqueCount) }),
      fc.record({ ...progress, wanted: fc.constant('sketch' as const), counts: fc.constant([]), sketch }),
    ),
    uniques.encodeUniquesAnswer,
    (encoded, value) => uniques.decodeUniquesAnswer(encoded, value.wanted),
  ),
  body<expiry.ExpireRequest>(
    'EXPIRE',
    fc.record({ sequence, key, expiry: expiryOfCounter }, { requiredKeys: ['key', 'expiry'] }),
    expiry.encodeExpire,
    (encoded, value) => expiry.decodeExpire(encoded, sequenced(value)),
  ),
  body<expiry.ExpireAnswer>(
    'the answer to EXPIRE',
    fc.record({ ...progress, status: fc.nat(255), expires: instant }),
    expiry.encodeExpireAnswer,
    expiry.decodeExpireAnswer,
  ),
  body<expiry.ExpiryAnswer>(
    'the answer to EXPIRY',
    fc.record({
      ...progress,
      found: many(fc.oneof(fc.record({ status: fc.constant(0 as const), expires: instant }), fc.record({ status }))),
    }),
    expiry.encodeExpiryAnswer,
    expiry.decodeExpiryAnswer,
  ),
  body<tail.TailRequest>('TAIL', tailRequest, tail.encodeTail, (encoded, value) =>
    tail.decodeTail(encoded, 'after' in value && value.after ? Flag.AFTER : 0),
  ),
  body<tail.TailAnswer>(
    'the answer to TAIL of a prefix',
    frameOf(name),
    (writer, value) => tail.encodeTailAnswer(writer, value),
    (encoded) => tail.decodeTailAnswer(encoded),
  ),
  body<tail.TailAnswer>(
    'the answer to TAIL of names',
    frameOf(fc.oneof(fc.constantFrom(...FOLLOWED.slice(0, 40)), fc.constantFrom(...FOLLOWED))),
    (writer, value) => tail.encodeTailAnswer(writer, value, FOLLOWED),
    (encoded) => tail.decodeTailAnswer(encoded, FOLLOWED),
  ),
  body(
    'the answer to SYNC',
    fc.record({ positions: many(fc.record({ partition: fc.nat(0xffff), position: count })) }),
    response.encodeSyncAnswer,
    response.decodeSyncAnswer,
  ),
  body(
    'ERROR',
    fc.record({
      status: fc.nat(255),
      outcome: fc.constantFrom('refused' as const, 'unknown' as const, 'applied' as const),
      position: count,
      detail: name,
    }),
    response.encodeError,
    response.decodeError,
  ),
];
