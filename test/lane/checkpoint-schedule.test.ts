import { describe, expect, test } from 'vitest';
import type { Probe } from '../../src/lane/checkpoint-messages.js';
import { Flag } from '../../src/protocol/opcode.js';
import { FLUSH_MILLISECONDS } from '../log/lane-bench.js';
import { HostHarness, TAIL_BYTES, write, writeBytes } from './host-harness.js';
import { NAME } from './lane-harness.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** Long enough for any checkpoint here. */
const settle = (harness: HostHarness) => harness.pass(SECOND);

const tailOf = (harness: HostHarness) => harness.host.describe().checkpoints as { tailBytes: number; bound: string };

describe('A lane', () => {
  test('makes checkpoints as its log grows, of the oldest partition first', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    await writeBytes(harness, client, TAIL_BYTES / 8);
    expect(harness.orders).toEqual([]);
    await writeBytes(harness, client, 2 * TAIL_BYTES);
    await settle(harness);
    expect(harness.orders.slice(0, 4)).toEqual([0, 1, 0, 1]);
    expect(harness.heard.filter(({ kind }) => kind === 'made').length).toBe(harness.orders.length);
    expect(tailOf(harness).tailBytes).toBeLessThan(TAIL_BYTES / 2 + 4_000);
  });

  test('recovers from them and the log behind them to what it was, byte for byte', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    for (const partition of [0, 1, 0]) {
      await writeBytes(harness, client, TAIL_BYTES, partition);
      await settle(harness);
      const { partitions } = await harness.stats();
      harness.crash(false);
      await harness.open();
      await harness.pass(20); // for a look at all values
      expect((await harness.stats()).partitions).toEqual(partitions);
      expect(harness.host.recovery.entries).toBeLessThan(TAIL_BYTES / 2_000);
    }
    expect(harness.failures).toEqual([]);
  });

  test('releases the log up to the oldest checkpoint, each time that this has moved', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    await writeBytes(harness, client, 3 * TAIL_BYTES);
    await settle(harness);
    const places = harness.heard.flatMap((message) => (message.kind === 'made' ? [message.checkpoint] : []));
    const expected: number[] = [];
    const records = [0, 0];
    for (const { partition, place } of places) {
      records[partition] = place.records;
      const oldest = Math.min(...records);
      if (oldest > (expected.at(-1) ?? 0)) expected.push(oldest);
    }
    expect(expected.length).toBeGreaterThan(3);
    expect(harness.released).toEqual(expected);
  });

  test('releases nothing before the manifest is on the disk', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    const before = new Map<number, number>();
    harness.log.release = async (records) => {
      for (const partition of [0, 1]) {
        expect(harness.checkpoints.manifest(partition)?.place.records).toBeGreaterThanOrEqual(records);
      }
      before.set(records, records);
    };
    await writeBytes(harness, client, 2 * TAIL_BYTES);
    await settle(harness);
    expect(before.size).toBeGreaterThan(2);
  });

  test('with a long tail after a crash makes checkpoints at once', async () => {
    const harness = await HostHarness.start();
    harness.intercept = (message) => (message.kind === 'checkpoint' ? undefined : message);
    const client = await harness.client();
    await writeBytes(harness, client, TAIL_BYTES * 0.9);
    harness.crash(false);
    harness.intercept = (message) => message;
    harness.told.length = 0;
    await harness.open();
    await settle(harness);
    expect(harness.orders).toEqual([0, 1]);
    expect(tailOf(harness).tailBytes).toBeLessThan(1_000);
  });

  test('starts its checkpointer with the first checkpoint, and ends without one before', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    await writeBytes(harness, client, TAIL_BYTES / 8);
    expect(harness.checkpointers).toBe(0);
    await harness.host.drain();
    harness.crash(true);
    await harness.open();
    await writeBytes(harness, await harness.client(), 2 * TAIL_BYTES);
    await settle(harness);
    expect(harness.orders.length).toBeGreaterThan(1);
    expect(harness.checkpointers).toBe(1);
    expect(harness.failures).toEqual([]);
  });

  test('that is quiet makes them after some minutes where the tail is worth it, and none where it is not', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    await harness.idle(7 * MINUTE);
    expect(harness.orders).toEqual([]);
    await writeBytes(harness, client, TAIL_BYTES / 16);
    await harness.idle(2 * MINUTE);
    expect(harness.orders).toEqual([0]);
    await harness.idle(18 * MINUTE);
    const { length } = harness.orders;
    expect(length).toBeLessThanOrEqual(4);
    expect(tailOf(harness).tailBytes).toBeLessThan(TAIL_BYTES / 64);
    await harness.idle(20 * MINUTE);
    expect(harness.orders.length).toBe(length);
  });

  test('that ends lets the checkpointer finish its transaction, and orders no more', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    await writeBytes(harness, client, TAIL_BYTES);
    const drained = harness.host.drain();
    await settle(harness);
    await drained;
    expect(harness.heard.at(-1)).toEqual({ kind: 'stopped' });
    const said = harness.told.length;
    await harness.idle(10 * MINUTE);
    expect(harness.told.length).toBe(said);
    expect(harness.failures).toEqual([]);
  });

  test('tells in STATS what it has', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    expect((await harness.stats()).partitions[0]).toMatchObject({ checkpointSequence: 0, checkpointSeconds: null });
    await writeBytes(harness, client, TAIL_BYTES);
    await harness.pass(10 * SECOND);
    const { partitions, checkpoints } = await harness.stats();
    const { place } = harness.checkpoints.manifest(0) ?? { place: { sequence: -1 } };
    expect(partitions[0]).toMatchObject({ checkpointSequence: place.sequence, checkpointBytes: 6 * 65_536 });
    expect(partitions[0]?.checkpointSeconds).toBeGreaterThan(5);
    expect(checkpoints).toMatchObject({ tailLimit: TAIL_BYTES, state: 'idle', bound: 'open' });
    const { made, pagesWritten, probesCompared } = checkpoints as Record<string, number>;
    expect(made).toBe(harness.orders.length);
    expect(probesCompared).toBe(made);
    expect(pagesWritten).toBeGreaterThan(2 * 3);
  });
});

describe('The tail of the log', () => {
  /** A lane whose checkpointer gets no message. */
  const stalled = async () => {
    const harness = await HostHarness.start();
    harness.intercept = () => undefined;
    const client = await harness.client();
    const answered = await writeBytes(harness, client, TAIL_BYTES + 4_000);
    return { harness, client, answered };
  };

  test('at its bound holds the lane: no request is taken, and none is lost', async () => {
    const { harness, client } = await stalled();
    const { tailBytes } = tailOf(harness);
    expect(tailBytes).toBeGreaterThanOrEqual(TAIL_BYTES);
    expect(client.transport.isPaused).toBe(true);
    const held = [write(client, 0), write(client, 1)];
    await harness.idle(MINUTE);
    expect(held.map((id) => client.isAnswered(id))).toEqual([false, false]);
    expect(tailOf(harness).tailBytes).toBe(tailBytes);
    // The order that was lost comes through.
    harness.intercept = (message) => message;
    harness.replay();
    await settle(harness);
    expect(client.transport.isPaused).toBe(false);
    client.transport.deliver();
    await settle(harness);
    expect(held.map((id) => client.isAnswered(id))).toEqual([true, true]);
    expect(tailOf(harness).bound).toBe('open');
    expect(harness.failures).toEqual([]);
  });

  test('never goes further past it than what the lane had taken already', async () => {
    const { harness, client, answered } = await stalled();
    expect(answered.length).toBe(35);
    const taken = answered.filter((id) => client.isAnswered(id)).length;
    expect(taken).toBeLessThan(35);
    expect(tailOf(harness).tailBytes).toBeLessThan(TAIL_BYTES + 3_000);
  });

  test('that cannot be shortened for lack of room refuses writes, and reads go on until there is room', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    harness.checkpoints.script.push(...Array.from({ length: 50 }, () => ({ kind: 'full' as const })));
    const ids = await writeBytes(harness, client, TAIL_BYTES + 8_000);
    await settle(harness);
    const late = write(client, 0);
    const read = client.get(0, [NAME[0]], Flag.LATEST);
    await harness.pass(FLUSH_MILLISECONDS);
    expect(client.refusal(late)).toBe('STORAGE_FULL refused');
    expect(client.isAnswered(read)).toBe(true);
    expect(tailOf(harness).bound).toBe('refusing');
    // What it had taken was flushed and acknowledged.
    expect(client.refusal(ids[0] as number)).toBe('none');
    harness.checkpoints.script.length = 0;
    await harness.idle(20 * SECOND);
    const next = write(client, 0);
    await harness.pass(2 * FLUSH_MILLISECONDS);
    expect(client.refusal(next)).toBe('none');
    expect(tailOf(harness).bound).toBe('open');
    expect(harness.failures).toEqual([]);
  });
});

describe('Probes', () => {
  test('are taken one at a time, at least 4 ms apart, and cover the state', async () => {
    const harness = await HostHarness.start();
    const client = await harness.client();
    for (let batch = 0; batch < 30; batch++) {
      const operations = Array.from({ length: 2_000 }, (_, i) => ({
        key: { name: `{${NAME[0]}}${batch}/${i}` },
        delta: 1n,
      }));
      client.add(0, { operations });
      await harness.pass(FLUSH_MILLISECONDS + 1);
    }
    await settle(harness);
    const probes = harness.told.flatMap((message) => (message.kind === 'checkpoint' ? [message.order.probes] : []));
    const longest = probes.reduce((a, b) => (a.length > b.length ? a : b)) as Probe[];
    expect(longest.length).toBeGreaterThan(2);
    let next = 0;
    for (const { first, count } of longest) {
      expect(first).toBe(next);
      expect(count).toBeLessThanOrEqual(16);
      next += count;
    }
    expect(harness.failures).toEqual([]);
  });

  test('that do not match what the log gives stop the lane, and no checkpoint is written', async () => {
    const harness = await HostHarness.start();
    harness.intercept = (message) => {
      if (message.kind !== 'checkpoint') return message;
      const probes = message.order.probes.map((probe) => ({ ...probe, hash: probe.hash ^ 1n }));
      return { ...message, order: { ...message.order, probes } };
    };
    const client = await harness.client();
    await writeBytes(harness, client, TAIL_BYTES);
    const late = write(client, 0);
    await settle(harness);
    expect(harness.failures[0]).toMatchObject({ code: 'STATE_DIVERGED' });
    expect(harness.failures[0]?.message).toMatch(/Partition 0 at sequence \d+: pages 0 to \d differ/);
    expect(harness.checkpointDisk.manifests.size).toBe(0);
    expect(client.refusal(late)).toBe('STORAGE_FAILED refused');
    expect(harness.released).toEqual([]);
  });
});

test('a checkpoint that could not be flushed stops the lane', async () => {
  const harness = await HostHarness.start();
  harness.checkpoints.script.push(undefined, { kind: 'failed', stored: true });
  const client = await harness.client();
  await writeBytes(harness, client, TAIL_BYTES);
  await settle(harness);
  expect(harness.failures[0]).toMatchObject({ code: 'STORAGE_FAILED' });
});
