import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeFrame } from '../../src/protocol/frame.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { DEFAULT_CONNECTION_LIMITS as LIMITS, type Unread } from '../../src/transport/connection.js';
import { add, framesOf, hello, LaneDouble, ping } from './lane-double.js';

const bytesOf = (...frames: Uint8Array[]) => Uint8Array.from(frames.flatMap((frame) => [...frame]));
const byteByByte = (bytes: Uint8Array) => [...bytes].map((byte) => Uint8Array.of(byte));
const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('HELLO', () => {
  test('must be the first frame; another one is refused and the connection goes on', () => {
    const double = new LaneDouble();
    double.send(ping(5), add(6), encodeFrame(99, 0, 0, 7, new Uint8Array(0)), hello(8));
    expect(double.answers).toEqual(['HELLO_REQUIRED 5', 'HELLO_REQUIRED 6', 'HELLO_REQUIRED 7']);
    expect(double.requestIds).toEqual([8]);
  });

  test('that does not come within 5 seconds ends the connection', () => {
    const double = new LaneDouble();
    double.clock.advance(4999);
    expect(double.transport.isClosing).toBe(false);
    double.clock.advance(1);
    expect(double.answers).toEqual(['HELLO_REQUIRED 0']);
    expect(double.transport.isClosing).toBe(true);
  });

  test('has no deadline once it came, however late its answer', () => {
    const double = new LaneDouble();
    double.send(hello());
    double.clock.advance(60_000);
    expect(double.transport.isClosing).toBe(false);
    expect(double.clock.pendingTimers).toBe(0);
  });

  test('holds what follows it until it is answered, then that is read in order and with the larger limit', () => {
    for (const cut of [bytesOf, (...frames: Uint8Array[]) => frames]) {
      const double = new LaneDouble();
      double.send(...[cut(hello(), add(2), add(3, 5000), ping(4))].flat());
      double.send(add(5));
      expect(double.requestIds).toEqual([1]);
      expect(double.transport.isPaused).toBe(true);
      double.answer(1, Opcode.HELLO);
      double.connection.helloDone();
      double.send();
      expect(double.requestIds).toEqual([1, 2, 3, 4, 5]);
      expect(double.transport.isPaused).toBe(false);
    }
  });

  test('may be answered while it is handled', () => {
    const double = new LaneDouble();
    double.lane = ({ opcode, requestId }) => {
      if (opcode !== Opcode.HELLO) return;
      double.answer(requestId, opcode);
      double.connection.helloDone();
    };
    double.send(bytesOf(hello(), add(2, 5000)));
    expect(double.requestIds).toEqual([1, 2]);
  });

  test('that was refused may be said again, within a new deadline', () => {
    const double = new LaneDouble();
    double.clock.advance(4000);
    double.send(bytesOf(hello(1), ping(2), hello(3)));
    double.connection.refuse(1, LANE, 'PRODUCER_FENCED');
    double.clock.settle();
    expect(double.answers).toEqual(['PRODUCER_FENCED 1', 'HELLO_REQUIRED 2']);
    expect(double.requestIds).toEqual([1, 3]);
    double.connection.refuse(3, LANE, 'PRODUCER_UNKNOWN');
    double.clock.advance(4999);
    expect(double.transport.isClosing).toBe(false);
    double.clock.advance(1);
    expect(double.transport.isClosing).toBe(true);
  });

  test('that was answered is not said again', () => {
    const double = LaneDouble.open();
    double.send(hello(2), ping(3));
    expect([double.answers, double.requestIds]).toEqual([['BAD_REQUEST 2'], [3]]);
  });
});

describe('A request', () => {
  const frame = (opcode: number, flags: number, partition: number, bytes = 0) =>
    encodeFrame(opcode, flags, partition, 7, new Uint8Array(bytes));

  test.each([
    ['an unknown opcode', frame(99, 0, 0), 'UNKNOWN_OPCODE'],
    ['the opcode of an answer', frame(0x84, 0, 0), 'UNKNOWN_OPCODE'],
    ['the opcode of ERROR', frame(Opcode.ERROR, 0, 0), 'UNKNOWN_OPCODE'],
    ['a flag of reads on ADD', frame(Opcode.ADD, Flag.LATEST, 0), 'BAD_REQUEST'],
    ['a flag of ADD on SET', frame(Opcode.SET, Flag.ATOMIC, 0), 'BAD_REQUEST'],
    ['a flag of writes on GET', frame(Opcode.GET, Flag.APPLIED, 0), 'BAD_REQUEST'],
    ['REPEATED', frame(Opcode.ADD, Flag.REPEATED, 0), 'BAD_REQUEST'],
    ['a flag that does not exist', frame(Opcode.ADD, 128, 0), 'BAD_REQUEST'],
    ['a partition on PING', frame(Opcode.PING, 0, 3), 'BAD_REQUEST'],
    ['65 bytes in a PING', frame(Opcode.PING, 0, LANE, 65), 'BAD_REQUEST'],
    ['a byte in a SYNC', frame(Opcode.SYNC, 0, LANE, 1), 'BAD_REQUEST'],
  ])('with %s is refused, and the connection goes on', (_, refused, code) => {
    const double = LaneDouble.open();
    double.send(refused, ping(8, 64));
    expect(double.answers).toEqual([`${code} 7`]);
    expect(double.requestIds).toEqual([8]);
    const [error] = framesOf(double.transport.taken);
    expect(error?.partition).toBe(new DataView(refused.buffer, refused.byteOffset).getUint16(6, true));
  });

  test('reaches the lane as it was sent, whole, byte by byte, and in one chunk with others', () => {
    const sent = [
      add(2),
      ping(3, 9),
      encodeFrame(Opcode.ADD, 0x1d, 65_534, 0xffffffff, new Uint8Array(5000).fill(9)),
      add(4, 0),
    ];
    for (const chunks of [sent, [bytesOf(...sent)], byteByByte(bytesOf(...sent))]) {
      const double = LaneDouble.open();
      double.send(...chunks);
      expect(double.requests).toEqual(framesOf(bytesOf(...sent)));
    }
  });

  test('that the lane fails on is not swallowed', () => {
    const double = LaneDouble.open();
    double.lane = () => {
      throw new Error('a defect');
    };
    expect(() => double.send(add(2))).toThrow('a defect');
  });
});

describe('The loss of framing', () => {
  const length = (bytes: number) => Uint8Array.of(bytes & 255, (bytes >> 8) & 255, (bytes >> 16) & 255, bytes >>> 24);

  test.each([
    ['a frame of more than 1,024 bytes before HELLO', new LaneDouble(), length(1025), 'FRAME_TOO_LARGE 0'],
    ['a frame of more than 1 MiB after it', LaneDouble.open(), length(1_048_577), 'FRAME_TOO_LARGE 0'],
    ['a length of less than a header', LaneDouble.open(), length(7), 'BAD_REQUEST 0'],
  ])('by %s is told with request id 0, then the connection ends', (_, double, bytes, answer) => {
    double.send(...byteByByte(bytes));
    expect(double.answers).toEqual([answer]);
    expect(framesOf(double.transport.taken)[0]?.partition).toBe(LANE);
    expect(double.transport.isClosing).toBe(true);
    double.send(hello(), add(2));
    expect(double.requestIds).toEqual([]);
  });

  test('is told after the answers that came before it, and what precedes it is still handled', () => {
    const double = LaneDouble.open();
    double.lane = ({ requestId }) => double.answer(requestId);
    double.send(bytesOf(add(2), length(0), add(3)));
    expect(double.answers).toEqual(['4 2', 'BAD_REQUEST 0']);
  });

  test('does not come from frames at their limits', () => {
    const early = new LaneDouble();
    early.send(encodeFrame(Opcode.HELLO, 0, LANE, 1, new Uint8Array(1016)));
    expect(early.requestIds).toEqual([1]);
    const later = LaneDouble.open();
    later.send(add(2, 1_048_568));
    expect(later.requestIds).toEqual([2]);
  });
});

test.each(['GET ', 'POST', 'HEAD', 'PUT ', 'OPTI', 'DELE', 'PATC', 'CONN'])(
  '"%s" ends the connection at once, without a word',
  (start) => {
    const request = new TextEncoder().encode(`${start}/ HTTP/1.1\r\nHost: a\r\n\r\n`);
    for (const chunks of [[request], byteByByte(request)]) {
      const double = new LaneDouble();
      double.transport.deliver(...chunks);
      double.clock.settle();
      expect(double.transport.isDestroyed).toBe(true);
      expect(double.transport.writes).toEqual([]);
      expect([double.closed, double.clock.pendingTimers]).toEqual([1, 0]);
    }
  },
);

describe('A frame that stays incomplete', () => {
  test('for 10 seconds ends the connection, also when a byte comes now and then', () => {
    const double = LaneDouble.open();
    const bytes = add(2, 100);
    for (let second = 0; second < 10; second++) {
      double.send(bytes.subarray(second, second + 1));
      double.clock.advance(second < 9 ? 1000 : 999);
    }
    expect(double.transport.isClosing).toBe(false);
    double.clock.advance(1);
    expect(double.answers).toEqual(['FRAME_TIMEOUT 0']);
    expect(double.transport.isClosing).toBe(true);
  });

  test('is not the next frame, whose start came with the end of the last', () => {
    const double = LaneDouble.open();
    double.lane = ({ requestId }) => double.answer(requestId);
    const bytes = bytesOf(...ids(2, 21).map((id) => add(id)));
    double.send(bytes.subarray(0, 5));
    for (let at = 5; at < bytes.length; at += 22) {
      double.clock.advance(6000);
      double.send(bytes.subarray(at, at + 22));
    }
    expect(double.requestIds).toEqual(ids(2, 21));
    expect(double.transport.isClosing).toBe(false);
  });

  test('leaves no deadline behind when it is completed, and the next one has all its time', () => {
    const double = LaneDouble.open();
    const bytes = add(2);
    double.send(bytes.subarray(0, 5));
    double.clock.advance(9000);
    double.send(bytes.subarray(5));
    double.clock.advance(500);
    double.send(bytes.subarray(0, 5));
    double.clock.advance(9999);
    expect(double.transport.isClosing).toBe(false);
    double.clock.advance(1);
    expect(double.transport.isClosing).toBe(true);
  });

  test('because we do not read is not held against the client, and has all its time when we do again', () => {
    const double = LaneDouble.open({ ...LIMITS, unsentBytes: 100, stalledMilliseconds: 1_000_000 });
    double.transport.takesAll = false;
    const bytes = add(3);
    double.send(add(2), bytes.subarray(0, 5));
    double.answer(2, Opcode.ADD, new Uint8Array(200));
    double.clock.endTurn();
    double.send(bytes.subarray(5, 6));
    expect(double.transport.isPaused).toBe(true);
    double.clock.advance(60_000);
    expect(double.transport.isClosing).toBe(false);
    double.transport.take();
    double.send();
    expect(double.transport.isPaused).toBe(false);
    double.clock.advance(9999);
    expect(double.transport.isClosing).toBe(false);
    double.clock.advance(1);
    double.transport.take();
    expect(double.answers).toEqual(['4 2', 'FRAME_TIMEOUT 0']);
  });
});

describe('Requests in flight', () => {
  test('stop the reading at 1,024, in the middle of a chunk, and nothing is lost or reordered', () => {
    const double = LaneDouble.open();
    double.send(bytesOf(...ids(1, 1500).map((id) => ping(id))));
    double.send(ping(1501), ping(1502));
    expect(double.requestIds).toEqual(ids(1, 1024));
    expect(double.transport.isPaused).toBe(true);
    expect(double.connection.inFlight).toBe(1024);
    // answers in any order make room, one for one
    for (const id of [1024, 5, 77]) double.answer(id, Opcode.PING);
    double.send();
    expect(double.requestIds).toEqual(ids(1, 1027));
    double.lane = ({ requestId }) => double.answer(requestId, Opcode.PING);
    double.answer(1, Opcode.PING);
    double.send();
    double.send();
    expect(double.requestIds).toEqual(ids(1, 1502));
    expect(double.transport.isPaused).toBe(false);
  });

  test('keep their order where the transport had read more before it paused', () => {
    const double = LaneDouble.open({ ...LIMITS, inFlight: 2 });
    const chunk = (from: number) => bytesOf(...ids(from, from + 4).map((id) => ping(id)));
    double.connection.data(chunk(1));
    double.connection.data(chunk(6));
    double.answer(1, Opcode.PING);
    // there is room again, but what waits goes first
    double.connection.data(chunk(11));
    for (let id = 2; id <= 15; id++) {
      double.clock.settle();
      double.answer(id, Opcode.PING);
    }
    expect(double.requestIds).toEqual(ids(1, 15));
  });

  test('stop the reading at 8 MiB of their bodies', () => {
    const double = LaneDouble.open();
    for (const id of ids(1, 20)) double.send(add(id, 1_000_000));
    expect(double.requestIds).toEqual(ids(1, 9));
    expect(double.transport.isPaused).toBe(true);
    double.answer(4);
    double.send();
    expect(double.requestIds).toEqual(ids(1, 10));
    for (const id of [1, 2, 3]) double.connection.refuse(id, 3, 'STORAGE_FULL');
    double.send();
    expect(double.requestIds).toEqual(ids(1, 13));
  });

  test('under one id are as many as were sent', () => {
    const double = LaneDouble.open();
    double.send(add(7, 10), add(7, 1000), add(8));
    expect(double.connection.inFlight).toBe(3);
    double.answer(7);
    expect(double.connection.inFlight).toBe(2);
    double.answer(7);
    expect(double.connection.inFlight).toBe(1);
    expect(() => double.answer(7)).toThrow('not in flight');
  });

  test('are ended by one answer each; another is a defect that is not sent', () => {
    const double = LaneDouble.open();
    double.send(add(2));
    double.answer(2);
    expect(() => double.answer(2)).toThrow('not in flight');
    expect(() => double.connection.refuse(3, 3, 'INTERNAL')).toThrow('not in flight');
    double.clock.settle();
    expect(double.answers).toEqual(['4 2']);
  });
});

describe('A lane that is full', () => {
  test('is given nothing more until it reads on, then everything in order', () => {
    const double = LaneDouble.open();
    double.lane = ({ requestId }) => {
      double.isFull = requestId === 3;
    };
    double.send(bytesOf(add(2), add(3), add(4), ping(5)));
    double.send(add(6));
    expect(double.requestIds).toEqual([2, 3]);
    expect(double.transport.isPaused).toBe(true);
    double.isFull = false;
    double.connection.readOn();
    double.send();
    expect(double.requestIds).toEqual([2, 3, 4, 5, 6]);
    expect(double.transport.isPaused).toBe(false);
  });
});

describe('Clients that do not take their answers', () => {
  const limits = { ...LIMITS, unsentBytes: 10_000, unsentOfAll: 1_000, unsentShare: 100 };
  const answering = (unread: Unread) => {
    const double = LaneDouble.open(limits, unread);
    double.transport.takesAll = false;
    double.lane = ({ requestId }) => double.answer(requestId, Opcode.ADD, new Uint8Array(50));
    return double;
  };

  test('are not read from beyond their share while all of them have too much, and are again once they have taken it', () => {
    const unread = { bytes: 0 };
    const [first, second, third] = [answering(unread), answering(unread), answering(unread)];
    for (let id = 2; id < 17; id++) first.send(add(id));
    expect([first.transport.isPaused, unread.bytes]).toEqual([false, 930]);
    for (let id = 2; id < 10; id++) second.send(add(id));
    expect(second.requestIds).toEqual([2, 3]);
    expect(second.transport.isPaused).toBe(true);
    third.send(add(2));
    expect([third.requestIds, third.transport.isPaused]).toEqual([[2], false]);
    first.send(add(17), add(18));
    expect(first.requestIds.at(-1)).toBe(16);
    second.transport.take();
    second.send();
    expect(second.requestIds).toEqual([2, 3, 4, 5]);
    first.transport.destroy();
    expect(unread.bytes).toBe(second.connection.unsentBytes + third.connection.unsentBytes);
    second.transport.take();
    second.send();
    expect(second.requestIds).toEqual(ids(2, 9));
  });

  test('have no more than is allowed for all, their shares, and an answer each; and nothing is left of those that are gone', () => {
    const step = fc.record({
      kind: fc.constantFrom('send' as const, 'take' as const, 'leave' as const),
      who: fc.integer({ min: 0, max: 5 }),
      count: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const unread = { bytes: 0 };
        const doubles = Array.from({ length: 6 }, () => answering(unread));
        let id = 2;
        for (const { kind, who, count } of steps) {
          const double = doubles[who] as LaneDouble;
          if (kind === 'send') double.send(bytesOf(...ids(1, count).map(() => add(id++))));
          else if (kind === 'take') double.transport.take(count * 40);
          else {
            double.transport.destroy();
            doubles[who] = answering(unread);
          }
          for (const each of doubles) each.clock.settle();
          const unsent = doubles.reduce((sum, { transport }) => sum + transport.unsentBytes, 0);
          expect(unsent).toBeLessThanOrEqual(unread.bytes);
          expect(unread.bytes).toBeLessThanOrEqual(limits.unsentOfAll + 6 * (limits.unsentShare + 62));
        }
        for (const { transport } of doubles) transport.destroy();
        expect(unread.bytes).toBe(0);
      }),
    );
  });
});

test('The traffic is counted', () => {
  const double = new LaneDouble();
  double.lane = ({ opcode, requestId }) => {
    double.answer(requestId, opcode);
    double.connection.helloDone();
  };
  const sent = bytesOf(hello(), add(2), encodeFrame(99, 0, 0, 3, new Uint8Array(0)));
  double.send(sent);
  expect(double.connection.traffic).toEqual({
    bytesIn: sent.length,
    bytesOut: double.transport.taken.length,
    requests: 3,
    refused: new Map([['UNKNOWN_OPCODE', 1]]),
  });
});

test('Whatever the chunks, the order of answers and the pace of the client, every request is handled once and in order', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('send' as const), bytes: fc.integer({ min: 1, max: 400 }) }),
    fc.record({ kind: fc.constant('answer' as const), which: fc.nat() }),
    fc.record({ kind: fc.constant('take' as const), bytes: fc.nat(400) }),
    fc.record({ kind: fc.constant('turn' as const) }),
  );
  const limits = { ...LIMITS, inFlight: 4, inFlightBytes: 200, unsentBytes: 150 };
  fc.assert(
    fc.property(fc.array(fc.nat(60), { maxLength: 60 }), fc.array(step, { maxLength: 300 }), (sizes, steps) => {
      const double = LaneDouble.open(limits);
      double.transport.takesAll = false;
      const stream = bytesOf(...sizes.map((size, i) => add(i, size)));
      const waiting: number[] = [];
      let most = 0;
      double.lane = ({ requestId }) => {
        waiting.push(requestId);
        most = Math.max(most, double.connection.inFlight);
      };
      let at = 0;
      const answerOne = (which: number) => {
        const [id] = waiting.splice(which % waiting.length, 1);
        if (id !== undefined) double.answer(id, Opcode.ADD, new Uint8Array(sizes[id] ?? 0));
      };
      for (const step of steps) {
        if (step.kind === 'send') {
          double.transport.deliver(stream.subarray(at, at + step.bytes));
          at += step.bytes;
        } else if (step.kind === 'answer') answerOne(step.which);
        else if (step.kind === 'take') double.transport.take(step.bytes);
        else double.clock.endTurn();
      }
      double.send(stream.subarray(at));
      for (let rounds = 0; rounds < 200; rounds++) {
        while (waiting.length > 0) answerOne(rounds);
        double.send();
        double.transport.take();
        double.send();
      }
      expect(double.requestIds).toEqual([...sizes.keys()]);
      expect(double.requests.map(({ body }) => body.length)).toEqual(sizes);
      expect(double.answers.sort()).toEqual(sizes.map((_, id) => `4 ${id}`).sort());
      expect(most).toBeLessThanOrEqual(4);
    }),
  );
});
