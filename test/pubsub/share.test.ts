import { expect, it } from 'vitest';
import type { Timer } from '../../src/clock.js';
import { Partition } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { encodeAdd } from '../../src/protocol/request.js';
import { encodeTail, type TailRequest } from '../../src/protocol/tail.js';
import { Feeds } from '../../src/pubsub/feeds.js';
import { bodyOf, configuration, module, START } from '../kernel/fixture.js';

/** What feeds take of the time of their lane, where telling takes time: here a millisecond a frame, and another one for each 1,024 bytes of it. */

const FEEDS = 400;
/** Names that some readers follow besides, so many that they are told much. */
const MANY = Array.from({ length: 6_000 }, (_, i) => `many${i}`);

class Bench {
  now = 0;
  told = 0;
  readonly partition = new Partition(module);
  readonly #timers: { due: number; callback: () => void }[] = [];
  #turn: (() => void)[] = [];
  #sealed = () => {};
  readonly feeds: Feeds;

  constructor(feeds = FEEDS) {
    this.partition.configure(configuration, START);
    this.feeds = new Feeds({
      partitions: new Map([[0, this.partition]]),
      commit: {
        flushedSequence: () => this.partition.sequence,
        observe: ({ sealed }) => {
          this.#sealed = sealed;
        },
      },
      clock: {
        wallMilliseconds: () => START,
        monotonicMilliseconds: () => this.now,
        setTimer: (milliseconds, callback): Timer => {
          const timer = { due: this.now + milliseconds, callback };
          this.#timers.push(timer);
          return { cancel: () => this.#timers.splice(this.#timers.indexOf(timer), 1) };
        },
        endOfTurn: (callback) => this.#turn.push(callback),
      },
      epoch: 1,
      isPoisoned: () => false,
      hindsight: { look: () => undefined },
      settle: () => {},
    });
    for (let i = 0; i < feeds; i++) this.follow(['a'], () => this.told++);
  }

  follow(names: readonly string[], onFrame: (milliseconds: number) => void): void {
    let taken = 0;
    const ask = (requestId: number, request: TailRequest) =>
      this.feeds.request(subscriber, {
        ...{ opcode: Opcode.TAIL, flags: 0, partition: 0, requestId },
        body: bodyOf(encodeTail, request),
      });
    const subscriber = {
      identity: onFrame,
      isClogged: false,
      answer: (_opcode: number, flags: number, _partition: number, _id: number, frame: Uint8Array) => {
        if (flags === 0) return;
        const milliseconds = 1 + Math.floor(frame.length / 1_024);
        this.now += milliseconds;
        taken++;
        this.#turn.push(() => ask(2, { kind: 'more', feed: 1, taken }));
        onFrame(milliseconds);
      },
      refuse: () => {},
      flush: () => {},
    };
    ask(1, { kind: 'names', interval: 0, credit: 64, names });
  }

  write(names = ['a']): void {
    const body = new ByteWriter();
    encodeAdd(body, { operations: names.map((name) => ({ key: { name }, delta: 1n })) });
    this.partition.apply(Opcode.ADD, 0, 0, 0, START, body.copy());
    this.feeds.take(0);
    this.#sealed();
  }

  /** One turn: what is due, then the end of it. What it takes besides is `milliseconds`. */
  turn(milliseconds: number): void {
    this.now += milliseconds;
    for (const timer of this.#timers.filter(({ due }) => due <= this.now)) {
      this.#timers.splice(this.#timers.indexOf(timer), 1);
      timer.callback();
    }
    const turn = this.#turn;
    this.#turn = [];
    for (const callback of turn) callback();
  }
}

it('Feeds take a third of the time of their lane where it is written to, and all of it where it is not', () => {
  const bench = new Bench();
  while (bench.told < FEEDS) bench.turn(0);
  const began = { now: bench.now, told: bench.told };
  while (bench.now < began.now + 10_000) {
    bench.write();
    bench.turn(1);
  }
  const share = (bench.told - began.told) / (bench.now - began.now);
  expect(share).toBeGreaterThan(0.3);
  expect(share).toBeLessThan(0.36);
  // each is told in its turn, and then of all that came meanwhile
  bench.turn(1_000);
  const [now, told] = [bench.now, bench.told];
  for (let i = 0; i < 100; i++) bench.turn(0);
  expect(bench.told - told).toBe(bench.now - now);
  expect(bench.told - told).toBeLessThanOrEqual(FEEDS);
});

it('Who is told little is told at once, whatever there is to tell to others, who have what is left of the share', () => {
  const bench = new Bench(1);
  let much = 0;
  const add = (milliseconds: number) => {
    much += milliseconds;
  };
  for (let i = 0; i < 20; i++) bench.follow(MANY, (milliseconds) => add(milliseconds));
  for (let i = 0; i < 100; i++) bench.turn(20);
  const began = bench.now;
  much = 0;
  const waits: number[] = [];
  while (bench.now < began + 4_000) {
    const [written, told] = [bench.now, bench.told];
    bench.write(['a', ...MANY]);
    for (let i = 0; bench.told === told && i < 1_000; i++) bench.turn(1);
    waits.push(bench.now - written);
    while (bench.now < written + 20) bench.turn(1);
  }
  // what the others have begun comes before: a turn that was waited for and the one behind it, each of two frames that take 27
  expect(Math.max(...waits)).toBeLessThan(60);
  const share = much / (bench.now - began);
  expect(share).toBeGreaterThan(0.2);
  expect(share).toBeLessThan(0.4);
});
