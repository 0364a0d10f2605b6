import { beforeEach, describe, expect, test } from 'vitest';
import { Quiet } from '../../src/lane/quiet.js';
import { ManualClock } from '../support/manual-clock.js';
import { HostHarness, write } from './host-harness.js';
import { namesOf, PARTITIONS, pass, type TestClient } from './lane-harness.js';

const LOAD = 8 * 1_048_576;
const LITTLE = 65_536;

describe('A lane that was under load', () => {
  let clock: ManualClock;
  let bytes: number;
  /** When memory was given back. */
  let releases: number[];
  let quiet: Quiet;

  beforeEach(() => {
    clock = new ManualClock();
    bytes = 1_000;
    releases = [];
    quiet = new Quiet({ clock, bytes: () => bytes, release: () => releases.push(clock.monotonicMilliseconds()) });
  });

  /** That many bytes in each of so many steps of 100 ms. */
  function work(each: number, steps: number): void {
    for (let step = 0; step < steps; step++) {
      bytes += each;
      quiet.worked();
      clock.advance(100);
    }
  }

  test('gives memory back ten seconds after its start, and six later', () => {
    clock.advance(9_999);
    expect(releases).toEqual([]);
    clock.advance(60_000);
    expect(releases).toEqual([10_000, 16_000]);
    expect(clock.pendingTimers).toBe(0);
  });

  test('does so again when as much has come as is worth it, and not while more comes', () => {
    clock.advance(60_000);
    releases.length = 0;
    work(LOAD / 30, 30);
    expect(releases).toEqual([]);
    clock.advance(60_000);
    expect(releases).toEqual([80_000, 86_000]);
    expect(clock.pendingTimers).toBe(0);
  });

  test('does nothing for little, however long that comes, until it has become much', () => {
    clock.advance(60_000);
    releases.length = 0;
    for (let second = 1; second < LOAD / LITTLE; second++) work(LITTLE / 10, 10);
    expect(releases).toEqual([]);
    work(LITTLE / 10, 60);
    expect(releases.length).toBe(1);
  });

  test('waits the second time, too, until it is quiet', () => {
    clock.advance(60_000);
    releases.length = 0;
    work(LOAD, 1);
    clock.advance(12_000);
    expect(releases.length).toBe(1);
    work(LITTLE, 70);
    clock.advance(60_000);
    expect(releases.length).toBe(1);
    work(LOAD, 1);
    clock.advance(60_000);
    expect(releases.length).toBe(3);
  });

  test('does nothing any more when it is stopped', () => {
    quiet.stop();
    work(LOAD, 1);
    clock.advance(60_000);
    expect([releases, clock.pendingTimers]).toEqual([[], 0]);
  });
});

describe('A host', () => {
  const groupsOf = (harness: HostHarness) => (harness.host.describe().memory as Record<string, number>)['groups'];

  async function load(harness: HostHarness, client: TestClient): Promise<void> {
    for (let from = harness.host.describe().bytesIn as number; ; ) {
      for (let i = 0; i < 50; i++) write(client, i % 2);
      await harness.pass(10);
      if ((harness.host.describe().bytesIn as number) - from > LOAD) return;
    }
  }

  test('has the memory of groups only under load, and goes on as before', async () => {
    const harness = await HostHarness.start();
    await harness.idle(30_000);
    expect([groupsOf(harness), harness.collections]).toEqual([0, 2]);
    const client = await harness.client();
    await load(harness, client);
    expect([groupsOf(harness), harness.collections]).toEqual([2 * 4 * 1_048_576, 2]);
    await harness.idle(30_000);
    expect([groupsOf(harness), harness.collections]).toEqual([0, 4]);
    const id = client.add(0, {});
    await pass(harness.clock, 20);
    expect(client.answerOf(id)).toBeDefined();
    expect(groupsOf(harness)).toBeGreaterThan(0);
  }, 60_000);

  /** The memory of each kernel, which a body touches in both that is long enough to be worth it. */
  async function touched(harness: HostHarness): Promise<() => unknown[]> {
    const client = await harness.client();
    for (const partition of PARTITIONS) {
      const operations = namesOf(partition, 2_500).map((name) => ({ key: { name }, delta: 1n }));
      client.add(partition, { operations });
    }
    await harness.pass(20);
    return () => [...harness.host.partitions.values()].map(({ marks }) => marks.words.buffer);
  }
  const hashesOf = async (harness: HostHarness) =>
    (await harness.stats()).partitions.map(({ stateHash, counters }) => [stateHash, counters]);

  test('has its kernels go on in new memory, once, with all that they had', async () => {
    const harness = await HostHarness.start();
    const memories = await touched(harness);
    const [before, hashes] = [memories(), await hashesOf(harness)];
    await harness.idle(9_000);
    expect(memories().every((memory, i) => memory === before[i])).toBe(true);
    await harness.idle(3_000);
    const after = memories();
    expect(after.some((memory, i) => memory === before[i])).toBe(false);
    expect(await hashesOf(harness)).toEqual(hashes);
    await harness.idle(60_000);
    expect(memories().every((memory, i) => memory === after[i])).toBe(true);
    const client = await harness.client();
    const id = write(client, 0);
    await harness.pass(20);
    expect(client.answerOf(id)).toBeDefined();
    expect(harness.failures).toEqual([]);
  });

  test('that drains has no timer left for it, nor is in the midst of it', async () => {
    const harness = await HostHarness.start();
    const memories = await touched(harness);
    const before = memories();
    const renewed = () => memories().filter((memory, i) => memory !== before[i]).length;
    for (let passed = 0; passed < 20_000 && renewed() === 0; passed++) harness.clock.advance(1);
    await harness.host.drain();
    await harness.idle(30_000);
    expect([renewed(), harness.collections]).toEqual([1, 0]);
  });
});
