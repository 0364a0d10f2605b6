import { describe, expect, test } from 'vitest';
import { Flag } from '../../src/protocol/opcode.js';
import { FLUSH_MILLISECONDS } from '../log/lane-bench.js';
import { EPOCH, LaneHarness, namesOf, type TestClient } from './lane-harness.js';

/** Durable reads while others write: who asks for what is flushed does not wait for their groups. */

const [QUIET, BUSY, NEW] = namesOf(0, 3) as [string, string, string];

function add(client: TestClient, name: string, flags: number = Flag.APPLIED): number {
  return client.add(0, { operations: [{ key: { name }, delta: 1n }] }, flags);
}

/** A lane that has been asked before, and long enough ago: some counters, all flushed, and nothing on its way. */
async function started(): Promise<{ harness: LaneHarness; client: TestClient; sequence: () => number }> {
  const harness = await LaneHarness.start();
  const client = await harness.client();
  for (const name of [QUIET, BUSY]) add(client, name);
  client.get(0, [QUIET]);
  await harness.flush();
  await groups(harness, client, 2);
  return { harness, client, sequence: () => harness.partitions.get(0)?.sequence ?? 0 };
}

/** Some groups, one after the other, that change the busy counter. */
async function groups(harness: LaneHarness, client: TestClient, count: number): Promise<void> {
  for (let group = 0; group < count; group++) {
    add(client, BUSY);
    await harness.flush();
  }
}

describe('A durable read, while a group is on its way', () => {
  test('of counters that no such group touches is answered at once, as of what is flushed; of one that it touches it waits', async () => {
    const { harness, client, sequence } = await started();
    const flushed = sequence();
    add(client, BUSY);
    await harness.pass(0); // it is sealed
    const reads = [[QUIET], [BUSY], [QUIET, BUSY]].map((names) => client.get(0, names));
    await harness.pass(0);
    expect(reads.map((id) => client.isAnswered(id))).toEqual([true, false, false]);
    expect(client.progressOf(reads[0] as number)).toEqual({ position: flushed, flushed });
    await harness.flush();
    expect(reads.map((id) => client.got(id))).toEqual([[1n], [4n], [1n, 4n]]);
    expect(client.progressOf(reads[1] as number)).toEqual({ position: flushed + 1, flushed: flushed + 1 });
  });

  test('waits for one that the group that collects touches, and not for one of the group before when that is flushed', async () => {
    const { harness, client } = await started();
    add(client, BUSY);
    await harness.pass(0);
    add(client, QUIET);
    const both = [BUSY, QUIET].map((name) => client.get(0, [name]));
    await harness.pass(FLUSH_MILLISECONDS); // the first group is flushed, the other one sealed
    expect(both.map((id) => client.isAnswered(id))).toEqual([false, false]);
    const busy = client.get(0, [BUSY]);
    await harness.pass(0);
    expect([client.isAnswered(busy), client.isAnswered(both[1] as number)]).toEqual([true, false]);
    await harness.flush();
    expect(both.map((id) => client.got(id))).toEqual([[4n], [2n]]);
  });

  test('waits where the counter is not there: it may have been deleted, or be new', async () => {
    const { harness, client } = await started();
    add(client, BUSY);
    await harness.pass(0);
    client.delete(0, { key: { name: QUIET }, reason: 'test' }, Flag.APPLIED);
    const [deleted, absent] = [client.get(0, [QUIET]), client.get(0, [NEW])];
    await harness.pass(0);
    expect([deleted, absent].map((id) => client.isAnswered(id))).toEqual([false, false]);
    await harness.flush();
    expect([deleted, absent].map((id) => client.got(id))).toEqual([[undefined], [undefined]]);
  });

  test('after a position waits until that is flushed', async () => {
    const { harness, client, sequence } = await started();
    add(client, BUSY);
    await harness.pass(0);
    const [before, now] = [sequence() - 1, sequence()].map((at) =>
      client.get(0, [QUIET], 0, { epoch: EPOCH, sequence: at }),
    ) as [number, number];
    await harness.pass(0);
    expect([before, now].map((id) => client.isAnswered(id))).toEqual([true, false]);
    await harness.flush();
    expect(client.got(now)).toEqual([1n]);
  });

  test('is refused when storage has failed', async () => {
    const { harness, client } = await started();
    add(client, BUSY);
    await harness.pass(0);
    harness.poisoned = true;
    const read = client.get(0, [QUIET]);
    await harness.pass(0);
    expect(client.refusal(read)).toContain('STORAGE_FAILED');
  });

  test('waits where nobody has asked for 1,024 groups, as the first one did, and those after it do not', async () => {
    const { harness, client } = await started();
    const isAtOnce = async () => {
      add(client, BUSY);
      await harness.pass(0);
      const read = client.get(0, [QUIET]);
      await harness.pass(0);
      const isAnswered = client.isAnswered(read);
      await harness.flush();
      return isAnswered;
    };
    expect(await isAtOnce()).toBe(true);
    await groups(harness, client, 1_024);
    expect(harness.partitions.get(0)?.dirty.isKept).toBe(true);
    await groups(harness, client, 1);
    expect(harness.partitions.get(0)?.dirty.isKept).toBe(false);
    const seen: boolean[] = [];
    for (let group = 0; group < 4; group++) seen.push(await isAtOnce());
    expect(seen).toEqual([false, false, true, true]);
  });

  test('begins anew in memory that is new', async () => {
    const { harness, client } = await started();
    const partition = harness.partitions.get(0);
    const names = namesOf(0, 3_000);
    client.add(0, { operations: names.map((name) => ({ key: { name }, delta: 1n })) });
    await harness.flush();
    partition?.renewMemory();
    expect(partition?.dirty.isKept).toBe(false);
    add(client, BUSY);
    await harness.pass(0);
    const read = client.get(0, [QUIET]);
    await harness.pass(0);
    expect(client.isAnswered(read)).toBe(false);
    await harness.flush();
    expect(client.got(read)).toEqual([2n]);
  });
});
