import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Partition } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { decodeTailAnswer } from '../../src/protocol/tail.js';
import { NameFeed } from '../../src/pubsub/name-feed.js';
import { Topics } from '../../src/pubsub/topics.js';
import { ABSENT, difference, UNKNOWN, Values } from '../../src/pubsub/values.js';
import { module } from '../kernel/fixture.js';

const signed = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -9n, max: 9n }));
const subscriber = { identity: 1, isClogged: false, answer: () => {}, refuse: () => {}, flush: () => {} };

describe('Values', () => {
  it('are those of an array of bigints, and so are their differences', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(9), signed), { maxLength: 60 }), (writes) => {
        const [values, model] = [new Values(10), new BigInt64Array(10)];
        for (const [index, value] of writes) {
          const before = values.at(index);
          expect(BigInt(difference(value, before))).toBe(BigInt.asIntN(64, value - (model[index] as bigint)));
          values.set(index, value);
          model[index] = value;
          expect(BigInt(difference(values.at(index), before))).toBe(BigInt(difference(value, before)));
        }
        expect(Array.from(model, (_, index) => BigInt(values.at(index)))).toEqual([...model]);
        const others = new Values(10);
        for (let index = 0; index < 10; index++) others.setFrom(9 - index, values, index);
        for (let index = 0; index < 10; index++) others.setFrom(index, values, index);
        for (let index = 0; index < 10; index++) {
          expect(BigInt(others.at(index))).toBe(model[index]);
          expect(values.isSame(index, others, 9 - index)).toBe(model[index] === model[9 - index]);
        }
      }),
    );
  });
});

describe('Values of counters that are not there, or not known', () => {
  it('are 0, and the same as none but their own kind', () => {
    const values = new Values(4);
    [ABSENT, UNKNOWN, 0, 2n ** 60n].forEach((value, index) => {
      values.set(index, value);
    });
    expect([0, 1, 2, 3].map((index) => values.at(index))).toEqual([0, 0, 0, 2n ** 60n]);
    expect([0, 1, 2, 3].map((index) => values.isPresent(index))).toEqual([false, false, true, true]);
    for (let a = 0; a < 4; a++) for (let b = 0; b < 4; b++) expect(values.isSame(a, values, b)).toBe(a === b);
    values.setFrom(3, values, 0);
    values.set(0, 7);
    expect([values.isPresent(3), values.at(3), values.isPresent(0), values.at(0)]).toEqual([false, 0, true, 7]);
  });
});

describe('The past of names that are followed', () => {
  it('reaches no further than a position of which more changes are published than it has room for', () => {
    const topics = new Topics(0);
    const own = Int32Array.from({ length: 20_000 }, (_, i) => topics.follow(`n-${i}`, 0));
    const publish = (position: number, count: number) => {
      const values = new Values(count);
      for (let i = 0; i < count; i++) values.set(i, position);
      topics.publish(position, [{ topics: own.slice(0, count), values }]);
    };
    publish(1, own.length);
    publish(2, 10);
    expect(topics.past.floor).toBe(1);
    publish(3, own.length);
    publish(4, 10);
    expect(topics.past.floor).toBe(3);
    const known: [number, number | bigint][] = [];
    topics.past.visit(3, (topic, values, at) => known.push([topic, values.at(at)]));
    expect(known.reverse()).toEqual([...own.slice(0, 10)].map((topic) => [topic, 3]));
  });
});

describe('Names that are followed', () => {
  it('are told as they are, whichever of them are forgotten in between', () => {
    const names = fc.uniqueArray(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }), { maxLength: 40 });
    const steps = fc.array(fc.tuple(names, fc.boolean()), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(steps, (plan) => {
        const [topics, partition, writer] = [new Topics(0), new Partition(module), new ByteWriter()];
        let followed: number[] = [];
        plan.forEach(([wanted, forgets], step) => {
          const own = wanted.map((name) => topics.follow(name, step));
          for (const topic of followed) topics.unfollow(topic, step);
          followed = own;
          topics.publish(step, topics.copy(partition));
          if (forgets) topics.forget(step);
          if (wanted.length === 0) return;
          const feed = new NameFeed({ subscriber, requestId: 1, interval: 0, credit: 64 });
          feed.bind(Int32Array.from(own));
          feed.begin(topics);
          const told = decodeTailAnswer(
            feed.frame({ items: writer, body: new ByteWriter() }, step) as Uint8Array,
            wanted,
          ).told;
          expect(told).toEqual(wanted.map((name) => ({ kind: 'absent', name })));
        });
        expect(topics.size).toBeGreaterThanOrEqual(followed.length);
      }),
    );
  });
});
