import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Partition } from '../../src/partition/partition.js';
import { Flag } from '../../src/protocol/opcode.js';
import { applyTo, differences, idOf, Kernel, module, NOBODY, replay, restore, START } from './fixture.js';
import { Pair, type Step, step } from './random-calls.js';

const steps = fc.array(step, { minLength: 20, maxLength: 80, size: 'max' });

/** Bulk that every history begins with, so that it holds splits, pages and windows of both sizes. */
function grow(pair: Pair): void {
  const { answer: session } = pair.kernel.openProducer(idOf(99), true);
  const operations = Array.from({ length: 7000 }, (_, i) => ({
    key: { name: `name ${i}` },
    delta: BigInt(i),
    ...(i % 7 === 0 && { operationId: idOf(1000 + i) }),
  }));
  pair.kernel.add({ operations });
  for (let sequence = 1; sequence <= 100 && session; sequence++) {
    pair.kernel.add(
      { sequence: { sequence, unanswered: sequence - 1 }, operations: operations.slice(0, 20) },
      Flag.VALUES,
      session,
    );
  }
}

/** The calls of a random history, without a model. */
function history(list: Step[]): Kernel {
  const pair = new Pair();
  pair.both = (call) => call(pair.kernel);
  pair.kernel.watched = false;
  grow(pair);
  for (const step of list) pair.run(step);
  return pair.kernel;
}

describe('Replay', () => {
  test('of the log gives the live memory byte for byte, at any prefix', () => {
    fc.assert(
      fc.property(steps, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }), (list, shares) => {
        const live = history(list);
        expect(differences(replay(live.log).state, live.partition.state)).toEqual([]);
        for (const share of shares) {
          const prefix = live.log.slice(0, 1 + Math.floor(share * (live.log.length - 1)));
          const [one, other] = [replay(prefix), replay(prefix)];
          expect(one.sequence).toBe(prefix.length);
          expect(one.stateHash).toBe(other.stateHash);
          for (const call of live.log.slice(prefix.length)) applyTo(one, call);
          expect(one.stateHash).toBe(live.partition.stateHash);
        }
      }),
      { numRuns: 25 },
    );
  });

  test('is not disturbed by what was refused, repeated or read in between', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const live = history(list);
        const partition = new Partition(module);
        for (const call of live.log) {
          applyTo(partition, call);
          applyTo(partition, { ...call, flags: call.flags ^ Flag.SEQUENCED, body: call.body.subarray(1) });
          partition.read(call.body);
          partition.producer(idOf(1));
          partition.judge(call.kind, call.flags | Flag.SEQUENCED, 0, 1, call.body);
        }
        // What was meant as noise may have been a valid body, so only a history that stayed as long counts.
        fc.pre(partition.sequence === live.partition.sequence);
        expect(partition.stateHash).toBe(live.partition.stateHash);
      }),
      { numRuns: 8 },
    );
  });
});

describe('The state of a kernel', () => {
  test('put into another instance goes on there exactly the same: nothing is hidden outside it', () => {
    fc.assert(
      fc.property(steps, fc.double({ min: 0, max: 1, noNaN: true }), (list, share) => {
        const { log, partition: live } = history(list);
        const cut = 1 + Math.floor(share * (log.length - 1));
        const first = replay(log.slice(0, cut));
        const second = new Partition(module);
        restore(second, first.state);
        expect(second.stateHash).toBe(first.stateHash);
        for (const call of log.slice(cut)) {
          expect([applyTo(second, call), [...second.answer]]).toEqual([applyTo(first, call), [...first.answer]]);
        }
        expect(differences(second.state, live.state)).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });

  test('is the same for two partitions with the same bodies, and another under another secret', () => {
    const [one, other, keyed] = [new Kernel(), new Kernel(), new Kernel({ secret: new Uint8Array(16) })];
    for (const kernel of [one, other, keyed]) for (let i = 0; i < 100; i++) kernel.step(`name ${i}`, 1n);
    expect(one.partition.stateHash).toBe(other.partition.stateHash);
    expect(one.partition.stateHash).not.toBe(keyed.partition.stateHash);
  });
});

describe('A refused atomic batch', () => {
  const failing = { key: { slot: 2 ** 31, generation: 0 }, delta: 1n };
  const SEQUENCE = 8;
  const OPERATION_ENTRIES = 232;
  const FREE_OPERATION = 236;
  const REFUSED = 264;

  /** The same history twice, then the batch in one and an empty one in the other: where the two memories differ. */
  function trace(
    operations: Parameters<Kernel['add']>[0]['operations'],
    before: (kernel: Kernel) => void = () => {},
  ): number[] {
    const [tried, untouched] = [new Kernel(), new Kernel()];
    for (const kernel of [tried, untouched]) {
      kernel.add({ operations: [{ key: { name: 'old' }, delta: 5n, operationId: idOf(1) }] });
      kernel.open(['opened']);
      before(kernel);
    }
    const { answer } = tried.add({ operations: [...operations, failing] }, Flag.ATOMIC);
    expect(answer?.refused.length).toBe(operations.length + 1);
    untouched.add({ operations: [] }, Flag.ATOMIC);
    return differences(tried.partition.state, untouched.partition.state);
  }

  test('leaves every byte but the count of refused operations as an empty batch does', () => {
    const names = ['old', 'opened', 'new', 'newer', 'old', 'new', 'opened'];
    const operations = names.map((name, i) => ({ key: { name }, delta: BigInt(i + 1), ...(i % 2 && { min: -100n }) }));
    expect(trace(operations)).toEqual([REFUSED]);
  });

  test('leaves every byte also where its new names took the slots and the bytes of deleted ones', () => {
    const gone = ['gone', 'tree', 'long gone', 'é', 'x', 'y'];
    const before = (kernel: Kernel) => {
      for (const name of [...gone, 'kept']) kernel.step(name, 1n);
      for (const name of gone) kernel.remove(name);
    };
    const names = ['new1', 'old', 'z', 'new2', 'of another size', 'new1', 'w', 'v', 'opened', 'u', 'new3', 'longgone!'];
    const operations = names.map((name, i) => ({ key: { name }, delta: BigInt(i + 1), ...(i % 2 && { max: 100n }) }));
    expect(trace(operations, before)).toEqual([REFUSED]);
  });

  test('leaves every byte whatever was created and deleted before', () => {
    const names = fc.string({ minLength: 1, maxLength: 24, unit: 'binary-ascii' });
    const history = fc.array(fc.tuple(fc.boolean(), fc.nat(9), names), { maxLength: 40, size: 'max' });
    fc.assert(
      fc.property(history, fc.array(names, { maxLength: 20 }), (changes, added) => {
        const before = (kernel: Kernel) => {
          const living: string[] = [];
          for (const [creates, at, name] of changes) {
            if (creates) living.push(name);
            if (creates) kernel.step(name, 1n);
            else if (living.length > 0) kernel.remove(living.splice(at % living.length, 1)[0] as string);
          }
        };
        const operations = added.map((name, i) => ({ key: { name }, delta: BigInt(i + 1) }));
        expect(trace(operations, before)).toEqual([REFUSED]);
      }),
      { numRuns: 60 },
    );
  });

  test('gives the entries of its operation ids to the free list, and leaves nothing else of them', () => {
    const operations = [7, 8, 9].map((id) => ({ key: { name: `new ${id}` }, delta: 1n, operationId: idOf(id) }));
    const at = trace(operations);
    const links = at.filter((offset) => offset >= 0x1000);
    expect(at.filter((offset) => offset < 0x1000)).toEqual([OPERATION_ENTRIES, FREE_OPERATION, REFUSED]);
    expect(links.length).toBe(2); // each free entry but the last links to another
    // and where free entries are there already, they only change their order
    const freed = trace(operations, (kernel) => {
      kernel.add({ operations: [...operations, failing] }, Flag.ATOMIC);
    });
    expect(freed.filter((offset) => offset < 0x1000)).toEqual([FREE_OPERATION, REFUSED]);
  });

  test('of thousands of names keeps at most the memory it took, empty: what follows goes as if it had not been', () => {
    const [tried, untouched] = [new Kernel(), new Kernel()];
    const many = Array.from({ length: 9000 }, (_, i) => ({
      key: { name: `a rather long name number ${i}` },
      delta: 1n,
    }));
    for (const kernel of [tried, untouched]) kernel.add({ operations: many.slice(0, 4000) });
    const { answer } = tried.add({ operations: [...many, failing] }, Flag.ATOMIC | Flag.VALUES);
    expect(new Set(answer?.values)).toEqual(new Set([1n, 0n]));
    untouched.add({ operations: [] });
    const at = differences(tried.partition.state, untouched.partition.state);
    expect(at.includes(SEQUENCE)).toBe(false);
    for (const kernel of [tried, untouched]) {
      expect(kernel.partition.statistics.names).toBe(4000);
      expect(kernel.get(many.map(({ key }) => key)).answer?.filter(({ status }) => status === 0).length).toBe(4000);
    }
    const again = [tried, untouched].map((kernel) => kernel.add({ operations: many }, Flag.VALUES, NOBODY, START));
    expect(again[0]).toEqual(again[1]);
    const ids = [tried, untouched].map((kernel) => kernel.open(many.map(({ key }) => key.name)));
    expect(ids[0]).toEqual(ids[1]);
  });

  test('gives name pages back: the same batch refused a hundred times takes memory once', () => {
    const kernel = new Kernel();
    const many = Array.from({ length: 500 }, (_, i) => ({ key: { name: `${i}${'x'.repeat(900)}` }, delta: 1n }));
    kernel.add({ operations: [...many, failing] }, Flag.ATOMIC);
    const { memoryBytes } = kernel.partition.statistics;
    for (let i = 0; i < 100; i++) kernel.add({ operations: [...many, failing] }, Flag.ATOMIC);
    expect(kernel.partition.statistics.memoryBytes).toBe(memoryBytes);
  });
});
