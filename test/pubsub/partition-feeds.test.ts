import { describe, expect, it } from 'vitest';
import { OK } from '../../src/errors.js';
import { Kind, Partition } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd, writeNameKey } from '../../src/protocol/request.js';
import { decodeTailAnswer } from '../../src/protocol/tail.js';
import type { Feed } from '../../src/pubsub/feed.js';
import { NameFeed } from '../../src/pubsub/name-feed.js';
import { PartitionFeeds } from '../../src/pubsub/partition-feeds.js';
import { PrefixFeed } from '../../src/pubsub/prefix-feed.js';
import { bodyOf, configuration, module, START } from '../kernel/fixture.js';
import { inShort } from './follower.js';

/** The feeds of a partition by themselves, about what no request can do yet: counters that end by time. */

const EXPIRE = 16;
const NOBODY = {
  identity: 'test',
  isClogged: false,
  answer: () => {},
  refuse: () => {},
  flush: () => {},
};

class Bench {
  readonly partition = new Partition(module);
  readonly feeds: PartitionFeeds;
  readonly #writers = { items: new ByteWriter(), body: new ByteWriter() };
  readonly #names = new Map<Feed, readonly string[]>();
  #now = START;

  constructor() {
    this.partition.configure(configuration, START);
    const flushed = () => this.partition.sequence;
    this.feeds = new PartitionFeeds({
      partition: this.partition,
      flushed,
      onNews: (feed) => feed.open(),
      look: () => undefined,
    });
  }

  follow(match: { readonly names: readonly string[] } | { readonly prefix: string }): Feed {
    const options = { subscriber: NOBODY, requestId: 1, interval: 0, credit: 64 };
    const feed = 'names' in match ? new NameFeed(options) : new PrefixFeed(options, match.prefix);
    if (feed instanceof PrefixFeed) this.feeds.addPrefix(feed, undefined);
    else if ('names' in match) {
      this.feeds.addNames(feed, match.names, undefined);
      this.#names.set(feed, match.names);
    }
    while (this.feeds.hasSteps) this.feeds.step();
    return feed;
  }

  apply(kind: number, body: Uint8Array): void {
    expect(this.partition.apply(kind, 0, 0, 0, this.#now, body)).toBe(OK);
    this.feeds.take();
  }

  /** A counter that ends after so many milliseconds. */
  put(name: string, value: bigint, milliseconds: number): void {
    this.apply(Opcode.ADD, bodyOf(encodeAdd, { operations: [{ key: { name }, delta: value }] }));
    const body = new ByteWriter();
    writeNameKey(body, name);
    body.u8(2);
    body.varint(milliseconds);
    this.apply(EXPIRE, body.copy());
  }

  tick(milliseconds: number): void {
    this.#now += milliseconds;
    this.apply(Kind.TICK, new Uint8Array(0));
  }

  /** What the group that closes now tells. */
  told(feed: Feed): string {
    const names = this.#names.get(feed);
    this.feeds.sealed();
    while (this.feeds.hasSteps) this.feeds.step();
    const frames: string[] = [];
    while (feed.hasNews) {
      const frame = feed.frame(this.#writers, this.feeds.positionOf(feed));
      if (frame) frames.push(inShort(decodeTailAnswer(frame, names)));
      if (feed instanceof PrefixFeed) this.feeds.wantsStep(feed);
      while (this.feeds.hasSteps) this.feeds.step();
    }
    return frames.join(' | ');
  }
}

describe('The feeds of a partition', () => {
  it('tell of counters that end by time', () => {
    const bench = new Bench();
    bench.put('a', 5n, 100);
    bench.put('b', 7n, 200);
    const [named, all] = [bench.follow({ names: ['a', 'c'] }), bench.follow({ prefix: '' })];
    expect([bench.told(named), bench.told(all)]).toEqual(['[a=5 c absent.', '[a=5 b=7.']);
    bench.tick(150);
    expect([bench.told(named), bench.told(all)]).toEqual(['a gone(-5).', 'a gone(-5).']);
    bench.put('c', 1n, 0);
    expect([bench.told(named), bench.told(all)]).toEqual(['', '']);
    bench.put('d', 1n, 10);
    bench.tick(100);
    expect([bench.told(named), bench.told(all)]).toEqual(['', 'b gone(-7).']);
  });

  it('begin anew where more counters end at a time than can be named', () => {
    const bench = new Bench();
    const names = Array.from({ length: 120 }, (_, i) => `${i}`.padStart(1_000, '-'));
    for (const name of names) bench.put(name, 1n, 100);
    bench.put('kept', 3n, 1_000);
    const [named, all] = [bench.follow({ names: ['kept', names[0] as string] }), bench.follow({ prefix: '' })];
    bench.told(named);
    bench.told(all);
    bench.tick(100);
    expect([bench.told(named), bench.told(all)]).toEqual([`[kept=3 ${names[0]} absent.`, '[kept=3.']);
    bench.put('kept', 1n, 1_000);
    expect([bench.told(named), bench.told(all)]).toEqual(['kept=4(1).', 'kept=4(1).']);
  });

  it('have their own memory of what is followed, and none where nothing is', () => {
    const bench = new Bench();
    expect(bench.feeds.isWatched).toBe(false);
    bench.put('a', 1n, 1_000);
    expect(bench.partition.touched.count).toBe(0);
    const feed = bench.follow({ names: ['a'] });
    bench.told(feed);
    bench.feeds.remove(feed, 10);
    bench.feeds.forget(9);
    expect(bench.feeds.isWatched).toBe(true);
    bench.feeds.forget(10);
    expect(bench.feeds.isWatched).toBe(false);
    bench.put('a', 1n, 1_000);
    expect(bench.partition.touched.count).toBe(0);
    expect(feed.hasNews).toBe(false);
  });
});
