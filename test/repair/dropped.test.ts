import { expect, test } from 'vitest';
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
  dropped.take({
    partition: 0,
    kind: Opcode.ONCE,
    flags: Flag.SEQUENCED,
    sequence: 9,
    producer: 3,
    incarnation: 1,
    milliseconds: START,
    body,
  });
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
