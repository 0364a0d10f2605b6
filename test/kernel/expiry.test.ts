import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { DUE, PAGE_BYTES } from '../../src/partition/partition.js';
import { ByteReader, ByteWriter } from '../../src/protocol/bytes.js';
import { decodeExpiryAnswer } from '../../src/protocol/expiry.js';
import { Flag } from '../../src/protocol/opcode.js';
import {
  type Expiry,
  type Extension,
  encodeAdd,
  encodeGet,
  readExpiry,
  writeNameKey,
} from '../../src/protocol/request.js';
import { bodyOf, classify, differences, idOf, Kernel, NOBODY, replay, START } from './fixture.js';

const [ADD, EXPIRE] = [4, 16];
const [OUT_OF_BOUNDS, ATOMIC_ABORTED, OPERATION_CONFLICT, MEMORY_FULL] = (
  ['OUT_OF_BOUNDS', 'ATOMIC_ABORTED', 'OPERATION_CONFLICT', 'MEMORY_FULL'] as const
).map((code) => ERRORS[code].status) as [number, number, number, number];
/** Of a class. */
const LIFE = 1_700;
const Mode = { NEVER: 0, AT: 1, IN: 2, AT_IF_NONE: 5, IN_IF_NONE: 6 } as const;

/** A call as a host makes it: ticks first, while a counter is past its time. */
function call(kernel: Kernel, kind: number, milliseconds: number, body: Uint8Array): number {
  for (;;) {
    const status = kernel.call(kind, 0, NOBODY, milliseconds, body);
    if (status !== DUE) return status;
    kernel.tick(milliseconds);
  }
}

function expire(kernel: Kernel, name: string, mode: number, time: number, now = START): [number, number] {
  const body = new ByteWriter();
  writeNameKey(body, name);
  body.u8(mode);
  body.varint(time);
  expect(call(kernel, EXPIRE, now, body.copy())).toBe(OK);
  const [status = -1, ...expiry] = kernel.partition.answer;
  return [status, expiry.reduce((sum, byte, i) => sum + (byte & 127) * 128 ** i, 0)];
}

const increment = (kernel: Kernel, name: string, now: number, more: Extension = {}) =>
  call(kernel, ADD, now, bodyOf(encodeAdd, { operations: [{ key: { name }, delta: 1n, ...more }] }));

/** When a counter expires, 0 = never; also where it is absent. */
function expiryOf(kernel: Kernel, name: string): number {
  expect(kernel.partition.expiries(bodyOf(encodeGet, { keys: [{ name }] }))).toBe(OK);
  const { found } = decodeExpiryAnswer(Uint8Array.of(0, 0, ...kernel.partition.answer));
  return found[0]?.expires ?? 0;
}

const expiryIn = (mode: number, time: number): Expiry => {
  const writer = new ByteWriter();
  writer.u8(mode);
  writer.varint(time);
  return readExpiry(new ByteReader(writer.view()));
};

describe('A counter that expires', () => {
  test('is gone as by a DELETE when its time has come, and not a millisecond before', () => {
    const kernel = new Kernel();
    increment(kernel, 'a', START);
    expect(expire(kernel, 'a', Mode.IN, 1000)).toEqual([OK, START + 1000]);
    increment(kernel, 'a', START + 999);
    expect(kernel.value('a')).toBe(2n);
    increment(kernel, 'a', START + 1000);
    expect(kernel.value('a')).toBe(1n);
    expect(kernel.open(['a'], START + 1000).answer).toEqual([{ status: OK, slot: 0, generation: 1 }]);
    expect(kernel.partition.statistics.tracks).toBe(0);
  });

  test('is met by no body but a tick, which refuses the others without a trace', () => {
    const kernel = new Kernel();
    increment(kernel, 'a', START);
    expire(kernel, 'a', Mode.AT, START + 5);
    expect(kernel.call(ADD, 0, NOBODY, START + 5, Uint8Array.of(0))).toBe(DUE);
    expect(kernel.tick(START + 5).status).toBe(OK);
    expect(kernel.get([{ name: 'a' }]).answer).toEqual([{ status: ABSENT }]);
  });

  test('keeps its time with the modes for none, loses it with never, and ends at once by a time that is past', () => {
    const kernel = new Kernel();
    expect(expire(kernel, 'a', Mode.IN, 9)).toEqual([ABSENT, 0]);
    increment(kernel, 'a', START);
    expect(expire(kernel, 'a', Mode.IN_IF_NONE, 9)).toEqual([OK, START + 9]);
    expect(expire(kernel, 'a', Mode.AT_IF_NONE, START + 7)).toEqual([OK, START + 9]);
    expect(expire(kernel, 'a', Mode.NEVER, 0)).toEqual([OK, 0]);
    expect(kernel.partition.statistics.tracks).toBe(0);
    expect(expire(kernel, 'a', Mode.AT, START)).toEqual([OK, 0]);
    expect(kernel.value('a')).toBeUndefined();
  });

  test('is given its time by an increment, of which a repeat changes nothing', () => {
    const kernel = new Kernel();
    const limit = { max: 2n, expiry: { in: 60_000, ifNone: true } };
    expect(kernel.step('calls', 1n, limit)).toEqual({ status: OK, value: 1n });
    expect(kernel.step('calls', 1n, limit)).toEqual({ status: OK, value: 2n });
    expect(kernel.step('calls', 1n, limit)).toEqual({ status: OUT_OF_BOUNDS, value: 2n });
    expect(expiryOf(kernel, 'calls')).toBe(START + 60_000);
    const once = { operationId: idOf(1), expiry: { in: 5_000 } };
    expect(kernel.step('calls', -1n, once)).toEqual({ status: OK, value: 1n });
    expire(kernel, 'calls', Mode.IN, 9_000);
    expect(kernel.step('calls', -1n, once)).toEqual({ status: OK, value: 1n });
    expect(expiryOf(kernel, 'calls')).toBe(START + 9_000);
    expect(kernel.step('calls', -1n, { ...once, expiry: { in: 5_001 } }).status).toBe(OPERATION_CONFLICT);
    // One that is refused gives none, and leaves none behind
    expect(kernel.step('other', 1n, { max: 0n, expiry: { in: 1 } }).status).toBe(OUT_OF_BOUNDS);
    expect(kernel.partition.statistics.tracks).toBe(1);
  });

  test('by a time that is past, which an increment brings, is gone before the next change', () => {
    const kernel = new Kernel();
    expect(kernel.step('a', 5n, { expiry: { at: START - 1 } })).toEqual({ status: OK, value: 5n });
    expect(kernel.partition.hasDue(START)).toBe(true);
    kernel.tick(START);
    expect(kernel.value('a')).toBeUndefined();
  });

  test('of an atomic batch has its time when all are applied, and none where one is refused', () => {
    const kernel = new Kernel();
    const operations = (max: bigint) => [
      { key: { name: 'a' }, delta: 1n, expiry: { in: 10 } },
      { key: { name: 'b' }, delta: 1n, expiry: { in: 20, ifNone: true } },
      { key: { name: 'a' }, delta: 1n, max },
    ];
    kernel.add({ operations: operations(1n) }, Flag.ATOMIC);
    expect([kernel.value('a'), kernel.partition.statistics.tracks]).toEqual([undefined, 0]);
    kernel.add({ operations: operations(2n) }, Flag.ATOMIC);
    expect(['a', 'b'].map((name) => expiryOf(kernel, name))).toEqual([START + 10, START + 20]);
  });

  test('of a class has its time from its first change on, whatever that is, and again when it lost it', () => {
    const kernel = new Kernel();
    classify(kernel, [{ pattern: 'short:*', ttl: 1_000, uniques: 10 }]);
    kernel.step('short:added', 1n);
    kernel.set({ key: { name: 'short:set' }, value: 3n, reason: 'r' });
    kernel.see({ sightings: [{ key: { name: 'short:seen' }, item: Uint8Array.of(1) }] });
    kernel.step('short:own', 1n, { expiry: { in: 50 } });
    kernel.step('long', 1n);
    const names = ['short:added', 'short:set', 'short:seen', 'short:own', 'long'];
    expect(names.map((name) => expiryOf(kernel, name) - START)).toEqual([1_000, 1_000, 1_000, 50, -START]);
    increment(kernel, 'short:added', START + 40);
    expect(expiryOf(kernel, 'short:added')).toBe(START + 1_000);
    expire(kernel, 'short:added', Mode.NEVER, 0, START + 40);
    expect(expiryOf(kernel, 'short:added')).toBe(0);
    increment(kernel, 'short:added', START + 49);
    expect(expiryOf(kernel, 'short:added')).toBe(START + 1_049);
    expect(classify(kernel, [])).toBe(OK);
  });

  test('is refused where there is no memory for its time, alone or in an atomic batch, and then nothing is changed', () => {
    const kernel = new Kernel({ maximumPages: 140 });
    kernel.watched = false;
    const plain = Array.from({ length: 3_000 }, (_, i) => `plain${i}`);
    kernel.add({ operations: plain.map((name) => ({ key: { name }, delta: 1n })) });
    const expiring = (i: number) => ({ key: { name: `n${i}` }, delta: 1n, expiry: { in: 9_000 } });
    let full = -1;
    for (let i = 0; full < 0 && i < 200_000; i += 100) {
      const operations = Array.from({ length: 100 }, (_, k) => expiring(i + k));
      full = kernel.add({ operations }).answer?.refused[0]?.status ?? -1;
    }
    expect(full).toBe(MEMORY_FULL);
    kernel.watched = true;
    const { counters, tracks } = kernel.partition.statistics;
    expect(tracks).toBe(counters - plain.length);
    kernel.step('plain0', 1n); // the watch begins here
    for (const flags of [0, Flag.ATOMIC]) {
      const { answer } = kernel.add({ operations: [expiring(-1), expiring(-2)] }, flags);
      expect(answer?.refused.map(({ status }) => status)).toEqual([MEMORY_FULL, flags ? ATOMIC_ABORTED : MEMORY_FULL]);
    }
    expect(kernel.partition.statistics.tracks).toBe(tracks);
    expect(kernel.get([{ name: 'n-1' }, { name: 'n-2' }]).answer).toEqual([{ status: ABSENT }, { status: ABSENT }]);
    kernel.step('n0', 1n);
    const expired = plain.findIndex((name) => expire(kernel, name, Mode.IN, 5)[0] === MEMORY_FULL);
    expect(expired).toBeGreaterThanOrEqual(0);
    expect(expiryOf(kernel, plain[expired] as string)).toBe(0);
    expect(differences(replay(kernel.log).state, kernel.partition.state)).toEqual([]);
  });

  test('is what a list of times says under clocks that step a day back and forward, and replays byte for byte', () => {
    const DAY = 86_400_000;
    const step = fc.record({
      name: fc.integer({ min: 0, max: 40 }).map(String),
      mode: fc.constantFrom(-1, -1, ...Object.values(Mode)),
      /** Whether the time comes with an increment. */
      isStep: fc.boolean(),
      time: fc.integer({ min: 1, max: 5000 }),
      clock: fc.oneof({ weight: 20, arbitrary: fc.integer({ min: 0, max: 900 }) }, fc.constantFrom(-DAY, DAY, -500)),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 150, size: 'max' }), (steps) => {
        const kernel = new Kernel();
        classify(kernel, [{ pattern: '3*', ttl: LIFE }]);
        const model = new Map<string, { value: bigint; expiry: number }>();
        let now = START;
        for (const { name, mode, time, clock, isStep } of steps) {
          now += clock;
          for (const [key, { expiry }] of model) if (expiry && expiry <= now) model.delete(key);
          const known = model.get(name);
          const wanted = mode === Mode.NEVER ? 0 : mode & 2 ? now + time : now + time - 2500;
          const sent = mode === Mode.NEVER ? 0 : mode & 2 ? time : wanted;
          const keeps = mode < 0 || (mode & 4 && known?.expiry);
          if (mode < 0 || isStep) {
            increment(kernel, name, now, mode < 0 ? {} : { expiry: expiryIn(mode, sent) });
            const expiry = keeps ? (known?.expiry ?? 0) : wanted;
            model.set(name, {
              value: (known?.value ?? 0n) + 1n,
              expiry: expiry || (name.startsWith('3') ? now + LIFE : 0),
            });
          } else {
            const [, told] = expire(kernel, name, mode, sent, now);
            if (known && !keeps) known.expiry = wanted;
            if (known?.expiry && known.expiry <= now) model.delete(name);
            expect(told).toBe(model.get(name)?.expiry ?? 0);
          }
          // What is past by an increment ends before the next change.
          while (kernel.partition.hasDue(now)) kernel.tick(now);
          for (const [key, { expiry }] of model) if (expiry && expiry <= now) model.delete(key);
          const names = [...model.keys()];
          expect(kernel.get(names.map((key) => ({ name: key }))).answer?.map(({ value }) => value)).toEqual(
            names.map((key) => model.get(key)?.value),
          );
          expect(kernel.partition.statistics.counters).toBe(model.size);
        }
        expect(differences(replay(kernel.log).state, kernel.partition.state)).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });
});

describe('What hangs on a counter', () => {
  test('at the very end of the memory is read no further', () => {
    const kernel = new Kernel();
    kernel.watched = false;
    /** By how many pages the memory grows, and how many tracks a page has. */
    const [GROWTH, TRACKS] = [16, 65_536 / 32];
    const pages = () => kernel.partition.statistics.memoryBytes / PAGE_BYTES;
    let made = 0;
    const counters = (count: number, length: number) =>
      Array.from({ length: count }, () => {
        const name = `${made++}`.padEnd(length, '.');
        increment(kernel, name, START);
        return name;
      });
    // All tracks of the first page are taken, and then all pages but one of the memory.
    const first = counters(TRACKS, 10);
    for (const name of first) expire(kernel, name, Mode.IN, 9);
    const last = counters(4, 10);
    while (pages() < 192 || pages() % GROWTH !== GROWTH - 1) counters(1, 1_000);
    const before = pages();
    for (const name of last) expire(kernel, name, Mode.IN, 9);
    expect(pages()).toBe(before + 1);
    for (const name of last) expect(increment(kernel, name, START)).toBe(OK);
  });
});
