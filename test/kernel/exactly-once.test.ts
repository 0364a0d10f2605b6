import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRORS, OK } from '../../src/errors.js';
import { Kind, REPEATED } from '../../src/partition/partition.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import type { Sequence } from '../../src/protocol/request.js';
import type { Session } from '../model/counter-model.js';
import { idOf, Kernel, NOBODY, START } from './fixture.js';
import { Pair } from './random-calls.js';

const HOUR = 3_600_000;
const one = [{ key: { name: 'a' }, delta: 1n }];

/** A kernel with one open producer. */
function opened(wanted: ConstructorParameters<typeof Kernel>[0] = {}) {
  const kernel = new Kernel(wanted);
  const session = kernel.openProducer(idOf(1), true).answer as Session;
  const send = (sequence: number, rest: Partial<Sequence> = {}, operations: typeof one = one) =>
    kernel.add({ sequence: { sequence, unanswered: 0, ...rest }, operations }, Flag.VALUES, session);
  return { kernel, session, send };
}

/** Lets an hour pass, so that the clock goes on and not by a step too long to count. */
function passHours(kernel: Kernel, hours: number, from = START): number {
  for (let hour = 1; hour <= hours; hour++) kernel.tick(from + hour * HOUR);
  return from + hours * HOUR;
}

describe('A sequence', () => {
  test('is applied once, and its repeat gets the first answer and the first position', () => {
    const { kernel, send } = opened();
    const first = send(1);
    const position = kernel.partition.sequence;
    send(2, { unanswered: 1 });
    expect(first).toEqual({ status: OK, answer: { refused: [], values: [1n] } });
    expect(send(1)).toEqual({ status: REPEATED, answer: { refused: [], values: [1n] }, position });
    expect(kernel.value('a')).toBe(2n);
    expect(kernel.partition.sequence).toBe(position + 1);
  });

  test('that is not the next one is a gap', () => {
    const { send } = opened();
    expect(send(2).status).toBe(ERRORS.SEQUENCE_GAP.status);
    expect(send(1).status).toBe(OK);
    expect(send(3).status).toBe(ERRORS.SEQUENCE_GAP.status);
    expect(send(Number.MAX_SAFE_INTEGER, { unanswered: 1023 }).status).toBe(ERRORS.SEQUENCE_GAP.status);
    expect(send(0).status).toBe(ERRORS.BAD_REQUEST.status);
    expect(send(2, { unanswered: 2 }).status).toBe(ERRORS.BAD_REQUEST.status);
  });

  test('with other bytes, another cursor, opcode or flags is a conflict', () => {
    const { kernel, session, send } = opened();
    const sequence = { sequence: 1, unanswered: 0 };
    send(1);
    const conflict = { status: ERRORS.SEQUENCE_CONFLICT.status };
    expect(send(1, {}, [{ key: { name: 'a' }, delta: 2n }])).toEqual(conflict);
    expect(send(1, { cursor: Uint8Array.of(1) })).toEqual(conflict);
    expect(kernel.add({ sequence, operations: one }, 0, session)).toEqual(conflict);
    expect(kernel.add({ sequence, operations: one }, Flag.VALUES | Flag.ATOMIC, session)).toEqual(conflict);
    expect(kernel.set({ sequence, key: { name: 'a' }, value: 2n, reason: 'r' }, session)).toEqual(conflict);
    expect(kernel.delete({ sequence, key: { name: 'a' }, reason: 'r' }, session)).toEqual(conflict);
    expect(kernel.add({ sequence, operations: one }, Flag.VALUES | Flag.APPLIED, session).status).toBe(REPEATED);
  });

  test('is not used up by a body that is refused as a whole, but is by operations refused one by one', () => {
    const { kernel, session, send } = opened({ partitions: 4, partition: 0 });
    const foreign = [{ key: { name: 'hello' }, delta: 1n }]; // 248bfa47 mod 4 = 3
    expect(send(1, {}, foreign).status).toBe(ERRORS.WRONG_PARTITION.status);
    const unknown = [{ key: { slot: 9, generation: 0 }, delta: 1n }];
    const first = kernel.add({ sequence: { sequence: 1, unanswered: 0 }, operations: unknown }, 0, session);
    expect(first.answer?.refused).toEqual([{ index: 0, status: ERRORS.ID_UNKNOWN.status }]);
    // the id exists by now, but the repeat gets what the first one got
    kernel.open(Array.from({ length: 40 }, (_, i) => `{q}${i}`));
    const again = kernel.add({ sequence: { sequence: 1, unanswered: 0 }, operations: unknown }, 0, session);
    expect(again).toMatchObject({ status: REPEATED, answer: first.answer });
  });

  test('is judged before all else in the body', () => {
    const { kernel, session } = opened();
    const call = (bytes: number[]) => kernel.call(Opcode.ADD, Flag.SEQUENCED, session, START, Uint8Array.from(bytes));
    const nonsense = [0xff, 0xff, 0xff];
    expect(call([2, 0, 0, ...nonsense])).toBe(ERRORS.SEQUENCE_GAP.status);
    expect(call([1, 0, 0, ...nonsense])).toBe(ERRORS.BAD_REQUEST.status);
    for (const prefix of [[], [1], [1, 0], [1, 0, 65, ...new Array(80).fill(0)], [1, 0, 3, 1, 2], [0x80, 0x80]]) {
      expect(call(prefix)).toBe(ERRORS.BAD_REQUEST.status);
    }
  });

  test('in front of anything but ADD, SET and DELETE is refused', () => {
    const { kernel, session } = opened();
    const prefixed = (...body: number[]) => Uint8Array.from([1, 0, 0, ...body]);
    const flags = Flag.SEQUENCED;
    expect(kernel.call(Opcode.OPEN, flags, session, START, prefixed(1, 4, 97))).toBe(ERRORS.BAD_REQUEST.status);
    expect(kernel.call(Kind.TICK, flags, session, START, prefixed())).toBe(ERRORS.BAD_REQUEST.status);
    expect(kernel.call(Kind.OPEN_PRODUCER, flags, session, START, prefixed(...idOf(2), 1))).toBe(
      ERRORS.BAD_REQUEST.status,
    );
    expect(kernel.partition.judge(Opcode.OPEN, flags, session.producer, session.incarnation, prefixed(1, 4, 97))).toBe(
      ERRORS.BAD_REQUEST.status,
    );
  });

  test('is only judged by `judge`, which answers repeats', () => {
    const { kernel, session, send } = opened();
    send(1);
    const { partition, log } = kernel;
    const body = log.at(-1)?.body as Uint8Array;
    const judge = (flags: number, bytes: Uint8Array) =>
      partition.judge(Opcode.ADD, flags, session.producer, session.incarnation, bytes);
    const hash = partition.stateHash;
    expect(judge(Flag.SEQUENCED | Flag.VALUES, body)).toBe(REPEATED);
    expect([...partition.answer]).toEqual([0, 2]);
    expect(judge(Flag.SEQUENCED | Flag.VALUES, Uint8Array.of(2, ...body.subarray(1)))).toBe(OK);
    expect(judge(Flag.SEQUENCED | Flag.VALUES, Uint8Array.of(3, ...body.subarray(1)))).toBe(ERRORS.SEQUENCE_GAP.status);
    expect(judge(0, body)).toBe(OK);
    expect(partition.stateHash).toBe(hash);
  });
});

describe('The window', () => {
  test('holds 1,024 unanswered sequences', () => {
    const { send } = opened();
    for (let sequence = 1; sequence <= 1024; sequence++) {
      expect(send(sequence, { unanswered: sequence - 1 }).status).toBe(OK);
    }
    expect(send(1025, { unanswered: 1024 }).status).toBe(ERRORS.WINDOW_EXCEEDED.status);
    for (let sequence = 1; sequence <= 1024; sequence++) {
      expect(send(sequence)).toMatchObject({ status: REPEATED, answer: { values: [BigInt(sequence)] } });
    }
    expect(send(1025, { unanswered: 1023 }).status).toBe(OK);
    expect(send(1)).toEqual({ status: ERRORS.ALREADY_APPLIED.status, position: 0 });
    expect(send(2).status).toBe(REPEATED);
  });

  test('forgets what the client no longer waits for', () => {
    const { send } = opened();
    for (let sequence = 1; sequence <= 10; sequence++) send(sequence, { unanswered: sequence - 1 });
    send(11, { unanswered: 2 });
    const statuses = Array.from({ length: 11 }, (_, i) => send(i + 1).status);
    expect(statuses).toEqual([...new Array(8).fill(ERRORS.ALREADY_APPLIED.status), REPEATED, REPEATED, REPEATED]);
  });

  test('keeps answers within its bytes; what is past them is ALREADY_APPLIED with its position, and still conflicts', () => {
    const { kernel, send, session } = opened();
    const operations = Array.from({ length: 500 }, (_, i) => ({ key: { name: `n${i}` }, delta: 2n ** 61n }));
    const batch = (sequence: number, count: number) =>
      send(
        sequence,
        { unanswered: sequence - 1 },
        operations.slice(0, count).map((operation) => ({ ...operation, delta: 1n })),
      );
    kernel.add({ operations });
    // 500 values of 9 bytes: 4,501 bytes an answer, nine of them are kept
    const positions = Array.from({ length: 20 }, (_, i) => {
      batch(i + 1, 500);
      return kernel.partition.sequence;
    });
    for (let sequence = 1; sequence <= 20; sequence++) {
      const { status, position } = batch(sequence, 500);
      expect([status, position]).toEqual([
        sequence <= 11 ? ERRORS.ALREADY_APPLIED.status : REPEATED,
        positions[sequence - 1],
      ]);
    }
    expect(batch(1, 499).status).toBe(ERRORS.SEQUENCE_CONFLICT.status);
    expect(kernel.partition.producer(idOf(1))).toMatchObject({ ...session, next: 21 });
  });

  test('does not keep an answer that is larger than all of its bytes', () => {
    const { send } = opened();
    const operations = Array.from({ length: 10_000 }, (_, i) => ({ key: { name: `n${i}` }, delta: 2n ** 62n }));
    send(1);
    expect(send(2, { unanswered: 1 }, operations).status).toBe(OK);
    expect(send(2, { unanswered: 1 }, operations).status).toBe(ERRORS.ALREADY_APPLIED.status);
    expect(send(1).status).toBe(REPEATED);
  });

  test('of random batches answers repeats as the model does', () => {
    const batch = fc.record({
      values: fc.oneof({ weight: 20, arbitrary: fc.nat(3) }, { weight: 19, arbitrary: fc.nat(400) }, fc.constant(4700)),
      unanswered: fc.oneof(fc.nat(80), fc.nat(1023)),
      back: fc.nat(1100),
    });
    fc.assert(
      fc.property(fc.array(batch, { minLength: 20, maxLength: 250, size: 'max' }), fc.nat(70), (batches, warm) => {
        const pair = new Pair();
        pair.kernel.watched = false;
        const { answer: session } = pair.both((counters) => counters.openProducer(idOf(1), true, START));
        if (!session) return;
        const operations = Array.from({ length: 4700 }, (_, i) => ({ key: { name: `n${i}` }, delta: 2n ** 55n }));
        pair.both((counters) => counters.add({ operations }, 0, NOBODY, START));
        const all = [...new Array(warm).fill({ values: 1, unanswered: 1023, back: 0 }), ...batches];
        const sent = all.map(({ values, unanswered }, i) => ({
          sequence: { sequence: i + 1, unanswered: Math.min(unanswered, i) },
          operations: operations.slice(0, values).map(({ key }) => ({ key, delta: 1n })),
        }));
        all.forEach(({ back }, i) => {
          for (const request of [sent[i], sent[i - back]]) {
            if (request) pair.both((counters) => counters.add(request, Flag.VALUES, session, START));
          }
        });
        for (const request of sent) pair.both((counters) => counters.add(request, Flag.VALUES, session, START));
        pair.compareAll();
      }),
      { numRuns: 8 },
    );
  });
});

describe('A producer', () => {
  test('opened anew fences the older session and starts at sequence 1', () => {
    const { kernel, session, send } = opened();
    send(1);
    const next = kernel.openProducer(idOf(1), true).answer as Session;
    expect(next).toMatchObject({ producer: session.producer, next: 1 });
    expect(next.incarnation).toBeGreaterThan(session.incarnation);
    expect(send(2).status).toBe(ERRORS.PRODUCER_FENCED.status);
    expect(send(1).status).toBe(ERRORS.PRODUCER_FENCED.status);
    const newer = kernel.add({ sequence: { sequence: 1, unanswered: 0 }, operations: one }, Flag.VALUES, next);
    expect(newer).toEqual({ status: OK, answer: { refused: [], values: [2n] } });
    expect(kernel.partition.producer(idOf(1))).toEqual({ ...next, next: 2, cursor: null });
  });

  test('that was never opened is unknown', () => {
    const { kernel, session } = opened();
    const request = { sequence: { sequence: 1, unanswered: 0 }, operations: one };
    for (const producer of [1, 1023, 1024, 2 ** 20, 2 ** 32 - 1]) {
      expect(kernel.add(request, 0, { ...session, producer }).status).toBe(ERRORS.PRODUCER_UNKNOWN.status);
    }
    expect(kernel.add(request, 0, { ...session, incarnation: 2 }).status).toBe(ERRORS.PRODUCER_FENCED.status);
    expect(kernel.partition.producer(idOf(2))).toBeUndefined();
  });

  test('keeps its cursor: replaced by another, left by a batch without one, and over a new incarnation', () => {
    const { kernel, send } = opened();
    const cursor = () => kernel.partition.producer(idOf(1))?.cursor;
    const long = new Uint8Array(64).fill(7);
    expect(cursor()).toBeNull();
    send(1, { cursor: long });
    expect(cursor()).toEqual(long);
    send(2);
    expect(cursor()).toEqual(long);
    send(3, { cursor: Uint8Array.of(1, 2) });
    expect(cursor()).toEqual(Uint8Array.of(1, 2));
    send(3, { cursor: Uint8Array.of(9) });
    expect(cursor()).toEqual(Uint8Array.of(1, 2));
    expect(kernel.openProducer(idOf(1), true).answer?.cursor).toEqual(Uint8Array.of(1, 2));
  });

  test('can send a batch that carries only its cursor', () => {
    const { kernel, send } = opened();
    expect(send(1, { cursor: Uint8Array.of(5) }, [])).toEqual({ status: OK, answer: { refused: [], values: [] } });
    expect(kernel.partition.producer(idOf(1))).toMatchObject({ next: 2, cursor: Uint8Array.of(5) });
  });

  test('without a name goes after 24 idle hours of ticks, one with a name never', () => {
    const kernel = new Kernel();
    kernel.openProducer(idOf(1), true);
    const session = kernel.openProducer(idOf(2), false).answer as Session;
    const time = passHours(kernel, 23);
    expect(kernel.partition.producer(idOf(2))).toBeDefined();
    kernel.tick(time + HOUR - 1);
    expect(kernel.partition.producer(idOf(2))).toBeDefined();
    kernel.tick(time + HOUR);
    expect(kernel.partition.producer(idOf(2))).toBeUndefined();
    expect(kernel.partition.statistics.producers).toBe(1);
    passHours(kernel, 100, time + HOUR);
    expect(kernel.partition.producer(idOf(1))).toBeDefined();
    const request = { sequence: { sequence: 1, unanswered: 0 }, operations: one };
    expect(kernel.add(request, 0, session).status).toBe(ERRORS.PRODUCER_UNKNOWN.status);
  });

  test('is listed with what it is, as long as it is there', () => {
    const kernel = new Kernel();
    const known = () => [...kernel.partition.producers()];
    expect(known()).toEqual([]);
    kernel.openProducer(idOf(1), true);
    kernel.openProducer(idOf(2), false);
    kernel.openProducer(idOf(3), true);
    kernel.openProducer(idOf(3), true);
    expect(kernel.partition.incarnation).toBe(4);
    for (const each of known())
      expect(each).toEqual({ ...kernel.partition.producer(each.id), id: each.id, isNamed: each.isNamed });
    expect(known().map(({ id, isNamed }) => [id, isNamed])).toEqual([
      [idOf(1), true],
      [idOf(2), false],
      [idOf(3), true],
    ]);
    passHours(kernel, 30);
    expect(known().map(({ id }) => id)).toEqual([idOf(1), idOf(3)]);
  });

  test('that writes does not go', () => {
    const kernel = new Kernel();
    const session = kernel.openProducer(idOf(2), false).answer as Session;
    for (let hour = 1; hour <= 60; hour++) {
      const sequence = { sequence: hour, unanswered: 0 };
      expect(kernel.add({ sequence, operations: one }, 0, session, START + hour * HOUR).status).toBe(OK);
      kernel.tick(START + hour * HOUR);
    }
  });

  test('is not forgotten by a clock that was set, forwards or backwards', () => {
    const kernel = new Kernel();
    kernel.openProducer(idOf(2), false);
    for (const step of [HOUR + 1, 1000 * HOUR, -1000 * HOUR, 10_000 * HOUR]) kernel.tick(START + step);
    expect(kernel.partition.producer(idOf(2))).toBeDefined();
  });

  test('idle for an hour loses its kept answers, not its place', () => {
    const { kernel, send } = opened();
    send(1);
    kernel.tick(START + HOUR - 1);
    expect(send(1).status).toBe(REPEATED);
    kernel.tick(START + HOUR);
    expect(send(1)).toEqual({ status: ERRORS.ALREADY_APPLIED.status, position: 0 });
    expect(send(2).status).toBe(OK);
    expect(send(2).status).toBe(REPEATED);
    expect(send(1).status).toBe(ERRORS.ALREADY_APPLIED.status);
  });

  test('loses its kept answers with others, so many in a tick that 16 MiB are given back', () => {
    const kernel = new Kernel({ maximumProducers: 300 });
    kernel.watched = false;
    const sessions = Array.from({ length: 300 }, (_, i) => kernel.openProducer(idOf(i), true).answer as Session);
    const send = (session: Session, sequence: number) =>
      kernel.add({ sequence: { sequence, unanswered: sequence - 1 }, operations: [] }, 0, session).status;
    for (const session of sessions) for (let sequence = 1; sequence <= 65; sequence++) send(session, sequence);
    const kept = () => sessions.filter((session) => send(session, 1) === REPEATED).length;
    expect(kept()).toBe(300);
    kernel.tick(START + HOUR);
    expect(kept()).toBe(300 - 256);
    kernel.tick(START + HOUR);
    expect(kept()).toBe(0);
  });

  test('in the place of one that expired never answers to the old session', () => {
    const kernel = new Kernel({ maximumProducers: 2 });
    const old = kernel.openProducer(idOf(1), false).answer as Session;
    kernel.openProducer(idOf(2), true);
    const cursor = Uint8Array.of(1, 2, 3);
    kernel.add({ sequence: { sequence: 1, unanswered: 0, cursor }, operations: one }, 0, old);
    expect(kernel.openProducer(idOf(3)).status).toBe(ERRORS.PRODUCERS_FULL.status);
    const time = passHours(kernel, 24);
    const fresh = kernel.openProducer(idOf(3), false, time).answer;
    expect(fresh).toMatchObject({ producer: old.producer, next: 1, cursor: null });
    expect(kernel.openProducer(idOf(4), false, time).status).toBe(ERRORS.PRODUCERS_FULL.status);
    const request = { sequence: { sequence: 2, unanswered: 0 }, operations: one };
    expect(kernel.add(request, 0, old).status).toBe(ERRORS.PRODUCER_UNKNOWN.status);
    kernel.openProducer(idOf(3), false, time);
    expect(kernel.add(request, 0, old).status).toBe(ERRORS.PRODUCER_UNKNOWN.status);
    expect(kernel.add(request, 0, fresh).status).toBe(ERRORS.PRODUCER_FENCED.status);
  });

  test('among thousands is found, fenced and forgotten like any other', () => {
    const kernel = new Kernel({ maximumProducers: 20_000 });
    kernel.watched = false;
    const sessions = Array.from(
      { length: 9000 },
      (_, i) => kernel.openProducer(idOf(i), i % 3 === 0).answer as Session,
    );
    sessions.forEach((session, i) => {
      expect(kernel.partition.producer(idOf(i))).toEqual({ ...session, next: 1, cursor: null });
    });
    let time = passHours(kernel, 24);
    for (let i = 0; i < 3; i++) kernel.tick(time++);
    expect(kernel.partition.statistics.producers).toBe(3000);
    for (let i = 0; i < 9000; i++) expect(kernel.partition.producer(idOf(i)) !== undefined).toBe(i % 3 === 0);
    for (let i = 0; i < 9000; i++) kernel.openProducer(idOf(20_000 + i), false, time);
    for (let i = 0; i < 9000; i++) expect(kernel.partition.producer(idOf(20_000 + i))).toBeDefined();
    expect(kernel.partition.statistics.producers).toBe(12_000);
  });
});
