import { describe, expect, it } from 'vitest';
import { EPOCH, LaneHarness, NAME, namesOf, type TestClient } from '../lane/lane-harness.js';
import { nothingFound } from '../lane/replaying.js';
import { codeOfEnd, framesOfFeed, increments, statsOf, tail, tailNames, tailPrefix, taken, told } from './follower.js';

/** Readers that take nothing for a while: nothing is kept for them, and they go on where they were. */

/** Some names and what a reader makes of all that it is told of them. */
class Told {
  readonly #client: TestClient;
  readonly #harness: LaneHarness;
  readonly feed: number;

  constructor(harness: LaneHarness, client: TestClient, feed: number) {
    this.#harness = harness;
    this.#client = client;
    this.feed = feed;
  }

  get begun(): number {
    return framesOfFeed(this.#client, this.feed).filter(({ begins }) => begins).length;
  }

  get isWhole(): boolean {
    return framesOfFeed(this.#client, this.feed).at(-1)?.whole ?? false;
  }

  /** Changes, each of which must add up. */
  get values(): Map<string, bigint> {
    const values = new Map<string, bigint>();
    for (const { begins, told: all } of framesOfFeed(this.#client, this.feed)) {
      if (begins) values.clear();
      for (const each of all) {
        if (each.kind === 'change') expect((values.get(each.name) ?? 0n) + each.delta).toBe(each.value);
        if ('value' in each) values.set(each.name, each.value);
        else values.delete(each.name);
      }
    }
    return values;
  }

  /** Takes what comes until that is everything. */
  async takeAll(): Promise<void> {
    for (let i = 0; i < 100 && (i === 0 || !this.isWhole); i++) {
      taken(this.#client, 0, this.feed);
      await this.#harness.pass(5);
    }
    expect(this.isWhole).toBe(true);
  }
}

describe('A feed of a prefix that takes nothing for a second', () => {
  /** A reader with a window of one frame, of counters that have been changed some times. */
  async function parked(options: { readonly interval?: number } = {}) {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const names = namesOf(0, 8_192);
    const values = new Map<string, bigint>();
    const change = async (times: number, some = names) => {
      for (let i = 0; i < times; i++) {
        client.add(0, increments(some));
        for (const name of some) values.set(name, (values.get(name) ?? 0n) + 1n);
        await harness.flush();
      }
    };
    const follow = () => new Told(harness, client, tailPrefix(client, 0, '', { credit: 1, ...options }));
    return { harness, client, names, values, change, follow };
  }

  for (const interval of [0, 100]) {
    it(`has nothing kept for it, and goes on where it was: each ${interval} ms`, async () => {
      const { harness, client, change, follow, values } = await parked({ interval });
      const reader = follow();
      await harness.pass(200);
      await change(1);
      await harness.pass(200);
      expect((await statsOf(harness, client)).pending).toBe(8_192);
      await harness.pass(1_500);
      expect((await statsOf(harness, client)).pending).toBe(0);
      await change(1);
      await harness.pass(200);
      expect(await statsOf(harness, client)).toMatchObject({ feeds: 1, pending: 0, cutOff: 0 });
      await reader.takeAll();
      expect([reader.begun, reader.values]).toEqual([1, values]);
      await change(1);
      await harness.pass(200);
      await reader.takeAll();
      expect([reader.begun, reader.values]).toEqual([1, values]);
    });
  }

  it('goes on from its position by the log, where memory does not reach so far, or begins anew', async () => {
    const { harness, change, follow, values } = await parked();
    const readers = [follow(), follow()] as const;
    await harness.flush();
    await change(1);
    await harness.pass(1_500);
    await change(2);
    await readers[0].takeAll();
    expect([readers[0].begun, readers[0].values]).toEqual([1, values]);
    harness.startReplayer = nothingFound(harness.clock);
    await readers[1].takeAll();
    expect([readers[1].begun, readers[1].values]).toEqual([2, values]);
  });

  it('goes on in the midst of its snapshot', async () => {
    const { harness, client, change, follow, names, values } = await parked();
    await change(1);
    const reader = follow();
    await harness.pass(1_500);
    await change(1, [...names.slice(0, 10), ...names.slice(-10)]);
    client.delete(0, { key: { name: names[1] as string }, reason: 'r' });
    values.delete(names[1] as string);
    await change(1, names.slice(2, 4));
    await reader.takeAll();
    expect([reader.begun, reader.values]).toEqual([1, values]);
  });

  it('begins anew where it was in the midst of its snapshot and memory does not reach so far, and what waited is let go', async () => {
    const { harness, client, change, follow, values } = await parked();
    await change(1);
    const reader = follow();
    await harness.pass(100);
    await change(1);
    await harness.pass(1_500);
    expect((await statsOf(harness, client)).pending).toBeGreaterThan(0);
    await change(3);
    await harness.pass(300);
    expect((await statsOf(harness, client)).pending).toBe(0);
    await reader.takeAll();
    expect([reader.begun, reader.values]).toEqual([2, values]);
  });

  it('comes to an end of its snapshot also where it is slow each time, and much is written', async () => {
    const { harness, client, change, follow, values } = await parked();
    await change(1);
    const reader = follow();
    for (let i = 0; i < 40 && !reader.isWhole; i++) {
      await harness.pass(1_600);
      await change(3);
      taken(client, 0, reader.feed);
      await harness.pass(5);
    }
    expect(reader.begun).toBe(2);
    await reader.takeAll();
    expect(reader.values).toEqual(values);
  });
});

describe('A feed whose window is used up for 30 seconds', () => {
  it('ends, and another one goes on from its position; one that takes a frame meanwhile does not', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feeds = [tailNames(client, 0, [NAME[0]], { credit: 1 }), tailPrefix(client, 0, '', { credit: 1 })];
    const slow = tailPrefix(client, 0, '', { credit: 1 });
    const quick = tailPrefix(client, 0, '');
    await harness.flush();
    const { position } = framesOfFeed(client, feeds[1] as number)[0] as { position: number };
    for (let second = 0; second < 29; second++) {
      client.add(0, {});
      harness.clock.advance(1_000);
      await harness.flush();
      if (second === 20) taken(client, 0, slow);
    }
    expect(feeds.map((feed) => codeOfEnd(client, feed))).toEqual([undefined, undefined]);
    harness.clock.advance(1_300);
    await harness.flush();
    expect(feeds.map((feed) => codeOfEnd(client, feed))).toEqual(['TOO_SLOW', 'TOO_SLOW']);
    expect([slow, quick].map((feed) => codeOfEnd(client, feed))).toEqual([undefined, undefined]);
    expect(await statsOf(harness, client)).toMatchObject({ feeds: 2, cutOff: 2 });
    const again = tailPrefix(client, 0, '', { after: { epoch: EPOCH, sequence: position } });
    await harness.flush();
    expect(told(client, again)).toEqual([`${NAME[0]}=29(29).`]);
  });

  it('has had no more frames than that, whatever was said of them', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feed = tailNames(client, 0, [NAME[0]], { credit: 4 });
    await harness.flush();
    const say = async (taken: number) => {
      const id = tail(client, 0, { kind: 'more', feed, taken });
      for (let i = 0; i < 8; i++) {
        client.add(0, {});
        await harness.flush();
      }
      return client.isAnswered(id) ? (codeOfEnd(client, id) ?? framesOfFeed(client, feed).length) : 'no answer';
    };
    expect(await say(2)).toBe('BAD_REQUEST');
    expect(framesOfFeed(client, feed)).toHaveLength(4);
    expect([await say(3), await say(3), await say(2), await say(8)]).toEqual([7, 7, 'BAD_REQUEST', 'BAD_REQUEST']);
    expect(await say(7)).toBe(11);
  });
});
