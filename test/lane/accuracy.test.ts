import { expect, test } from 'vitest';
import { Flag } from '../../src/protocol/opcode.js';
import { LaneHarness, NAME } from './lane-harness.js';

const CLASSES = [{ pattern: NAME[0], accuracy: 'strict' as const, once: 60_000, onceItems: 9 }];

test('a change of a strict counter is answered when it is flushed, whatever was asked for; its repeat too', async () => {
  const harness = await LaneHarness.start({ classes: CLASSES });
  const client = await harness.client({ producer: { name: 'p' } });
  const flags = Flag.VALUES | Flag.APPLIED;
  const strict = client.numbered(0, 1, 1n, flags);
  const other = client.numbered(1, 1, 1n, flags);
  const repeat = client.numbered(0, 1, 1n, flags);
  await harness.pass(0);
  expect([strict, other, repeat].map((id) => client.isAnswered(id))).toEqual([false, true, false]);
  await harness.flush();
  expect([strict, other, repeat].map((id) => client.added(id).values)).toEqual([[1n], [1n], [1n]]);
});

test('so is a SET and a DELETE of one, and a batch with one among others', async () => {
  const harness = await LaneHarness.start({ classes: CLASSES });
  const client = await harness.client();
  const ids = [
    client.set(0, { value: 5n, reason: 'r' }, Flag.APPLIED),
    client.delete(0, { reason: 'r' }, Flag.APPLIED),
    client.add(0, { operations: [NAME[0]].map((name) => ({ key: { name }, delta: 1n })) }, Flag.APPLIED),
    client.once(0, 1, Flag.APPLIED),
    client.expire(0, { in: 5 }, Flag.APPLIED),
  ];
  await harness.pass(0);
  expect(ids.map((id) => client.isAnswered(id))).toEqual([false, false, false, false, false]);
  await harness.flush();
  expect(ids.map((id) => client.isAnswered(id))).toEqual([true, true, true, true, true]);
});
