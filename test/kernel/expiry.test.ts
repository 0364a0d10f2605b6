import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, OK } from '../../src/errors.js';
import { DUE } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeAdd, writeNameKey } from '../../src/protocol/request.js';
import { bodyOf, differences, Kernel, NOBODY, replay, START } from './fixture.js';

const [ADD, EXPIRE] = [4, 16];
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

const increment = (kernel: Kernel, name: string, now: number) =>
  call(kernel, ADD, now, bodyOf(encodeAdd, { operations: [{ key: { name }, delta: 1n }] }));

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

  test('is what a list of times says under clocks that step a day back and forward, and replays byte for byte', () => {
    const DAY = 86_400_000;
    const step = fc.record({
      name: fc.integer({ min: 0, max: 40 }).map(String),
      mode: fc.constantFrom(-1, -1, ...Object.values(Mode)),
      time: fc.integer({ min: 1, max: 5000 }),
      clock: fc.oneof({ weight: 20, arbitrary: fc.integer({ min: 0, max: 900 }) }, fc.constantFrom(-DAY, DAY, -500)),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 150, size: 'max' }), (steps) => {
        const kernel = new Kernel();
        const model = new Map<string, { value: bigint; expiry: number }>();
        let now = START;
        for (const { name, mode, time, clock } of steps) {
          now += clock;
          for (const [key, { expiry }] of model) if (expiry && expiry <= now) model.delete(key);
          const known = model.get(name);
          if (mode < 0) {
            increment(kernel, name, now);
            model.set(name, { value: (known?.value ?? 0n) + 1n, expiry: known?.expiry ?? 0 });
          } else {
            const wanted = mode === Mode.NEVER ? 0 : mode & 2 ? now + time : now + time - 2500;
            const sent = mode === Mode.NEVER ? 0 : mode & 2 ? time : wanted;
            const [, told] = expire(kernel, name, mode, sent, now);
            if (known && !(mode & 4 && known.expiry)) known.expiry = wanted;
            if (known?.expiry && known.expiry <= now) model.delete(name);
            expect(told).toBe(model.get(name)?.expiry ?? 0);
          }
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
