import { describe, expect, it } from 'vitest';
import { EPOCH, LaneHarness, NAME, namesOf } from '../lane/lane-harness.js';
import { nothingFound } from '../lane/replaying.js';
import { codeOfEnd, framesOfFeed, increments, statsOf, tail, tailNames, tailPrefix, taken, told } from './follower.js';

/** Readers that do not read: what they are told is folded together, bounded, and cut off. Writers notice nothing. */

describe('A feed without credit', () => {
  it('is told one change for many when it has some again', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feed = tailNames(client, 0, [NAME[0]], { credit: 2 });
    await harness.flush();
    for (let i = 0; i < 20; i++) {
      client.add(0, {});
      await harness.flush();
    }
    expect(told(client, feed)).toEqual([`[${NAME[0]} absent.`, `${NAME[0]}=1(1).`]);
    expect(await statsOf(harness, client)).toMatchObject({ feeds: 1, pending: 1, frames: 2 });
    const more = taken(client, 0, feed);
    await harness.pass(0);
    expect(client.answerOf(more).flags).toBe(0);
    expect(told(client, feed).slice(2)).toEqual([`${NAME[0]}=20(19).`]);
    expect(await statsOf(harness, client)).toMatchObject({ pending: 0, frames: 3, cutOff: 0 });
  });

  it('is cut off where more waits for it at once than is kept for anyone', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const names = namesOf(0, 131_073);
    const feed = tailPrefix(client, 0, '', { credit: 1 });
    await harness.flush();
    const change = async (some: readonly string[]) => {
      for (let from = 0; from < some.length; from += 10_000) client.add(0, increments(some.slice(from, from + 10_000)));
      await harness.flush();
    };
    await change(names.slice(0, -1));
    expect(await statsOf(harness, client)).toMatchObject({ feeds: 1, pending: 131_072, cutOff: 0 });
    await change(names.slice(-1));
    expect(codeOfEnd(client, feed)).toBe('TOO_SLOW');
    expect(await statsOf(harness, client)).toMatchObject({ feeds: 0, pending: 0, cutOff: 1 });
    expect(client.connection.inFlight).toBe(0);
  });

  it('is told that it has been told everything, where what came last was the same for it', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const names = namesOf(0, 5_000);
    const feed = tailNames(client, 0, names, { credit: 1 });
    await harness.flush();
    const more = async () => {
      taken(client, 0, feed);
      await harness.pass(0);
    };
    const change = async (some: readonly string[]) => {
      client.add(0, increments(some));
      await harness.flush();
    };
    expect(framesOfFeed(client, feed).map(({ whole }) => whole)).toEqual([true]);
    await change(names);
    await more();
    const first = framesOfFeed(client, feed).at(-1)?.told.length as number;
    // while the others wait for credit, those that were told change again
    await change(names.slice(0, first));
    for (let i = 0; i < 4; i++) await more();
    const frames = framesOfFeed(client, feed).slice(1);
    expect(frames.map(({ told: { length }, whole }) => [length, whole])).toEqual([
      [first, false],
      [5_000 - first, false],
      [first, false],
      [0, true],
    ]);
    expect(frames.map(({ position }) => position)).toEqual(
      [...frames.map(({ position }) => position)].sort((x, y) => x - y),
    );
  });

  it('is cut off before one that takes what it is told, where more waits for all than is kept', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const names = namesOf(0, 16_000);
    const healthy = tailPrefix(client, 0, '');
    const stuck = Array.from({ length: 34 }, () => tailPrefix(client, 0, '', { credit: 1 }));
    await harness.flush();
    taken(client, 0, healthy);
    for (const from of [0, 8_000]) client.add(0, increments(names.slice(from, from + 8_000)));
    await harness.flush();
    expect(codeOfEnd(client, healthy)).toBeUndefined();
    expect(framesOfFeed(client, healthy).flatMap((frame) => frame.told)).toHaveLength(16_000);
    const ends = stuck.map((feed) => codeOfEnd(client, feed)).filter((code) => code !== undefined);
    // what waited for the healthy one counted for a moment
    expect(ends).toEqual(['TOO_SLOW', 'TOO_SLOW', 'TOO_SLOW']);
    expect(await statsOf(harness, client)).toMatchObject({ feeds: 32, pending: 31 * 16_000, cutOff: 3 });
  });

  it('makes no step of its snapshot before the last one was taken', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const names = namesOf(0, 6_000);
    client.add(0, increments(names));
    await harness.flush();
    const feed = tailPrefix(client, 0, '', { credit: 1 });
    await harness.pass(50);
    const first = framesOfFeed(client, feed).flatMap((frame) => frame.told).length;
    expect(first).toBeGreaterThan(50);
    expect((await statsOf(harness, client)).pending).toBeLessThan(2_048);
    for (let i = 0; i < 40; i++) {
      taken(client, 0, feed);
      await harness.pass(5);
    }
    const frames = framesOfFeed(client, feed);
    expect(new Set(frames.flatMap((frame) => frame.told.map(({ name }) => name))).size).toBe(6_000);
    expect(frames.map(({ whole }) => whole)).toEqual([...new Array(frames.length - 1).fill(false), true]);
    expect(frames.map(({ begins }) => begins).indexOf(true)).toBe(0);
  });
});

describe('A feed whose client has said nothing yet', () => {
  const FIRST_BYTES = 8 * 16_384;

  /** One of 1,000 counters with long names, which are more than it is sent before it says something. */
  async function begun() {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const names = Array.from({ length: 1_000 }, (_, i) => `{${NAME[0]}}${i}`.padEnd(500, '.'));
    client.add(0, increments(names));
    await harness.flush();
    const feed = tailPrefix(client, 0, '');
    await harness.pass(500);
    const sent = () => client.answers.filter(({ requestId }) => requestId === feed);
    const bytes = () => sent().reduce((sum, { body }) => sum + body.length, 0);
    return { harness, client, names, feed, sent, bytes };
  }

  it('is sent eight frames of a window of 64, and all others when it does', async () => {
    const { harness, client, names, feed, sent, bytes } = await begun();
    expect(sent().length).toBeGreaterThanOrEqual(8);
    expect(bytes()).toBeGreaterThanOrEqual(FIRST_BYTES);
    expect(bytes()).toBeLessThan(FIRST_BYTES + 2 * 16_384);
    taken(client, 0, feed);
    await harness.pass(500);
    const frames = framesOfFeed(client, feed);
    expect(new Set(frames.flatMap((frame) => frame.told.map(({ name }) => name)))).toEqual(new Set(names));
    expect(frames.at(-1)?.whole).toBe(true);
    expect(frames.filter(({ begins }) => begins)).toHaveLength(1);
  });

  it('has nothing folded for it meanwhile, and goes on without a gap', async () => {
    const { harness, client, names, feed, bytes } = await begun();
    const before = bytes();
    client.add(0, increments(names));
    await harness.flush();
    expect(await statsOf(harness, client)).toMatchObject({ feeds: 1, pending: 0 });
    expect(bytes()).toBe(before);
    taken(client, 0, feed);
    await harness.pass(500);
    const values = new Map<string, bigint>();
    for (const { begins, told: all } of framesOfFeed(client, feed)) {
      expect(begins).toBe(values.size === 0);
      for (const each of all) if ('value' in each) values.set(each.name, each.value);
    }
    expect(values).toEqual(new Map(names.map((name) => [name, 2n])));
  });

  it('is told of each group all the same, where that is little', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feed = tailNames(client, 0, [NAME[0]]);
    for (let i = 0; i < 60; i++) {
      client.add(0, {});
      await harness.flush();
    }
    expect(framesOfFeed(client, feed)).toHaveLength(61);
  });
});

describe('A connection that does not read', () => {
  it('is sent a bounded number of bytes, then what has changed meanwhile at once, and is cut off where it never does', async () => {
    const harness = await LaneHarness.start();
    const writer = await harness.client();
    const reader = await harness.client();
    const names = namesOf(0, 1_000);
    const feed = tailNames(reader, 0, names);
    await harness.flush();
    reader.transport.takesAll = false;
    const take = () => taken(reader, 0, feed);
    let last = 0;
    for (let i = 0; i < 100; i++) {
      take();
      last = writer.add(0, increments(names));
      await harness.flush();
    }
    expect(writer.added(last).refused).toEqual([]);
    // what one turn sends
    expect(reader.transport.unsentBytes).toBeGreaterThan(0);
    expect(reader.transport.unsentBytes).toBeLessThan(3 * 16 * 1024);
    expect(await statsOf(harness, writer)).toMatchObject({ feeds: 1, pending: 1_000 });
    reader.transport.takesAll = true;
    reader.transport.take();
    await harness.pass(30);
    const frames = framesOfFeed(reader, feed);
    expect(frames.at(-1)).toMatchObject({ whole: true, position: writer.added(last).position });
    const sums = new Map<string, bigint>();
    for (const { told: all } of frames.slice(1))
      for (const each of all) sums.set(each.name, (sums.get(each.name) ?? 0n) + ('delta' in each ? each.delta : 0n));
    expect([...sums.values()].filter((sum) => sum !== 100n)).toEqual([]);

    reader.transport.takesAll = false;
    for (let i = 0; i < 30; i++) {
      take();
      writer.add(0, increments(names));
      await harness.flush();
    }
    harness.clock.advance(35_000);
    await harness.pass(0);
    expect(reader.transport.isDestroyed).toBe(true);
    expect(await statsOf(harness, writer)).toMatchObject({ feeds: 0, pending: 0 });
  });
});

describe('A feed of an interval', () => {
  it('is told at its end, whatever happened, and not where nothing did', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feed = tailNames(client, 0, [NAME[0]], { interval: 100 });
    const slower = tailNames(client, 0, [NAME[0]], { interval: 1_000 });
    await harness.flush();
    for (let i = 0; i < 5; i++) {
      client.add(0, {});
      await harness.flush();
    }
    expect(told(client, feed)).toHaveLength(1);
    await harness.pass(100);
    expect(told(client, feed).slice(1)).toEqual([`${NAME[0]}=5(5).`]);
    client.add(0, {});
    await harness.pass(1_000);
    expect(told(client, feed).slice(2)).toEqual([`${NAME[0]}=6(1).`]);
    expect(told(client, slower).slice(1)).toEqual([`${NAME[0]}=6(6).`]);
  });

  it('is told before its end where more counters have changed than are gathered', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const names = namesOf(0, 16_400);
    const feed = tailPrefix(client, 0, '', { interval: 60_000 });
    await harness.flush();
    taken(client, 0, feed);
    for (let from = 0; from < names.length; from += 8_200) {
      client.add(0, increments(names.slice(from, from + 8_200)));
      await harness.flush();
    }
    const changes = framesOfFeed(client, feed).flatMap((frame) => frame.told);
    expect(new Set(changes.map(({ name }) => name)).size).toBe(16_400);
    expect(framesOfFeed(client, feed).at(-1)?.whole).toBe(true);
    client.add(0, {});
    await harness.flush();
    expect(framesOfFeed(client, feed).flatMap((frame) => frame.told)).toHaveLength(16_400);
    harness.clock.advance(60_000);
    await harness.pass(0);
    expect(told(client, feed).at(-1)).toBe(`${NAME[0]}=2(1).`);
  });

  it('is told in the middle of one no more than was gathered in those before, and is no further', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const [a, b] = namesOf(0, 2) as [string, string];
    const each = tailNames(client, 0, [a, b]);
    const named = tailNames(client, 0, [a, b], { interval: 500, credit: 1 });
    const all = tailPrefix(client, 0, '', { interval: 500, credit: 1 });
    await harness.flush();
    client.add(0, increments([a]));
    await harness.pass(500);
    client.add(0, increments([b]));
    await harness.flush();
    expect(told(client, each).slice(1)).toEqual([`${a}=1(1).`, `${b}=1(1).`]);
    const beforeB = framesOfFeed(client, each).at(-2)?.position as number;
    for (const feed of [named, all]) taken(client, 0, feed);
    await harness.pass(10);
    // what waits is told as it is; a feed of names looks what that is when it may tell
    expect(told(client, named).slice(1)).toEqual([`${a}=1(1) ${b}=1(1).`]);
    expect(told(client, all).slice(1)).toEqual([`${a}=1(1).`]);
    expect(framesOfFeed(client, all).at(-1)?.position).toBe(beforeB);
    taken(client, 0, all);
    await harness.pass(500);
    expect(told(client, all).slice(2)).toEqual([`${b}=1(1).`]);
  });

  it('is told at another time than others, so that they are not all to be told at once', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feeds = Array.from({ length: 32 }, () => tailNames(client, 0, [NAME[0]], { interval: 160 }));
    await harness.flush();
    client.add(0, {});
    let before = 0;
    const most: number[] = [];
    for (let passed = 0; passed < 160; passed += 5) {
      await harness.pass(5);
      const now = feeds.filter((feed) => told(client, feed).includes(`${NAME[0]}=1(1).`)).length;
      most.push(now - before);
      before = now;
    }
    expect([before, Math.max(...most)]).toEqual([32, 4]);
  });

  it('is told how far its partition is where only others have changed', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const [a, b] = namesOf(0, 2) as [string, string];
    const feed = tailNames(client, 0, [a], { interval: 100 });
    await harness.flush();
    const last = client.add(0, increments([b]));
    await harness.flush();
    harness.clock.advance(5_000);
    await harness.pass(0);
    expect(told(client, feed)).toEqual([`[${a} absent.`, '.']);
    expect(framesOfFeed(client, feed).at(-1)?.position).toBe(client.added(last).position);
    harness.clock.advance(20_000);
    await harness.pass(0);
    expect(told(client, feed)).toHaveLength(2);
  });

  it('is forgotten a minute after the last one ended, and with it what it could go on from', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feed = tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    const sequence = framesOfFeed(client, feed).at(-1)?.position as number;
    const after = { epoch: EPOCH, sequence };
    tail(client, 0, { kind: 'end', feed });
    client.add(0, {});
    await harness.flush();
    harness.clock.advance(55_000);
    await harness.flush();
    const again = tailNames(client, 0, [NAME[0]], { after });
    await harness.flush();
    expect(told(client, again)).toEqual([`${NAME[0]}=1(1).`]);
    tail(client, 0, { kind: 'end', feed: again });
    harness.clock.advance(70_000);
    await harness.flush();
    client.add(0, {});
    await harness.flush();
    expect(harness.partitions.get(0)?.touched.count).toBe(0);
    const fromLog = tailNames(client, 0, [NAME[0]], { after });
    await harness.flush();
    expect(told(client, fromLog)).toEqual([`${NAME[0]}=2(2).`]);
    harness.startReplayer = nothingFound(harness.clock);
    const late = tailNames(client, 0, [NAME[0]], { after });
    await harness.flush();
    expect(told(client, late)).toEqual([`[${NAME[0]}=2.`]);
  });
});

describe('When storage fails', () => {
  it('nothing more is told, and the feed ends', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feed = tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    client.add(0, {});
    harness.log.script.push({ kind: 'full' });
    await harness.flush();
    expect(told(client, feed)).toHaveLength(1);
    await harness.pass(600); // there is room again
    expect(told(client, feed).slice(1)).toEqual([`${NAME[0]}=1(1).`]);
    client.add(0, {});
    await harness.pass(1);
    harness.poisoned = true;
    await harness.flush();
    expect(told(client, feed)).toHaveLength(2);
  });
});
