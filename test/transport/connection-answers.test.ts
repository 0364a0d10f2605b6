import { describe, expect, test } from 'vitest';
import { encodeFrame } from '../../src/protocol/frame.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { decodeError } from '../../src/protocol/response.js';
import { DEFAULT_CONNECTION_LIMITS as LIMITS } from '../../src/transport/connection.js';
import { add, framesOf, LaneDouble } from './lane-double.js';

const bytesOf = (...frames: Uint8Array[]) => Uint8Array.from(frames.flatMap((frame) => [...frame]));
const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('A client that does not read its answers', () => {
  const body = new Uint8Array(300_000);

  test('is not read from beyond 1 MiB, and is again, in order, when it took them', () => {
    const double = LaneDouble.open();
    double.transport.takesAll = false;
    double.lane = ({ requestId }) => double.answer(requestId, Opcode.ADD, body);
    double.send(bytesOf(...ids(1, 10).map((id) => add(id))));
    double.send(add(11));
    expect(double.requestIds).toEqual(ids(1, 4));
    expect(double.transport.isPaused).toBe(true);
    double.transport.take(1_000_000);
    double.send();
    // below the bound, but it goes on only when all is sent
    expect(double.requestIds).toEqual(ids(1, 4));
    double.transport.take();
    double.send();
    expect(double.requestIds).toEqual(ids(1, 8));
    double.transport.takesAll = true;
    double.transport.take();
    double.send();
    double.send();
    expect(double.requestIds).toEqual(ids(1, 11));
    expect(double.transport.isPaused).toBe(false);
    expect(double.answers).toEqual(ids(1, 11).map((id) => `4 ${id}`));
  });

  test('and takes nothing for 30 seconds is cut off', () => {
    const double = LaneDouble.open();
    double.transport.takesAll = false;
    double.lane = ({ requestId }) => double.answer(requestId);
    double.send(add(2));
    double.clock.advance(29_999);
    // more answers are no progress
    double.send(add(3));
    expect(double.transport.isDestroyed).toBe(false);
    double.clock.advance(1);
    expect(double.transport.isDestroyed).toBe(true);
    expect([double.closed, double.clock.pendingTimers]).toEqual([1, 0]);
  });

  test('but takes a byte now and then is not, until it stops', () => {
    const double = LaneDouble.open();
    double.transport.takesAll = false;
    double.lane = ({ requestId }) => double.answer(requestId);
    double.send(add(2));
    for (let i = 0; i < 5; i++) {
      double.transport.take(1);
      double.clock.advance(29_000);
    }
    expect(double.transport.isDestroyed).toBe(false);
    double.clock.advance(34_999);
    expect(double.transport.isDestroyed).toBe(true);
  });

  test('for a while and then does leaves no timer behind', () => {
    const double = LaneDouble.open();
    double.transport.takesAll = false;
    double.lane = ({ requestId }) => double.answer(requestId);
    double.send(add(2));
    double.transport.take();
    double.clock.advance(30_000);
    expect([double.transport.isDestroyed, double.clock.pendingTimers]).toEqual([false, 0]);
  });

  test('cannot grow the refusals of its requests without bound', () => {
    const double = LaneDouble.open();
    double.transport.takesAll = false;
    const wrong = encodeFrame(99, 0, 0, 1, new Uint8Array(0));
    const chunk = bytesOf(...new Array(5000).fill(wrong));
    for (let i = 0; i < 50; i++) double.send(chunk);
    expect(double.transport.unsentBytes).toBeLessThan(LIMITS.unsentBytes + 1000);
    expect(double.transport.isPaused).toBe(true);
  });
});

describe('Answers', () => {
  test('of one turn are one write', () => {
    const double = LaneDouble.open();
    double.send(bytesOf(...ids(1, 100).map((id) => add(id))));
    for (const id of ids(1, 100)) double.answer(id);
    expect(double.transport.writes).toHaveLength(0);
    double.clock.endTurn();
    expect(double.transport.writes).toHaveLength(1);
    expect(double.answers).toEqual(ids(1, 100).map((id) => `4 ${id}`));
  });

  test('are written at once when asked', () => {
    const double = LaneDouble.open();
    double.send(add(1), add(2), add(3));
    double.answer(1);
    double.answer(2);
    double.connection.flush();
    expect(double.transport.writes).toHaveLength(1);
    expect(double.answers).toEqual(['4 1', '4 2']);
    double.connection.flush();
    double.clock.settle();
    expect(double.transport.writes).toHaveLength(1);
  });

  test('that are large are written before they fill an array, and the rest in one write', () => {
    const double = LaneDouble.open();
    double.send(bytesOf(...ids(1, 10).map((id) => add(id))));
    for (const id of ids(1, 10)) double.answer(id, Opcode.ADD, new Uint8Array(100_000));
    expect(double.transport.writes).toHaveLength(3);
    double.clock.endTurn();
    expect(double.transport.writes).toHaveLength(4);
  });

  test('do not change what was written before and is not sent yet', () => {
    for (const bytes of [10, 50_000]) {
      const double = LaneDouble.open();
      double.transport.takesAll = false;
      double.send(add(1), add(2));
      for (const id of [1, 2]) {
        double.answer(id, Opcode.ADD, new Uint8Array(bytes).fill(id));
        double.clock.endTurn();
      }
      double.transport.take();
      expect(framesOf(double.transport.taken).map(({ body }) => [body.length, body[0], body.at(-1)])).toEqual([
        [bytes, 1, 1],
        [bytes, 2, 2],
      ]);
    }
  });

  test('carry what the lane gave, and refusals their code, outcome, position and detail', () => {
    const double = LaneDouble.open();
    double.send(add(1), add(2), add(3));
    double.connection.answer(Opcode.ADD, Flag.REPEATED, 3, 1, Uint8Array.of(5, 6));
    double.connection.refuse(2, 3, 'ALREADY_APPLIED', { outcome: 'applied', position: 300, detail: 'Before.' });
    double.connection.refuse(3, 3, 'STORAGE_FULL', { outcome: 'unknown' });
    double.clock.settle();
    const [answer, applied, unknown] = framesOf(double.transport.taken);
    expect(answer).toEqual({
      opcode: 132,
      flags: Flag.REPEATED,
      partition: 3,
      requestId: 1,
      body: Uint8Array.of(5, 6),
    });
    expect(decodeError(applied?.body ?? new Uint8Array(0))).toEqual({
      status: 23,
      outcome: 'applied',
      position: 300,
      detail: 'Before.',
    });
    expect(decodeError(unknown?.body ?? new Uint8Array(0))).toEqual({
      status: 27,
      outcome: 'unknown',
      position: 0,
      detail: '',
    });
  });
});

describe('The end of a connection', () => {
  test('by close sends what was answered, and drops what comes after', () => {
    const double = LaneDouble.open({ ...LIMITS, inFlight: 2 });
    double.send(add(1), add(2), add(3));
    expect(double.transport.isPaused).toBe(true);
    double.answer(1);
    double.connection.close();
    expect(double.answers).toEqual(['4 1']);
    expect(double.transport.isClosing).toBe(true);
    // it reads on, since unread bytes would reset the connection under the last answers
    expect(double.transport.isPaused).toBe(false);
    double.answer(2);
    double.send(add(4));
    expect(double.requestIds).toEqual([1, 2]);
    expect([double.answers, double.connection.isOpen]).toEqual([['4 1'], false]);
  });

  test('by close is enforced after 5 seconds', () => {
    const double = LaneDouble.open();
    double.connection.close();
    double.clock.advance(4999);
    expect(double.transport.isDestroyed).toBe(false);
    double.clock.advance(1);
    expect([double.transport.isDestroyed, double.closed, double.clock.pendingTimers]).toEqual([true, 1, 0]);
  });

  test('by close leaves no timer where the client ends in time', () => {
    const double = LaneDouble.open();
    double.connection.close();
    double.connection.closed();
    expect([double.closed, double.clock.pendingTimers]).toEqual([1, 0]);
  });

  test('is told once, leaves no timer, and makes answers do nothing', () => {
    const double = LaneDouble.open();
    double.transport.takesAll = false;
    double.send(add(1), add(2), add(3).subarray(0, 6));
    double.answer(1);
    double.clock.settle();
    double.connection.closed();
    double.connection.closed();
    double.connection.destroy();
    double.answer(2);
    double.connection.refuse(9, 3, 'INTERNAL');
    double.clock.settle();
    expect([double.closed, double.clock.pendingTimers, double.transport.writes.length]).toEqual([1, 0, 1]);
  });

  test('within a request stops the frames after it', () => {
    for (const end of ['close', 'destroy'] as const) {
      const double = LaneDouble.open();
      double.lane = () => double.connection[end]();
      double.send(bytesOf(add(1), add(2)));
      expect(double.requestIds).toEqual([1]);
    }
  });
});

describe('A request with MORE answers', () => {
  const more = (double: LaneDouble, requestId: number, bytes = 1) =>
    double.connection.answer(Opcode.TAIL, Flag.MORE, 3, requestId, new Uint8Array(bytes));

  test('counts as none in flight from the first one on, until and after the last', () => {
    const double = LaneDouble.open({ ...LIMITS, inFlight: 2 });
    double.send(add(2), add(3), add(4));
    expect(double.requestIds).toEqual([2, 3]);
    more(double, 2);
    more(double, 2);
    double.send();
    expect([double.requestIds, double.connection.inFlight]).toEqual([[2, 3, 4], 2]);
    double.answer(2);
    double.answer(3);
    double.answer(4);
    double.send();
    expect(double.connection.inFlight).toBe(0);
    expect(double.answers).toEqual(['19 2', '19 2', '4 2', '4 3', '4 4']);
    expect(() => double.answer(2)).toThrow('Request 2 is not in flight');
    expect(() => more(double, 3)).toThrow('Request 3 is not in flight');
  });

  test('says that its client is clogged by what it did not take before, and by 64 KiB of a turn, and cuts it off at eight MiB', () => {
    const double = LaneDouble.open();
    double.send(add(2));
    more(double, 2, 65_000);
    expect(double.connection.isClogged).toBe(false);
    more(double, 2, 1_000);
    expect(double.connection.isClogged).toBe(true);
    double.send();
    expect(double.connection.isClogged).toBe(false);
    double.transport.takesAll = false;
    more(double, 2, 16_000);
    expect(double.connection.isClogged).toBe(false);
    double.send();
    expect(double.connection.isClogged).toBe(true);
    for (let i = 0; i < 8; i++) more(double, 2, 1_048_000);
    double.send();
    expect(double.transport.isDestroyed).toBe(false);
    more(double, 2, 10_000);
    more(double, 2);
    expect([double.transport.isDestroyed, double.closed]).toEqual([true, 1]);
    more(double, 2);
  });
});
