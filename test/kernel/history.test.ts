import { describe, expect, test } from 'vitest';
import type { CounterClass } from '../../src/partition/classes.js';
import { decodeEmitted } from '../../src/partition/emitted.js';
import { writeKeys } from '../../src/protocol/request.js';
import { bodyOf, classify, Kernel, START, tick } from './fixture.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const CLASSES: readonly CounterClass[] = [{ pattern: 'day:*', windows: '1d', history: true }];

describe('What the history is read with', () => {
  const tracked = (kernel: Kernel, name: string) => kernel.partition.tracked(bodyOf(writeKeys, [{ name }]));
  const emitted = (kernel: Kernel) => [...decodeEmitted(kernel.partition.emitted)];

  test('changes nothing', () => {
    const kernel = new Kernel();
    classify(kernel, CLASSES);
    kernel.step('day:a', 5n);
    const { stateHash } = kernel.partition;
    expect(tracked(kernel, 'day:a')).toMatchObject({ exists: true, value: 5n });
    expect(emitted(kernel)).toMatchObject([{ hour: Math.floor(START / HOUR) }]);
    expect(tracked(kernel, 'day:b')).toEqual({
      counter: undefined,
      classNumber: 1,
      exists: false,
      value: 0n,
      since: 0,
    });
    expect(emitted(kernel)).toEqual([]);
    expect(kernel.partition.stateHash).toBe(stateHash);
  });

  test('is known from the change on that brought its class', () => {
    const kernel = new Kernel();
    kernel.step('day:a', 5n);
    classify(kernel, CLASSES, START + MINUTE / 2);
    tick(kernel, START + MINUTE / 2);
    expect(tracked(kernel, 'day:a').since).toBe((Math.floor((START + MINUTE / 2) / MINUTE) + 1) * MINUTE);
  });

  test('is of one counter, which has an id or a name', () => {
    const kernel = new Kernel();
    classify(kernel, CLASSES);
    const refused = (keys: Parameters<typeof writeKeys>[1], code: string) =>
      expect(() => kernel.partition.tracked(bodyOf(writeKeys, keys))).toThrow(expect.objectContaining({ code }));
    refused([], 'BAD_REQUEST');
    refused([{ name: 'day:a' }, { name: 'day:b' }], 'BAD_REQUEST');
    refused([{ slot: 77, generation: 0 }], 'ID_UNKNOWN');
    expect(() => kernel.partition.tracked(Uint8Array.of(9))).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  test('goes with its counter, which is told where there may be rows of it', () => {
    const kernel = new Kernel();
    kernel.step('plain', 1n);
    kernel.delete({ key: { name: 'plain' }, reason: 'r' });
    expect(emitted(kernel)).toEqual([]);
    classify(kernel, CLASSES);
    tick(kernel, START);
    kernel.step('day:a', 1n);
    kernel.delete({ key: { name: 'day:a' }, reason: 'r' });
    const [row, gone] = emitted(kernel);
    expect(row?.minutes?.filter((delta) => delta !== undefined)).toEqual([1n]);
    expect(gone).toEqual({ slot: row?.slot, generation: row?.generation, hour: 0, minutes: undefined });
    // One that has emitted nothing has none.
    kernel.step('plain', 1n);
    kernel.delete({ key: { name: 'plain' }, reason: 'r' });
    expect(emitted(kernel)).toEqual([]);
    // Also where its class no longer keeps any.
    kernel.step('day:b', 1n);
    tick(kernel, START + HOUR);
    expect(emitted(kernel)).toHaveLength(1);
    classify(kernel, [], START + HOUR);
    tick(kernel, START + HOUR);
    kernel.delete({ key: { name: 'day:b' }, reason: 'r' });
    expect(emitted(kernel).map(({ minutes }) => minutes)).toEqual([undefined]);
  });
});
