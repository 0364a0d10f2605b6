import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { type CounterClass, encodeClasses } from '../../src/partition/classes.js';
import { Kind, PAGE_BYTES } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { writeNameKey } from '../../src/protocol/request.js';
import { Kernel, NOBODY, replay, START } from './fixture.js';
import { DAY, HOUR, itemOf, kernelOf, once, pass, range, SECOND } from './once-calls.js';

const [BAD_REQUEST, NOT_TRACKED, ITEMS_FULL] = (['BAD_REQUEST', 'NOT_TRACKED', 'ITEMS_FULL'] as const).map(
  (code) => ERRORS[code].status,
) as [number, number, number];

describe('The memory of items that count once', () => {
  const bytesOf = (kernel: Kernel) => kernel.partition.statistics.memoryBytes;

  test('is all used again when a counter is deleted, or their time is over, in every form', () => {
    for (const items of [1, 50, 63, 64, 200, 5_000]) {
      const kernel = kernelOf();
      kernel.watched = false;
      let now = START;
      const rounds = [
        () => {
          kernel.delete({ key: { name: 'a' }, reason: 'r' }, NOBODY, now);
        },
        () => {
          now = pass(kernel, now, DAY + SECOND);
        },
      ];
      let most = 0;
      for (const [i, end] of [...rounds, ...rounds].entries()) {
        expect(once(kernel, 'a', range(0, items), now).counted).not.toContain(false);
        if (i === 0) most = bytesOf(kernel);
        end();
        expect(bytesOf(kernel), `${items} items`).toBe(most);
        expect(kernel.partition.statistics.tracks).toBe(0);
      }
      expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
    }
  });

  test('is at most 21 bytes an item of a large set, and 24 bytes an item of one of ten and more', () => {
    const kernel = kernelOf();
    kernel.watched = false;
    once(kernel, 'large', range(0, 250_000));
    const before = bytesOf(kernel);
    once(kernel, 'large', range(250_000, 500_000));
    expect((bytesOf(kernel) - before) / 250_000).toBeLessThan(21);
    for (const items of [10, 40]) {
      const small = kernelOf();
      small.watched = false;
      const names = Array.from({ length: 10_000 }, (_, i) => `n${i}`);
      small.add({ operations: names.map((name) => ({ key: { name }, delta: 0n })) });
      const empty = bytesOf(small);
      for (const name of names) once(small, name, range(0, items));
      const track = 32 + 48;
      expect((bytesOf(small) - empty) / names.length - track, `${items}`).toBeLessThan(items * 24 + 45);
    }
  });

  test('follows a set that shrinks: a day of few visitors does not keep what a day of many took', () => {
    const kernel = kernelOf();
    kernel.watched = false;
    once(kernel, 'a', range(0, 60_000), START);
    const full = bytesOf(kernel);
    let now = pass(kernel, START, DAY - HOUR);
    once(kernel, 'a', range(100_000, 101_000), now);
    now = pass(kernel, now, 2 * HOUR); // two ticks and more: the 60,000 are over
    once(kernel, 'b', range(0, 45_000), now);
    expect(bytesOf(kernel)).toBeLessThanOrEqual(full + PAGE_BYTES); // blocks of one size more
    expect(once(kernel, 'a', range(100_000, 101_000), now).counted).not.toContain(true);
  });

  test('is given back in bounded steps where very many are over', () => {
    const kernel = kernelOf();
    kernel.watched = false;
    once(kernel, 'a', range(0, 100_000), START);
    let now = START;
    for (let hour = 1; hour < 24; hour++) kernel.tick(START + hour * HOUR);
    now += DAY;
    let ticks = 0;
    for (; kernel.partition.statistics.tracks > 0; ticks++) kernel.tick(now);
    expect(ticks).toBe(Math.ceil(100_000 / 32_768));
  });

  test('is given back by a change of the classes that counts nothing once, and kept by one that does', () => {
    const kernel = kernelOf();
    const now = START + SECOND;
    once(kernel, 'seen', range(0, 100), now);
    kernel.see({ sightings: [{ key: { name: 'seen' }, item: itemOf(1) }] });
    const change = (classes: readonly CounterClass[]) => {
      expect(kernel.classify(classes, now)).toBe(OK);
      kernel.tick(now);
    };
    change([{ pattern: '*', uniques: 5, once: DAY, onceItems: 100 }]);
    expect(once(kernel, 'seen', [99, 100], now)).toMatchObject({ counted: [false, false], statuses: [ITEMS_FULL] });
    change([{ pattern: '*', once: DAY, onceItems: 101 }]);
    expect(kernel.uniques('each', [{ name: 'seen' }]).answer?.counts[0]?.status).toBe(NOT_TRACKED);
    expect(once(kernel, 'seen', [99, 100], now).counted).toEqual([false, true]);
    change([{ pattern: '*', uniques: 5 }]);
    expect(once(kernel, 'seen', [99], now).statuses).toEqual([NOT_TRACKED]);
    expect(kernel.uniques('each', [{ name: 'seen' }]).answer?.counts[0]).toEqual({ status: OK, exact: true, count: 0 });
  });
});

describe('Items that are brought from another partition', () => {
  test('count again when they would have there, a second later at most, and none of them early', () => {
    for (const [items, later] of [
      [5, 0],
      [40, 123],
      [3_000, 999],
      [20_000, 7],
    ] as const) {
      const old = kernelOf();
      old.watched = false;
      for (let i = 0; i < 10; i++) once(old, 'a', range((i * items) / 10, ((i + 1) * items) / 10), START + i * 777);
      old.tick(START + 8_000 + later);
      const fresh = kernelOf();
      fresh.watched = false;
      fresh.add({ operations: [{ key: { name: 'a' }, delta: BigInt(items) }] });
      fresh.partition.startClock(old.partition.clock + 5);
      const parts = [...old.partition.countedOnce()];
      expect(parts.map(({ name }) => name)).toEqual(Array.from({ length: Math.ceil(items / 16_384) }, () => 'a'));
      for (const { items } of parts) {
        const body = new ByteWriter();
        writeNameKey(body, 'a');
        body.u64(BigInt(old.partition.clock));
        body.bytes(items);
        expect(fresh.call(Kind.KEEP, 0, NOBODY, START, body.copy())).toBe(OK);
        expect([...fresh.partition.answer]).toEqual([OK]);
      }
      expect(once(fresh, 'a', range(0, items), START).counted).not.toContain(true);
      const age = 8_000 + later;
      let now = pass(fresh, START, DAY - age - 1);
      expect(once(fresh, 'a', [0], now).counted).toEqual([false]);
      now = pass(fresh, now, 2 * SECOND);
      expect(once(fresh, 'a', [0, items - 1], now).counted).toEqual([true, false]);
      now = pass(fresh, now, 9 * SECOND);
      expect(once(fresh, 'a', [items - 1], now).counted).toEqual([true]);
    }
  });

  test('are not forgotten for one that came after them and is over before them', () => {
    for (const items of [2, 100]) {
      const fresh = kernelOf();
      fresh.add({
        operations: [
          { key: { name: 'few' }, delta: 0n },
          { key: { name: 'a' }, delta: 0n },
        ],
      });
      const name = items > 3 ? 'a' : 'few';
      const within = items > 3 ? DAY : 10 * SECOND;
      const old = kernelOf();
      once(old, name, range(0, items - 1), START + 1); // kept from second 1 of a clock of 1 ms
      fresh.partition.startClock(1);
      const [part] = [...old.partition.countedOnce()];
      const body = new ByteWriter();
      writeNameKey(body, name);
      body.u64(0n); // a clock that is a second behind
      body.bytes(part?.items ?? new Uint8Array());
      expect(fresh.call(Kind.KEEP, 0, NOBODY, START, body.copy())).toBe(OK);
      once(fresh, name, [items], START); // kept from second 1, those before it from second 2
      const now = pass(fresh, START, within + 1_100);
      once(fresh, name, [items], now);
      expect(once(fresh, name, range(0, items - 1), now).counted).not.toContain(true);
      const later = pass(fresh, now, 2 * SECOND);
      expect(once(fresh, name, range(0, items - 1), later).counted).not.toContain(false);
    }
  });

  test('go under no name that is not there, nor under a class that does not keep them, and by no other body', () => {
    const kernel = kernelOf();
    const bring = (name: string, more: Uint8Array) => {
      const body = new ByteWriter();
      writeNameKey(body, name);
      body.bytes(more);
      const status = kernel.call(Kind.KEEP, 0, NOBODY, START, body.copy());
      return status === OK ? kernel.partition.answer[0] : status;
    };
    kernel.add({ operations: [{ key: { name: 'plain' }, delta: 1n }] });
    expect(bring('nobody', new Uint8Array(20))).toBe(ABSENT);
    expect(bring('plain', new Uint8Array(20))).toBe(NOT_TRACKED);
    expect(bring('plain', new Uint8Array(21))).toBe(BAD_REQUEST);
    expect(bring('plain', new Uint8Array(7))).toBe(BAD_REQUEST);
    expect(kernel.partition.statistics).toMatchObject({ names: 1, tracks: 0 });
  });
});

test('A class that counts items once says for how long and how many, and one that does not says neither', () => {
  const kernel = new Kernel();
  const [good] = [encodeClasses([{ pattern: 'a', once: DAY, onceItems: 7 }])];
  const view = new DataView(good.buffer);
  expect([view.getUint32(0, true), view.getUint32(36, true), view.getBigInt64(40, true)]).toEqual([
    1024,
    7,
    BigInt(DAY),
  ]);
  const changed = (change: (view: DataView) => void) => {
    const body = good.slice();
    change(new DataView(body.buffer));
    return kernel.call(Kind.CLASSIFY, 0, NOBODY, START, body);
  };
  expect(changed((view) => view.setUint32(36, 0, true))).toBe(BAD_REQUEST);
  expect(changed((view) => view.setUint32(36, 1_000_001, true))).toBe(BAD_REQUEST);
  expect(changed((view) => view.setBigInt64(40, 0n, true))).toBe(BAD_REQUEST);
  expect(changed((view) => view.setBigInt64(40, -1n, true))).toBe(BAD_REQUEST);
  expect(changed((view) => view.setUint32(0, 0, true))).toBe(BAD_REQUEST);
  expect(changed((view) => view.setUint8(48, 1))).toBe(BAD_REQUEST);
  expect(changed(() => {})).toBe(OK);
});
