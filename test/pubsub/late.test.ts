import { describe, expect, it } from 'vitest';
import { EPOCH, LaneHarness, namesOf, type TestClient } from '../lane/lane-harness.js';
import { nothingFound } from '../lane/replaying.js';
import { framesOfFeed, tail, tailNames, tailPrefix, taken, told } from './follower.js';

/** Readers that come back late: what has changed since is found in the log, or they are told to begin anew. */

const [A, B, C] = namesOf(0, 3) as [string, string, string];
const PATIENCE = 10_000;

const increments = (names: readonly string[]) => ({ operations: names.map((name) => ({ key: { name }, delta: 1n })) });

/** A lane that was written to, and started anew after that; the position of the first write. */
async function restarted(): Promise<{
  harness: LaneHarness;
  client: TestClient;
  after: { epoch: number; sequence: number };
}> {
  const harness = await LaneHarness.start();
  const client = await harness.client();
  const first = client.add(0, increments([A, B]));
  await harness.flush();
  const sequence = client.added(first).position as number;
  client.add(0, increments([A, C]));
  client.delete(0, { key: { name: B }, reason: 'r' });
  await harness.flush();
  harness.crash(false);
  await harness.recover();
  return { harness, client: await harness.client(), after: { epoch: EPOCH, sequence } };
}

describe('A reader that comes back after a restart', () => {
  it('is told what has become of its names since, and goes on', async () => {
    const { harness, client, after } = await restarted();
    const feed = tailNames(client, 0, [A, B, C], { after });
    client.add(0, increments([A]));
    await harness.flush();
    client.add(0, increments([C]));
    await harness.flush();
    const frames = told(client, feed);
    expect(frames[0]).toMatch(/^[^[]/);
    expect(frames.join(' ')).toBe(`${A}=3(2) ${B} gone(-1) ${C}=1(1). ${C}=2(1).`);
  });

  it('is told the same of a prefix, and nothing of what is as it was', async () => {
    const { harness, client, after } = await restarted();
    const feed = tailPrefix(client, 0, '', { after });
    await harness.flush();
    client.add(0, increments([C]));
    await harness.flush();
    expect(told(client, feed).join(' ')).toBe(`${A}=2(1) ${C}=1(1) ${B} gone(-1). ${C}=2(1).`);
    const now = { epoch: EPOCH, sequence: framesOfFeed(client, feed).at(-1)?.position as number };
    const same = tailPrefix(client, 0, 'name', { after: now });
    await harness.flush();
    expect(told(client, same)).toEqual(['.']);
  });

  it('gets nothing before that is found, whatever is said meanwhile, and ends when it wants', async () => {
    const { harness, client, after } = await restarted();
    const find = harness.startReplayer;
    const found: (() => void)[] = [];
    harness.startReplayer = (order, hear) => {
      found.push(() => find(order, hear));
      return () => {};
    };
    const names = tailNames(client, 0, [A], { after });
    const prefix = tailPrefix(client, 0, '', { after });
    const gone = tailNames(client, 0, [A], { after });
    await harness.flush();
    for (const feed of [names, prefix, gone]) taken(client, 0, feed);
    tail(client, 0, { kind: 'end', feed: gone });
    client.add(0, increments([A]));
    await harness.flush();
    expect([names, prefix].map((feed) => told(client, feed))).toEqual([[], []]);
    for (const find of found) find();
    await harness.flush();
    expect(told(client, names)).toEqual([`${A}=3(2).`]);
    expect(told(client, prefix).join(' ')).toBe(`${A}=3(2) ${C}=1(1) ${B} gone(-1).`);
    expect(told(client, gone)).toEqual(['']);
  });

  it('waits without a gap for whoever comes back meanwhile to where it began to', async () => {
    const { harness, client, after } = await restarted();
    harness.startReplayer = () => () => {};
    const late = tailNames(client, 0, [A], { after });
    await harness.flush();
    const sequence = harness.partitions.get(0)?.sequence as number;
    client.add(0, increments([A]));
    await harness.flush();
    const second = tailNames(client, 0, [A], { after: { epoch: EPOCH, sequence } });
    await harness.flush();
    expect([late, second].map((feed) => told(client, feed))).toEqual([[], [`${A}=3(1).`]]);
  });

  it('adds up to what there is where much is written, and comes and goes, meanwhile', async () => {
    const harness = await LaneHarness.start();
    const writer = await harness.client();
    const names = namesOf(0, 3_000);
    const first = writer.add(0, increments(names));
    await harness.flush();
    const after = { epoch: EPOCH, sequence: writer.added(first).position as number };
    harness.crash(false);
    await harness.recover();
    const client = await harness.client();
    const values = new Map(names.map((name) => [name, 1n]));
    const feed = tailPrefix(client, 0, '', { after });
    for (let i = 0; i < 200; i++) {
      client.delete(0, { key: { name: names[2_999 - i] as string }, reason: 'r' });
      client.delete(0, { key: { name: names[i] as string }, reason: 'r' });
      client.add(0, increments([names[2_999 - i] as string, names[1_500 + i] as string]));
      taken(client, 0, feed);
      await harness.pass(1);
    }
    await harness.flush();
    const frames = framesOfFeed(client, feed);
    expect(frames.some(({ begins }) => begins)).toBe(false);
    for (const each of frames.flatMap((frame) => frame.told)) {
      if (!('delta' in each)) throw new Error(`${each.name} is told as ${each.kind}.`);
      const value = (values.get(each.name) ?? 0n) + each.delta;
      if (each.kind === 'change') expect([each.name, value]).toEqual([each.name, each.value]);
      if (each.kind === 'change') values.set(each.name, value);
      else values.delete(each.name);
    }
    const id = client.get(0, names);
    await harness.flush();
    expect(names.map((name) => values.get(name))).toEqual(client.got(id));
  });

  const beginsAnew = [`[${A}=2 ${B} absent.`, `[${A}=2 ${C}=1.`];

  it('begins anew where the log does not reach so far', async () => {
    const { harness, client, after } = await restarted();
    harness.startReplayer = nothingFound(harness.clock);
    const feeds = [tailNames(client, 0, [A, B], { after }), tailPrefix(client, 0, '', { after })];
    await harness.flush();
    expect(feeds.map((feed) => told(client, feed).join(''))).toEqual(beginsAnew);
  });

  it('begins anew where that takes too long, and then is told nothing twice', async () => {
    const { harness, client, after } = await restarted();
    const find = harness.startReplayer;
    let finish = () => {};
    harness.startReplayer = (order, hear) => {
      finish = () => void find(order, hear);
      return () => {};
    };
    const feeds = [tailNames(client, 0, [A, B], { after }), tailPrefix(client, 0, '', { after })];
    await harness.flush();
    harness.clock.advance(PATIENCE);
    await harness.flush();
    expect(feeds.map((feed) => told(client, feed).join(''))).toEqual(beginsAnew);
    finish();
    await harness.flush();
    expect(feeds.map((feed) => told(client, feed).join('').replace(/\.+$/, '.'))).toEqual(beginsAnew);
  });

  it('begins anew where too many wait', async () => {
    const { harness, client, after } = await restarted();
    harness.startReplayer = () => () => {};
    for (let i = 0; i < 8; i++) tailPrefix(client, 0, 'none', { after });
    const feeds = [tailNames(client, 0, [A, B], { after }), tailPrefix(client, 0, '', { after })];
    await harness.flush();
    expect(feeds.map((feed) => told(client, feed).join(''))).toEqual(beginsAnew);
  });
});
