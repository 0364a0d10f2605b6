import { z } from 'zod';
import type { BatchOperation, Client, OperationResult, Reading } from '../client/index.js';
import type { TallystickError } from '../errors.js';
import { expiryIn, toExpiry } from './expiry.js';
import { operationIdOf } from './idempotency.js';
import { BatchError, errorObject } from './problem.js';
import { endAs, gatheredRoute, type Route, route } from './route.js';
import {
  ack,
  counterName,
  errorOut,
  given,
  instant,
  int64In,
  int64Out,
  int64Text,
  read,
  readQuery,
  reason,
  toAmount,
  toBigint,
  type ValueOut,
  valueQuery,
  valueWriter,
} from './schemas.js';

/** Counters and their values. */

const MOST_OPERATIONS = 10_000;
const MOST_NAMES = 10_000;

const step = {
  name: counterName,
  delta: int64In.optional().meta({ description: 'What is added; 1 unless given.' }),
  id: z
    .string()
    .min(1)
    .max(1_024)
    .optional()
    .meta({ description: 'The increment happens once under it, within 10 minutes.' }),
  min: int64In.optional().meta({ description: 'The new value must not be below …' }),
  max: int64In.optional().meta({ description: '… nor above.' }),
  time: instant.optional().meta({ description: 'When it happened, if that is not now.' }),
  expiry: expiryIn.optional(),
};
const operation = z.strictObject(step).meta({ id: 'Operation', description: 'One increment.' });
const single = z.strictObject({ ...step, ack: ack.optional() }).meta({ id: 'Increment' });
const batch = z
  .strictObject({
    operations: z.array(operation).min(1).max(MOST_OPERATIONS),
    atomic: z.boolean().optional().meta({ description: 'All or none; the names must share a `{tag}`.' }),
    ack: ack.optional(),
  })
  .meta({ id: 'Batch' });

const valueAnswer = z.strictObject({ name: counterName, value: int64Out });
const batchAnswer = z.strictObject({
  results: z.array(z.union([valueAnswer, z.strictObject({ name: counterName, error: errorOut })])),
  failed: z.int().min(0).meta({ description: 'How many of the results are errors.' }),
});
const reading = z
  .strictObject({
    name: counterName,
    value: int64Out,
    exists: z.boolean().meta({ description: 'Whether it was ever written; the value is 0 if not.' }),
    durable: z.boolean().meta({ description: 'Whether no crash can take the value back.' }),
  })
  .meta({ id: 'Reading' });

const expect = { expect: int64In.optional().meta({ description: 'Only if the counter has this value.' }) };
const deleted = z.strictObject({ name: counterName, previous: int64Out, existed: z.boolean() });

type Step = z.output<typeof operation>;
type ToOut = (value: bigint) => ValueOut;

export const counterRoutes: readonly Route[] = [
  gatheredRoute({
    method: 'POST',
    path: '/v1/increment',
    id: 'increment',
    summary: 'Adds to a counter, or to many. A batch of which nothing was applied is a problem, with `results`.',
    load: 'write',
    key: 'taken',
    query: valueQuery,
    body: z.union([single, batch]),
    answer: z.union([valueAnswer, batchAnswer]),
    codes: ['OVERFLOW', 'OUT_OF_BOUNDS', 'ATOMIC_ABORTED', 'OPERATION_CONFLICT', 'TIME_TOO_OLD', 'QUOTA_EXCEEDED'],
    gather: ({ client, gatherer, query, body, key }, ending) => {
      const toOut = valueWriter(query);
      if ('operations' in body) {
        endAs(incrementAll(client, body, key, toOut), ending);
        return;
      }
      const { name, ack = 'durable' } = body;
      gatherer.increment(operationOf(body, key, 0), ack, (value) => ({ name, value: toOut(value) }), ending);
    },
  }),
  gatheredRoute({
    method: 'GET',
    path: '/v1/counters/{name}',
    id: 'getCounter',
    summary: 'The value of a counter; 0 where it was never written.',
    load: 'read',
    query: { ...readQuery, ...valueQuery },
    answer: reading,
    gather: ({ gatherer, name, query }, ending) => {
      const toOut = valueWriter(query);
      gatherer.read(name, query.read ?? 'durable', (found) => readingText(found, toOut), ending);
    },
  }),
  route({
    method: 'GET',
    path: '/v1/counters',
    id: 'listCounters',
    summary:
      'Counters by the prefix of their names, in no order, a page at a time. A page may be empty and more follow.',
    load: 'read',
    query: {
      prefix: z.string().max(1_024).optional(),
      limit: z
        .string()
        .regex(/^([1-9][0-9]{0,2}|1000)$/, 'a whole number from 1 to 1,000')
        .optional()
        .meta({ description: 'The most counters of a page; 100 unless given.' }),
      cursor: z.string().min(1).max(32).optional().meta({ description: 'Of the page before.' }),
      ...readQuery,
      ...valueQuery,
    },
    answer: z.strictObject({
      counters: z.array(valueAnswer),
      cursor: z.string().optional().meta({ description: 'Of the next page; absent on the last one.' }),
    }),
    codes: ['EPOCH_MISMATCH'],
    handle: async ({ client, query }) => {
      const { prefix, limit, cursor, read } = query;
      const toOut = valueWriter(query);
      const asked = given({ limit: limit === undefined ? undefined : Number(limit), cursor, read });
      const page = await client.listPage(prefix ?? '', asked);
      const counters = page.counters.map(({ name, value }) => ({ name, value: toOut(value) }));
      return page.cursor === undefined ? { counters } : { counters, cursor: page.cursor };
    },
  }),
  route({
    method: 'POST',
    path: '/v1/get',
    id: 'getCounters',
    summary: 'The values of many counters, which are no consistent cut.',
    load: 'read',
    query: valueQuery,
    body: z.strictObject({ names: z.array(counterName).min(1).max(MOST_NAMES), read: read.optional() }),
    answer: z.strictObject({ counters: z.array(reading) }),
    handle: async ({ client, query, body }) => {
      const toOut = valueWriter(query);
      const readings = await client.read(body.names, given({ read: body.read }));
      return { counters: readings.map((each) => tellReading(each, toOut)) };
    },
  }),
  route({
    method: 'POST',
    path: '/v1/set',
    id: 'setCounter',
    summary: 'Sets a counter and answers the value before. Durable, and in the audit log.',
    load: 'write',
    key: 'refused',
    query: valueQuery,
    body: z.strictObject({ name: counterName, value: int64In, reason, ...expect }),
    answer: z.strictObject({ name: counterName, previous: int64Out }),
    codes: ['EXPECTATION_FAILED', 'QUOTA_EXCEEDED'],
    handle: async ({ client, query, body: { name, value, reason, expect } }) => {
      const { previous } = await client.set(name, toBigint(value), conditionsOf(reason, expect));
      return { name, previous: valueWriter(query)(previous) };
    },
  }),
  route({
    method: 'POST',
    path: '/v1/delete',
    id: 'deleteCounter',
    summary: 'Deletes a counter and answers the value that it had. Durable, and in the audit log.',
    load: 'write',
    key: 'refused',
    query: valueQuery,
    body: z.strictObject({ name: counterName, reason, ...expect }),
    answer: deleted,
    codes: ['EXPECTATION_FAILED', 'QUOTA_EXCEEDED'],
    handle: ({ client, query, body: { name, reason, expect } }) =>
      remove(client, name, { reason, expect }, valueWriter(query)),
  }),
  route({
    method: 'DELETE',
    path: '/v1/counters/{name}',
    id: 'deleteNamedCounter',
    summary: 'The same, by its path.',
    load: 'write',
    key: 'refused',
    query: { reason, expect: int64Text.optional(), ...valueQuery },
    answer: deleted,
    codes: ['EXPECTATION_FAILED', 'QUOTA_EXCEEDED'],
    handle: ({ client, name, query }) => remove(client, name, query, valueWriter(query)),
  }),
];

const tellReading = ({ name, value, exists, durable }: Reading<bigint>, toOut: ToOut) => ({
  name,
  value: toOut(value),
  exists,
  durable,
});

/** The same as `JSON.stringify` writes it, which takes several times as long for an object as for a text. */
const readingText = ({ name, value, exists, durable }: Reading<bigint>, toOut: ToOut): string =>
  `{"name":${JSON.stringify(name)},"value":${JSON.stringify(toOut(value))},"exists":${exists},"durable":${durable}}`;

/** Of a SET or DELETE. */
const conditionsOf = (reason: string, expect: string | number | undefined) =>
  expect === undefined ? { reason } : { reason, expect: toBigint(expect) };

async function remove(
  client: Client,
  name: string,
  { reason, expect }: { readonly reason: string; readonly expect?: string | number | undefined },
  toOut: ToOut,
) {
  const { previous, existed } = await client.delete(name, conditionsOf(reason, expect));
  return { name, previous: toOut(previous), existed };
}

async function incrementAll(client: Client, body: z.output<typeof batch>, key: string | undefined, toOut: ToOut) {
  const operations = body.operations.map((step, index) => operationOf(step, key, index));
  const results = await client.batch(operations, given({ atomic: body.atomic, ack: body.ack }));
  const errors: TallystickError[] = [];
  const told = results.map((result) => tell(result, toOut, errors));
  const failed = errors.length;
  if (failed === results.length) throw new BatchError(mostTelling(errors), told);
  return { results: told, failed };
}

function tell({ name, value, error }: OperationResult<bigint>, toOut: ToOut, errors: TallystickError[]) {
  const failure = error ?? valueError(value, toOut);
  if (failure === undefined) return { name, value: toOut(value as bigint) };
  errors.push(failure);
  return { name, error: errorObject(failure) };
}

function valueError(value: bigint | undefined, toOut: ToOut): TallystickError | undefined {
  try {
    toOut(value as bigint);
    return undefined;
  } catch (error) {
    return error as TallystickError;
  }
}

/** What is said of a batch that failed: what may have happened after all, else what made it fail. */
function mostTelling(errors: readonly TallystickError[]): TallystickError {
  const telling =
    errors.find(({ outcome }) => outcome !== 'refused') ?? errors.find(({ code }) => code !== 'ATOMIC_ABORTED');
  return telling ?? (errors[0] as TallystickError);
}

/** An increment as the SDK takes it. An id of its own goes before that of the request. */
function operationOf(
  { name, delta, id, min, max, time, expiry }: Step,
  key: string | undefined,
  index: number,
): BatchOperation {
  const operation = { name, delta: delta === undefined ? 1 : toAmount(delta) };
  const isBounded = min !== undefined || max !== undefined;
  if (!isBounded && id === undefined && key === undefined && time === undefined && expiry === undefined)
    return operation;
  const once = id ?? (key === undefined ? undefined : operationIdOf(key, index));
  return given({
    ...operation,
    id: once,
    min: min === undefined ? undefined : toBigint(min),
    max: max === undefined ? undefined : toBigint(max),
    time,
    expiry: expiry === undefined ? undefined : toExpiry(expiry),
  });
}
