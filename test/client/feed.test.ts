import { describe, expect, it } from 'vitest';
import { Feed, type FeedFrame } from '../../src/client/feed.js';
import type { Lane } from '../../src/client/lane.js';
import type { Submission } from '../../src/client/request.js';
import { TallystickError } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { HEADER_BYTES } from '../../src/protocol/opcode.js';
import { decodeTail, encodeTailAnswer, type TailAnswer, type TailRequest } from '../../src/protocol/tail.js';

/** A feed of the client by itself: what it sends, and what it makes of what comes, over the loss of its connection. */

class Bench {
  readonly frames: FeedFrame[] = [];
  readonly errors: TallystickError[] = [];
  readonly submitted: Submission[] = [];
  readonly feed: Feed;

  constructor(from?: { epoch: number; sequence: number }, frames = 16) {
    const lane = { epoch: 7, submit: (request: Submission) => this.submitted.push(request) } as unknown as Lane;
    this.feed = new Feed({
      ...{ lane, partition: 0, followed: { kind: 'prefix', prefix: 'a' }, interval: 50, frames, from },
      onFrame: (frame) => this.frames.push(frame),
      onFailed: (error) => this.errors.push(error),
    });
  }

  /** What the request says that is sent now, under a request id. */
  send(id = 1, request: Submission = this.feed): TailRequest {
    const { frame } = request;
    frame[8] = id;
    return decodeTail(frame.subarray(HEADER_BYTES), frame[5] as number);
  }

  hear(answer: Partial<TailAnswer>): void {
    const body = new ByteWriter();
    encodeTailAnswer(body, { begins: false, whole: false, position: 1, told: [], ...answer });
    this.feed.onAnswer(body.view());
  }

  get deltas(): bigint[] {
    return this.frames.flatMap(({ answer }) => answer.told.map((told) => ('delta' in told ? told.delta : 0n)));
  }
}

const change = (value: bigint, delta: bigint) => ({ kind: 'change' as const, name: 'a', value, delta });

describe('A feed', () => {
  it('goes on from the last position that it was told in full', () => {
    const bench = new Bench();
    expect(bench.send()).toEqual({ kind: 'prefix', interval: 50, credit: 16, prefix: 'a' });
    bench.hear({ begins: true });
    bench.feed.onLost();
    expect(bench.send()).not.toHaveProperty('after');
    bench.hear({ begins: true, whole: true, position: 9 });
    bench.hear({ position: 12 });
    bench.feed.onLost();
    expect(bench.send()).toMatchObject({ after: { epoch: 7, sequence: 9 }, credit: 13 });
  });

  it('does not count again what was told of a group of which the rest was lost', () => {
    const bench = new Bench({ epoch: 7, sequence: 5 });
    bench.send();
    bench.hear({ whole: true, position: 6, told: [change(10n, 1n)] });
    bench.hear({ position: 8, told: [change(13n, 3n)] });
    bench.feed.onLost();
    bench.send();
    bench.hear({ position: 8, told: [change(13n, 3n)] });
    bench.feed.onLost();
    bench.send();
    bench.hear({ whole: true, position: 9, told: [change(14n, 4n)] });
    bench.hear({ whole: true, position: 10, told: [change(16n, 2n)] });
    expect(bench.deltas).toEqual([1n, 3n, 0n, 1n, 2n]);
  });

  it('grants more as frames are read, and never has more than 16 that were not', () => {
    const bench = new Bench();
    bench.send(3);
    for (let i = 0; i < 16; i++) bench.hear({});
    for (let i = 0; i < 7; i++) bench.feed.read();
    expect(bench.submitted).toHaveLength(1);
    bench.feed.read();
    expect(bench.send(4, bench.submitted[1] as Submission)).toEqual({ kind: 'more', feed: 3, credit: 8 });
    expect(bench.submitted[1]?.isWanted).toBe(true);
    bench.feed.onLost();
    expect(bench.submitted[1]?.isWanted).toBe(false);
    expect(bench.send(5)).toMatchObject({ credit: 8 });
  });

  it('has no more frames that were not read than it may, be that one', () => {
    const bench = new Bench(undefined, 1);
    expect(bench.send(3)).toMatchObject({ credit: 1 });
    bench.hear({});
    bench.feed.read();
    expect(bench.send(4, bench.submitted[1] as Submission)).toEqual({ kind: 'more', feed: 3, credit: 1 });
  });

  it('says that it ends, over the connection that has it, and hears nothing more', () => {
    const bench = new Bench();
    bench.send(3);
    bench.hear({ begins: true });
    bench.feed.close();
    bench.hear({});
    bench.feed.onError(new TallystickError('TOO_SLOW'));
    expect(bench.send(4, bench.submitted[1] as Submission)).toEqual({ kind: 'end', feed: 3 });
    expect([bench.frames.length, bench.errors, bench.feed.isWanted]).toEqual([1, [], false]);
  });
});
