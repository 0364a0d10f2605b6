import { describe, expect, test } from 'vitest';
import { Inlet, Outlet } from '../../src/lane/link.js';
import { createRing } from '../../src/lane/ring.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { type Explored, explore, type World } from './interleavings.js';

const WRITER = 0;
const READER = 1;

const message = (id: number, bytes: number) => encodeFrame(4, 0, 0, id, new Uint8Array(bytes).fill(id));

/** A lane that sends the messages and one that takes them, each asleep where it has nothing to do. */
function converse(capacity: number, messages: readonly Uint8Array[]): Explored & { readonly received: Set<string> } {
  const memory = createRing(capacity);
  let got: string[] = [];
  const received = new Set<string>();
  const writer = (world: World) => {
    const outlet = new Outlet(memory, () => world.wake(READER));
    for (const bytes of messages) outlet.send(bytes);
    while (outlet.queuedBytes > 0) {
      world.sleep();
      outlet.pump();
    }
  };
  const reader = (world: World) => {
    got = [];
    const inlet = new Inlet(memory, () => world.wake(WRITER), new Uint8Array(64));
    while (got.length < messages.length) {
      const isBusy = inlet.take(({ requestId, body }) => got.push(`${requestId}:${body.join('')}`));
      if (!isBusy && inlet.sleeps()) world.sleep();
    }
  };
  const atEnd = () => received.add(got.join(' '));
  return { ...explore({ memory, bytesAt: 256, programs: [writer, reader], atEnd }), received };
}

describe('In every order in which two lanes can take their steps', () => {
  test.each([
    ['room for all', 64, [message(1, 0), message(2, 1)]],
    ['room for one', 16, [message(1, 1), message(2, 2)]],
    ['room for less than one', 8, [message(1, 2)]],
  ] as const)('every message arrives, once, whole and in order, and nobody sleeps on: %s', (_, capacity, messages) => {
    const { received, situations, ends } = converse(capacity, messages);
    const all = messages.map((bytes, i) => `${i + 1}:${String(i + 1).repeat(bytes.length - 12)}`);
    expect([...received]).toEqual([all.join(' ')]);
    expect(situations).toBeGreaterThan(100);
    expect(ends).toBeGreaterThan(1);
  });
});
