import { describe, expect, it } from 'vitest';
import { TallystickError } from '../../src/errors.js';
import type { Reply } from '../../src/http/reply.js';
import { Stream } from '../../src/http/stream.js';
import { ManualClock } from '../support/manual-clock.js';

/** A stream by itself: when it takes an event and writes, and how it ends. */

class Bench {
  readonly clock = new ManualClock();
  /** Events that wait to be taken, and how often they were asked for. */
  readonly events: string[] = [];
  asked = 0;
  /** What was written: `head`, texts, `end`, or a refusal. */
  readonly written: string[] = [];
  hasRoom = true;
  closed = 0;
  readonly ends: (Reply | undefined)[] = [];
  readonly stream: Stream;
  #waiting:
    | { resolve: (result: IteratorResult<string, undefined>) => void; reject: (error: Error) => void }
    | undefined;

  constructor(waits = false) {
    this.stream = new Stream({
      clock: this.clock,
      source: {
        waits,
        next: () => {
          this.asked++;
          return new Promise((resolve, reject) => {
            this.#waiting = { resolve, reject };
            this.#serve();
          });
        },
        beat: () => 'beat;',
        close: () => this.closed++,
      },
      sink: {
        begin: () => this.written.push('head'),
        refuse: ({ status, code }) => this.written.push(`${status} ${code}`),
        write: (text) => {
          this.written.push(text);
          return this.hasRoom;
        },
        end: () => this.written.push('end'),
      },
      failed: (error) => error,
      onEnd: (refusal) => this.ends.push(refusal),
    });
    this.stream.start();
  }

  tell(...events: string[]): void {
    this.events.push(...events);
    this.#serve();
  }

  fail(error: Error): void {
    this.#waiting?.reject(error);
  }

  #serve(): void {
    if (this.events.length === 0) return;
    this.#waiting?.resolve({ done: false, value: this.events.shift() as string });
    this.#waiting = undefined;
  }

  async pass(milliseconds = 0): Promise<void> {
    await new Promise(setImmediate);
    this.clock.advance(milliseconds);
    this.clock.settle();
    await new Promise(setImmediate);
  }

  /** What was written since this was looked at. */
  get news(): string[] {
    return this.written.splice(0);
  }
}

const problem = (code: string) =>
  expect.stringMatching(new RegExp(`^event: problem\ndata: \\{.*"code":"${code}".*\\}\n\n$`));

describe('A stream', () => {
  it('writes the events of a turn together, and large ones in pieces', async () => {
    const bench = new Bench();
    bench.tell('a;', 'b;', 'c;');
    await bench.pass();
    expect(bench.news).toEqual(['head', 'a;b;c;']);
    const large = 'x'.repeat(10_000);
    bench.tell(large, large, large);
    await bench.pass();
    expect(bench.news.map(({ length }) => length)).toEqual([20_000, 10_000]);
  });

  it('takes no event while there is no room, and then goes on', async () => {
    const bench = new Bench();
    bench.hasRoom = false;
    bench.tell('x'.repeat(20_000), 'b;', 'c;');
    await bench.pass(5_000);
    expect([bench.events, bench.asked, bench.news.length]).toEqual([['b;', 'c;'], 1, 2]);
    bench.hasRoom = true;
    bench.stream.drained();
    await bench.pass();
    expect([bench.news, bench.events]).toEqual([['b;c;'], []]);
    // One is on its way as the room ends, and waits
    bench.hasRoom = false;
    bench.tell('d;');
    await bench.pass();
    bench.tell('e;', 'f;');
    await bench.pass(5_000);
    expect([bench.news, bench.events]).toEqual([['d;'], ['f;']]);
    bench.hasRoom = true;
    bench.stream.drained();
    await bench.pass();
    expect(bench.news).toEqual(['e;', 'f;']);
    // The patience begins anew, and so does that for a later stop
    await bench.pass(9_999);
    expect(bench.closed).toBe(0);
  });

  it('is cut off where nothing is read for 10 s, and says so behind what waits', async () => {
    const bench = new Bench();
    bench.hasRoom = false;
    bench.tell('a;');
    await bench.pass();
    bench.tell('b;');
    await bench.pass(9_999);
    expect(bench.news).toEqual(['head', 'a;']);
    await bench.pass(1);
    expect(bench.news).toEqual([expect.stringMatching(/^b;event: problem\ndata: .*"code":"TOO_SLOW"/), 'end']);
    expect([bench.closed, bench.ends, bench.clock.pendingTimers]).toEqual([1, [undefined], 0]);
    bench.stream.drained();
    await bench.pass(60_000);
    expect(bench.news).toEqual([]);
  });

  it('shows that it lives where there was nothing to tell for 15 s', async () => {
    const bench = new Bench();
    await bench.pass(14_000);
    bench.tell('a;');
    await bench.pass();
    await bench.pass(14_999);
    expect(bench.news).toEqual(['head', 'a;']);
    await bench.pass(1);
    await bench.pass(15_000);
    expect(bench.news).toEqual(['beat;', 'beat;']);
    bench.stream.close();
    await bench.pass(60_000);
    expect([bench.news, bench.closed, bench.ends, bench.clock.pendingTimers]).toEqual([[], 1, [undefined], 0]);
  });

  it('that waits for its first answer begins with it, or with a beat, or not at all', async () => {
    const bench = new Bench(true);
    await bench.pass(100);
    expect(bench.news).toEqual([]);
    bench.tell('a;');
    await bench.pass();
    expect(bench.news).toEqual(['head', 'a;']);
    const late = new Bench(true);
    await late.pass(15_000);
    expect(late.news).toEqual(['head', 'beat;']);
    late.fail(new TallystickError('NOT_TRACKED'));
    await late.pass();
    expect(late.news).toEqual([problem('NOT_TRACKED'), 'end']);
    const refused = new Bench(true);
    refused.fail(new TallystickError('NOT_TRACKED'));
    await refused.pass();
    expect([refused.news, refused.closed]).toEqual([['422 NOT_TRACKED'], 1]);
    expect(refused.ends).toMatchObject([{ status: 422, code: 'NOT_TRACKED' }]);
  });

  it('tells what is there before it tells that it ends', async () => {
    const bench = new Bench();
    bench.tell('a;');
    await new Promise(setImmediate);
    bench.stream.fail(new TallystickError('SHUTTING_DOWN'));
    expect(bench.news).toEqual(['head', expect.stringMatching(/^a;event: problem\ndata: .*SHUTTING_DOWN/), 'end']);
    bench.stream.close();
    bench.stream.fail(new TallystickError('SHUTTING_DOWN'));
    expect([bench.closed, bench.ends.length, bench.news]).toEqual([1, 1, []]);
  });
});
