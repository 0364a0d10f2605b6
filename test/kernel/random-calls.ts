import fc from 'fast-check';
import { expect } from 'vitest';
import { encodeUtf8 } from '../../src/protocol/bytes.js';
import { Flag } from '../../src/protocol/opcode.js';
import type { AddRequest, DeleteRequest, Key, Operation, Sequence, SetRequest } from '../../src/protocol/request.js';
import { CounterModel, type Counters, type Session } from '../model/counter-model.js';
import { configuration, idOf, Kernel, NOBODY, START } from './fixture.js';

/** Random calls, made to a kernel and to the model alike: every answer of the kernel must be the model's, and in the end every value. */

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;
const HOUR = 3_600_000;

const fewNames = ['a', 'b', 'likes', 'views', 'ünï', 'x{a}', 'seven77', 'eight888', 'nine99999', 'n'.repeat(1024)];
const name = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...fewNames) },
  fc.string({ minLength: 1, unit: 'grapheme', maxLength: 12 }),
);
const key: fc.Arbitrary<Key> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ name }) },
  fc.record({ slot: fc.nat(12), generation: fc.constantFrom(0, 0, 0, 1, 1, 2, 3) }),
);
const number = fc.oneof(
  fc.bigInt(-100n, 100n),
  fc.bigInt(MIN, MAX),
  fc.constantFrom(MIN, MAX, MIN + 1n, MAX - 1n, 0n, 63n, 64n, -64n, -65n, 2n ** 62n, -(2n ** 62n)),
);
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });

export const operation: fc.Arbitrary<Operation> = fc
  .record({
    key,
    delta: number,
    min: optional(fc.oneof(fc.constant(0n), number)),
    max: optional(fc.oneof(fc.constant(200n), number)),
    operationId: optional(fc.nat(15).map(idOf)),
    plain: fc.boolean(),
  })
  .map(({ key, delta, plain, min, max, operationId }) => ({
    key,
    delta,
    ...(!plain && min !== undefined && { min }),
    ...(!plain && max !== undefined && { max }),
    ...(!plain && operationId && { operationId }),
  }));

/** Which sequence a batch comes under, as it stands when the batch is sent. */
const sequencing = fc.record({
  session: fc.constantFrom(0, 0, 0, 1, 2, 5),
  what: fc.constantFrom('next', 'next', 'next', 'next', 'repeat', 'repeat', 'conflict', 'gap', 'zero', 'window'),
  back: fc.nat(5),
  unanswered: fc.nat(4),
  cursor: optional(fc.uint8Array({ minLength: 1, maxLength: 64 })),
});

const setting = fc
  .record({
    key,
    value: number,
    expect: optional(fc.oneof(fc.constant(0n), number)),
    reason: fc.constantFrom('fix', 'é'),
  })
  .map(({ expect, ...rest }) => ({ ...rest, ...(expect !== undefined && { expect }) }));

const deleting = fc
  .record({ key, expect: fc.option(fc.oneof(fc.constant(0n), number), { nil: undefined, freq: 1 }) })
  .map(({ key, expect }) => ({ key, reason: 'gone', ...(expect !== undefined && { expect }) }));

const listing = fc.record({
  prefix: fc.constantFrom('', '', 'n', 'e', 'likes', 'seven77', 'seven77?', 'nnnnnnnnn', 'x{').map(encodeUtf8),
  cursor: fc.oneof(fc.constant(0), fc.nat(15), fc.nat(0xffffffff)),
  limit: fc.constantFrom(1, 2, 5, 1000, 2 ** 32 - 1),
});

const milliseconds = fc.oneof(
  { weight: 8, arbitrary: fc.nat(200_000) },
  fc.constantFrom(-1, -HOUR, -30 * HOUR, HOUR, HOUR + 1, 30 * HOUR, 600_000, 599_999),
);

/** One call, with the time that passes before it. */
export const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('add' as const),
      operations: fc.array(operation, { maxLength: 8 }),
      flags: fc.constantFrom(0, Flag.ATOMIC, Flag.VALUES, Flag.ATOMIC | Flag.VALUES),
      sequencing: optional(sequencing),
      later: milliseconds,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('set' as const),
      setting,
      sequencing: optional(sequencing),
      later: milliseconds,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('delete' as const),
      deleting,
      sequencing: optional(sequencing),
      later: milliseconds,
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('list' as const), listing }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('open' as const),
      names: fc.array(name, { maxLength: 5 }),
      later: milliseconds,
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('get' as const), keys: fc.array(key, { maxLength: 5 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('openProducer' as const), id: fc.nat(4), later: milliseconds }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('tick' as const), later: milliseconds }) },
);
export type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
type Sequencing = typeof sequencing extends fc.Arbitrary<infer S> ? S : never;

/** A connection's side of a session: what it has sent. */
interface Sent {
  readonly session: Session;
  readonly add: { request: AddRequest; flags: number }[];
}

/** Makes the same calls to a kernel and to a model. */
export class Pair {
  readonly kernel: Kernel;
  readonly model: CounterModel;
  readonly sent: Sent[] = [];
  time = START;

  constructor(wanted: Partial<typeof configuration> = {}) {
    this.kernel = new Kernel(wanted);
    this.model = new CounterModel({ ...configuration, ...wanted }, START);
  }

  both<Answer>(call: (counters: Counters) => Answer): Answer {
    const ours = call(this.kernel);
    expect(ours).toEqual(call(this.model));
    return ours;
  }

  run(step: Step): void {
    if ('later' in step) this.time += step.later;
    if (step.type === 'add') this.#add(step.operations, step.flags, step.sequencing);
    if (step.type === 'set') this.#set(step.setting, step.sequencing);
    if (step.type === 'delete') this.#delete(step.deleting, step.sequencing);
    if (step.type === 'list') this.both((counters) => counters.list(step.listing));
    if (step.type === 'open') this.both((counters) => counters.open(step.names, this.time));
    if (step.type === 'get') this.both((counters) => counters.get(step.keys));
    if (step.type === 'tick') this.both((counters) => counters.tick(this.time));
    if (step.type === 'openProducer') {
      const { answer } = this.both((counters) => counters.openProducer(idOf(step.id), step.id < 2, this.time));
      if (answer) this.sent.push({ session: answer, add: [] });
    }
  }

  #add(operations: readonly Operation[], flags: number, how: Sequencing | undefined): void {
    const sent = this.#senderOf(how);
    if (!how || !sent) {
      this.both((counters) => counters.add({ operations }, flags, NOBODY, this.time));
      return;
    }
    const old = sent.add.at(-1 - how.back);
    const repeats = (how.what === 'repeat' || how.what === 'conflict') && old;
    const request = repeats ? { ...old.request } : { sequence: sequenceOf(sent, how), operations };
    const sentFlags = repeats ? old.flags ^ (how.what === 'conflict' ? Flag.VALUES : 0) : flags;
    const { status } = this.both((counters) => counters.add(request, sentFlags, sent.session, this.time));
    if (status === 0) sent.add.push({ request, flags });
  }

  #set(setting: SetRequest, how: Sequencing | undefined): void {
    const sent = this.#senderOf(how);
    const request = how && sent ? { ...setting, sequence: sequenceOf(sent, how) } : setting;
    const { status } = this.both((counters) => counters.set(request, sent?.session ?? NOBODY, this.time));
    if (status === 0) holdPlace(sent, request);
  }

  #delete(deleting: DeleteRequest, how: Sequencing | undefined): void {
    const sent = this.#senderOf(how);
    const request = how && sent ? { ...deleting, sequence: sequenceOf(sent, how) } : deleting;
    const call = (counters: Counters) => counters.delete(request, sent?.session ?? NOBODY, this.time);
    const { status } = this.both(call);
    if (status !== 0) return;
    holdPlace(sent, request);
    if (sent && how?.what === 'repeat') this.both(call);
  }

  #senderOf(how: Sequencing | undefined): Sent | undefined {
    return how && this.sent.at(-1 - (how.session % Math.max(1, this.sent.length)));
  }

  compareAll(): void {
    const { memoryBytes, slots, tracks, windowBytes, ...statistics } = this.kernel.partition.statistics;
    expect(statistics).toEqual(this.model.statistics);
    const names = [...this.model.values.keys()];
    for (let from = 0; from < names.length; from += 10_000) {
      const { answer } = this.kernel.get(names.slice(from, from + 10_000).map((name) => ({ name })));
      const values = names
        .slice(from, from + 10_000)
        .map((name) => ({ status: 0, value: this.model.values.get(name) }));
      expect(answer).toEqual(values);
    }
  }
}

/** A repeat of a SET or DELETE as an ADD is a conflict: it holds the place of this sequence. */
function holdPlace(sent: Sent | undefined, { sequence }: { readonly sequence?: Sequence }): void {
  if (sent && sequence) sent.add.push({ request: { sequence, operations: [] }, flags: 0 });
}

function sequenceOf(sent: Sent, { what, unanswered, cursor }: Sequencing): Sequence {
  const next = sent.add.length + 1;
  const sequence = what === 'gap' ? next + 1 : what === 'zero' ? 0 : next;
  return {
    sequence,
    unanswered: what === 'window' ? 1024 : Math.min(unanswered, Math.max(0, sequence - 1)),
    ...(cursor && { cursor }),
  };
}
