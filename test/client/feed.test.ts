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
    for (let i = 0; i < 3; i++) bench.feed.read();
    expect(bench.send()).toMatchObject({ after: { epoch: 7, sequence: 9 }, credit: 16 });
  });

  it('asks for more after a loss, or where it was too slow, when all that it has is read', () => {
    const bench = new Bench();
    bench.send();
    for (let i = 0; i < 3; i++) bench.hear({ begins: i === 0, whole: true, position: i });
    bench.feed.onLost();
    expect(bench.feed.isWanted).toBe(false);
    bench.feed.read();
    bench.feed.read();
    expect([bench.feed.isWanted, bench.submitted.length]).toEqual([false, 1]);
    bench.feed.read();
    expect([bench.feed.isWanted, bench.submitted.length]).toEqual([true, 2]);
    expect(bench.send()).toMatchObject({ after: { epoch: 7, sequence: 2 }, credit: 16 });
    // whoever has it in a queue twice sends it once
    expect(bench.feed.isWanted).toBe(false);
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

  it('says how many frames were read in all, with the first and each time that half a window was, and of each connection anew', () => {
    const bench = new Bench();
    bench.send(3);
    for (let i = 0; i < 16; i++) bench.hear({});
    bench.feed.read();
    expect(bench.send(4, bench.submitted[1] as Submission)).toEqual({ kind: 'more', feed: 3, taken: 1 });
    for (let i = 0; i < 6; i++) bench.feed.read();
    expect(bench.submitted).toHaveLength(2);
    bench.feed.read();
    expect(bench.send(5, bench.submitted[2] as Submission)).toEqual({ kind: 'more', feed: 3, taken: 8 });
    expect(bench.submitted[2]?.isWanted).toBe(true);
    for (let i = 0; i < 8; i++) bench.feed.read();
    expect(bench.send(6, bench.submitted[3] as Submission)).toEqual({ kind: 'more', feed: 3, taken: 16 });
    bench.feed.onLost();
    expect(bench.submitted[2]?.isWanted).toBe(false);
    bench.send(7);
    for (let i = 0; i < 8; i++) bench.hear({});
    for (let i = 0; i < 8; i++) bench.feed.read();
    expect(bench.send(8, bench.submitted[4] as Submission)).toEqual({ kind: 'more', feed: 7, taken: 1 });
    expect(bench.send(9, bench.submitted[5] as Submission)).toEqual({ kind: 'more', feed: 7, taken: 8 });
  });

  it('has no more frames that were not read than it may, be that one', () => {
    const bench = new Bench(undefined, 1);
    expect(bench.send(3)).toMatchObject({ credit: 1 });
    bench.hear({});
    bench.feed.read();
    expect(bench.send(4, bench.submitted[1] as Submission)).toEqual({ kind: 'more', feed: 3, taken: 1 });
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
