import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRings, Inlet, Outlet } from '../../src/lane/link.js';
import { createRing } from '../../src/lane/ring.js';
import { encodeFrame } from '../../src/protocol/frame.js';

const HEADER = 256;

/** Two lanes and a ring from one to the other, in one thread: a lane that is woken does its work when it is told to. */
class Pair {
  readonly outlet: Outlet;
  readonly inlet: Inlet;
  /** How often each was woken. */
  writerWoken = 0;
  readerWoken = 0;
  readonly got: string[] = [];
  readonly #chunk: Uint8Array;
  #next = 0;

  constructor(capacity: number, chunk = 64) {
    const ring = createRing(capacity);
    this.outlet = new Outlet(ring, () => this.readerWoken++);
    this.#chunk = new Uint8Array(chunk);
    this.inlet = new Inlet(ring, () => this.writerWoken++, this.#chunk);
  }

  /** Sends a message with a number of its own. */
  send(bytes: number): string {
    const id = this.#next++;
    const message = encodeFrame(4, 0, 0, id, new Uint8Array(bytes).fill(id));
    this.outlet.send(message);
    message.fill(0xee);
    return `${id}:${bytes}`;
  }

  /** Takes what is there, but so many messages at most. Then other rings use the chunk. */
  take(most = Number.POSITIVE_INFINITY): boolean {
    let left = most;
    const isBusy = this.inlet.take(
      ({ requestId, body }) => {
        left--;
        this.got.push(`${requestId}:${body.every((byte) => byte === requestId % 256) ? body.length : 'damaged'}`);
      },
      () => left === 0,
    );
    this.#chunk.fill(0xee);
    return isBusy;
  }
}

describe('Messages between two lanes', () => {
  test('arrive whole and in order, also those that are longer than the ring', () => {
    const pair = new Pair(128);
    const sent = [5, 2000, 0, 300, 100, 116].map((bytes) => pair.send(bytes));
    for (let turn = 0; turn < 100; turn++) {
      pair.take();
      pair.outlet.pump();
    }
    expect(pair.got).toEqual(sent);
    expect(pair.outlet.queuedBytes).toBe(0);
  });

  test('are handed out until the lane is held, and the rest comes later', () => {
    const pair = new Pair(4096, 4096);
    const sent = [1, 2, 3, 4].map((bytes) => pair.send(bytes));
    expect(pair.take(2)).toBe(true);
    expect(pair.got).toEqual(sent.slice(0, 2));
    expect(pair.inlet.sleeps()).toBe(false);
    pair.take(2);
    expect(pair.got).toEqual(sent);
    expect(pair.inlet.sleeps()).toBe(true);
  });

  test('are not handed out beyond the last of a piece while the lane is held', () => {
    const pair = new Pair(4096, 16);
    const sent = [4, 4, 4].map((bytes) => pair.send(bytes));
    pair.take(1);
    expect(pair.got).toEqual(sent.slice(0, 1));
  });

  test('wake a reader that sleeps once, and a writer once there is room', () => {
    const pair = new Pair(64);
    expect(pair.inlet.sleeps()).toBe(true);
    pair.send(0);
    pair.send(0);
    expect(pair.readerWoken).toBe(1);
    for (let i = 0; i < 10; i++) pair.send(0);
    expect(pair.outlet.queuedBytes).toBe(12 * 12 - 64);
    expect(pair.writerWoken).toBe(0);
    pair.take();
    expect(pair.writerWoken).toBe(1);
  });

  test('arrive as from a queue, whatever is sent, taken and pumped', () => {
    const step = fc.record({
      send: fc.array(fc.integer({ min: 0, max: 150 }), { maxLength: 4 }),
      pump: fc.boolean(),
      take: fc.integer({ min: 0, max: 6 }),
    });
    const capacities = fc.constantFrom(16, 64, 256);
    fc.assert(
      fc.property(capacities, fc.integer({ min: 1, max: 100 }), fc.array(step), (capacity, chunk, steps) => {
        const pair = new Pair(capacity, chunk);
        const sent: string[] = [];
        for (const { send, pump, take } of steps) {
          for (const bytes of send) sent.push(pair.send(bytes));
          if (pump) pair.outlet.pump();
          if (take > 0) pair.take(take);
          expect(pair.got).toEqual(sent.slice(0, pair.got.length));
        }
        // Whoever sleeps from here on is woken while there is work
        pair.readerWoken = 1;
        pair.writerWoken = 1;
        while (pair.readerWoken > 0 || pair.writerWoken > 0) {
          if (pair.writerWoken > 0) pair.outlet.pump();
          pair.writerWoken = 0;
          pair.readerWoken = 0;
          while (pair.take() || !pair.inlet.sleeps());
        }
        expect(pair.got).toEqual(sent);
      }),
      { numRuns: 300 },
    );
  });
});

describe('The rings between lanes', () => {
  test('lead from each lane to each other one, and stay within what all may take', () => {
    for (const lanes of [1, 2, 8, 64]) {
      const rings = createRings(lanes);
      const all = rings.flat().filter((pair) => pair !== undefined);
      const buffers = new Set(all.flatMap(({ requests, answers }) => [requests, answers]));
      expect(buffers.size).toBe(2 * lanes * (lanes - 1));
      expect(rings.every((row, from) => row[from] === undefined)).toBe(true);
      const capacities = [...buffers].map(({ byteLength }) => byteLength - HEADER);
      for (const capacity of capacities) expect(Number.isInteger(Math.log2(capacity))).toBe(true);
      expect(capacities.reduce((sum, capacity) => sum + capacity, 0)).toBeLessThanOrEqual(256 * 2 ** 20);
    }
  });
});
