import { expect, test } from 'vitest';
import type { LogEntry } from '../../src/log/record.js';
import { Kind } from '../../src/partition/partition.js';
import { encodeExpire } from '../../src/protocol/expiry.js';
import { encodeOnce } from '../../src/protocol/once.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { DroppedEntries } from '../../src/repair/dropped.js';
import { bodyOf, Kernel, START } from '../kernel/fixture.js';

test('what items would have added, had they counted, is told with their batches', () => {
  const dropped = new DroppedEntries(new Kernel().partition);
  const item = Uint8Array.of(1);
  const body = bodyOf(encodeOnce, {
    sequence: { sequence: 5, unanswered: 0 },
    operations: [
      { key: { name: 'a' }, item },
      { key: { name: 'a' }, item, delta: 4n, within: 0 },
      { key: { name: 'b' }, item },
    ],
  });
  dropped.take(entryOf(Opcode.ONCE, 9, body));
  expect(dropped.summary(9, 9)).toEqual({
    from: 9,
    through: 9,
    readable: 1,
    times: [START, START],
    counters: [
      { name: 'a', delta: 5n, operations: 2 },
      { name: 'b', delta: 1n, operations: 1 },
    ],
    producers: [{ producer: 3, batches: 1, sequences: [5, 5] }],
  });
});

test('a counter whose end was set is told, with its batch', () => {
  const dropped = new DroppedEntries(new Kernel().partition);
  const sequence = { sequence: 6, unanswered: 0 };
  dropped.take(entryOf(Opcode.EXPIRE, 9, bodyOf(encodeExpire, { sequence, key: { name: 'cart' }, expiry: { in: 5 } })));
  dropped.take(entryOf(Kind.TICK, 10, new Uint8Array(0)));
  expect(dropped.summary(9, 10)).toMatchObject({
    readable: 2,
    counters: [{ name: 'cart', delta: 0n, operations: 1 }],
    producers: [{ producer: 3, batches: 1, sequences: [6, 6] }],
  });
});

function entryOf(kind: number, sequence: number, body: Uint8Array): LogEntry {
  const flags = kind === Kind.TICK ? 0 : Flag.SEQUENCED;
  return { partition: 0, kind, flags, sequence, producer: 3, incarnation: 1, milliseconds: START, body };
}
