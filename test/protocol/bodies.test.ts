import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { codeOfStatus, ERRORS, TallystickError } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import * as request from '../../src/protocol/request.js';
import * as response from '../../src/protocol/response.js';
import * as tail from '../../src/protocol/tail.js';
import { BODIES, type Body, count, int64, name } from './bodies.js';

function encoded<T>({ encode }: Body<T>, value: T): Uint8Array {
  const writer = new ByteWriter(1);
  encode(writer, value);
  return writer.copy();
}

/** The code that an act ends with; anything but a TallystickError is let through. */
function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof TallystickError) return error.code;
    throw error;
  }
  return 'none';
}

describe.each(BODIES)('The body of $name', (format) => {
  test('comes back as it went, whole and byte by byte', () => {
    fc.assert(
      fc.property(format.values, (value) => {
        const whole = encoded(format, value);
        expect(format.decode(whole, value)).toEqual(value);
        const reader = new FrameReader();
        const frame = encodeFrame(Opcode.ADD, 0, 0, 1, whole);
        const decoded: unknown[] = [];
        for (const byte of frame)
          reader.push(Uint8Array.of(byte), (view) => decoded.push(format.decode(view.body, value)));
        expect(decoded).toEqual([value]);
      }),
    );
  });

  test('cut at any byte, or with a byte too many, is refused', () => {
    fc.assert(
      fc.property(format.values, (value) => {
        const whole = encoded(format, value);
        for (let end = 0; end < whole.length; end++) {
          // the text of an ERROR reaches to the end of the frame, so some cuts of it decode
          if (format.name === 'ERROR') codeOf(() => format.decode(whole.subarray(0, end), value));
          else
            expect(['BAD_REQUEST', 'NAME_INVALID']).toContain(
              codeOf(() => format.decode(whole.subarray(0, end), value)),
            );
        }
        if (format.name !== 'ERROR') {
          expect(codeOf(() => format.decode(Uint8Array.of(...whole, 0), value))).not.toBe('none');
        }
      }),
      { numRuns: 30 },
    );
  });

  test('with any byte changed, and any bytes at all, is decoded or refused with a code', () => {
    fc.assert(
      fc.property(format.values, fc.nat(), fc.nat(255), fc.uint8Array({ maxLength: 60 }), (value, at, byte, any) => {
        const changed = encoded(format, value);
        changed[at % changed.length] = byte;
        codeOf(() => format.decode(changed, value));
        codeOf(() => format.decode(any, value));
      }),
    );
  });

  test('with a count larger than itself is refused before anything is allocated', () => {
    for (let at = 0; at < 12; at++) {
      const huge = Uint8Array.of(...new Array(at).fill(0), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f);
      for (const value of fc.sample(format.values, 5)) codeOf(() => format.decode(huge, value));
    }
  });
});

describe('The decoders of requests refuse', () => {
  const refusal = (act: () => unknown) => codeOf(act);
  const nothing = (length: number) => new Array(length).fill(0x61);

  test('names of no bytes, of more than 1,024, and of no UTF-8', () => {
    const open = (head: number[], bytes: number[]) => Uint8Array.of(1, ...head, ...bytes);
    expect(request.decodeOpen(open([0x80, 0x20], nothing(1024)))).toEqual(['a'.repeat(1024)]);
    expect(refusal(() => request.decodeOpen(open([0x84, 0x20], nothing(1025))))).toBe('NAME_INVALID');
    expect(refusal(() => request.decodeOpen(open([0x00], [0])))).toBe('NAME_INVALID');
    expect(refusal(() => request.decodeOpen(open([0x04], [0xff])))).toBe('NAME_INVALID');
  });

  test('an extended key where the request gives it no meaning, an id in OPEN, unknown fields', () => {
    expect(refusal(() => request.decodeOpen(Uint8Array.of(1, 0x06, 0x61)))).toBe('BAD_REQUEST');
    expect(refusal(() => request.decodeOpen(Uint8Array.of(1, 0x05, 0x01)))).toBe('BAD_REQUEST');
    expect(refusal(() => request.decodeGet(Uint8Array.of(1, 0x06, 0x61), 0))).toBe('BAD_REQUEST');
    expect(refusal(() => request.decodeAdd(Uint8Array.of(1, 0x06, 0x61, 2, 8), 0))).toBe('BAD_REQUEST');
  });

  test('a cursor of more than 64 bytes and a reason of none or of more than 256', () => {
    const add = (cursor: number) => Uint8Array.of(1, 0, cursor, ...nothing(cursor), 0);
    expect(request.decodeAdd(add(64), Flag.SEQUENCED).sequence?.cursor).toHaveLength(64);
    expect(refusal(() => request.decodeAdd(add(65), Flag.SEQUENCED))).toBe('BAD_REQUEST');
    const set = (length: number[], bytes: number) => Uint8Array.of(0x04, 0x61, 2, ...length, ...nothing(bytes));
    expect(request.decodeSet(set([0x80, 0x02], 256), 0).reason).toHaveLength(256);
    expect(refusal(() => request.decodeSet(set([0x81, 0x02], 257), 0))).toBe('BAD_REQUEST');
    expect(refusal(() => request.decodeSet(set([0], 0), 0))).toBe('BAD_REQUEST');
    const remove = (length: number[], bytes: number) => Uint8Array.of(0x04, 0x61, ...length, ...nothing(bytes));
    expect(request.decodeDelete(remove([0x80, 0x02], 256), 0).reason).toHaveLength(256);
    expect(refusal(() => request.decodeDelete(remove([0x81, 0x02], 257), 0))).toBe('BAD_REQUEST');
  });

  test('a prefix of more than 1,024 bytes, and a LIST of nothing', () => {
    const list = (length: number[], bytes: number, limit: number) =>
      Uint8Array.of(...length, ...nothing(bytes), 0, limit);
    expect(request.decodeList(list([0x80, 0x08], 1024, 1)).prefix).toHaveLength(1024);
    expect(refusal(() => request.decodeList(list([0x81, 0x08], 1025, 1)))).toBe('BAD_REQUEST');
    expect(refusal(() => request.decodeList(list([0], 0, 0)))).toBe('BAD_REQUEST');
    const wide = [0x80, 0x80, 0x80, 0x80, 0x10];
    expect(refusal(() => request.decodeList(Uint8Array.of(0, ...wide, 1)))).toBe('BAD_REQUEST');
    expect(refusal(() => request.decodeList(Uint8Array.of(0, 0, ...wide)))).toBe('BAD_REQUEST');
  });
});

describe('The encoders of requests refuse', () => {
  const writer = new ByteWriter();

  test('what the other side would', () => {
    expect(codeOf(() => request.writeSequence(writer, 1, 0, new Uint8Array(65)))).toBe('INVALID_ARGUMENT');
    const set = (reason: string) => codeOf(() => request.encodeSet(writer, { key: { name: 'a' }, value: 1n, reason }));
    expect([set(''), set('é'.repeat(129)), set('é'.repeat(128))]).toEqual([
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      'none',
    ]);
    const remove = (reason: string) => codeOf(() => request.encodeDelete(writer, { key: { name: 'a' }, reason }));
    expect([remove(''), remove('é'.repeat(129)), remove('é'.repeat(128))]).toEqual([
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      'none',
    ]);
    const withId = (length: number) =>
      codeOf(() => request.writeExtendedDelta(writer, 1, { operationId: new Uint8Array(length) }));
    expect([withId(15), withId(16), withId(17)]).toEqual(['INVALID_ARGUMENT', 'none', 'INVALID_ARGUMENT']);
  });
});

test('The decoder of an answer to ADD refuses an operation that the request did not have', () => {
  const answer = Uint8Array.of(1, 1, 1, 5, 13);
  expect(response.decodeAddAnswer(answer, 6, false).refused).toEqual([{ index: 5, status: 13 }]);
  expect(codeOf(() => response.decodeAddAnswer(answer, 5, false))).toBe('BAD_REQUEST');
});

describe('The small writers', () => {
  const plain = fc.oneof(int64, fc.maxSafeInteger());

  test('write what the whole body holds', () => {
    fc.assert(
      fc.property(name, fc.nat(0xffffffff), count, plain, (text, slot, generation, delta) => {
        const pieces = new ByteWriter();
        request.writeSequence(pieces, 7, 2, Uint8Array.of(1));
        pieces.varint(4);
        request.writeOperationByName(pieces, text, delta);
        request.writeOperationById(pieces, slot, generation, delta);
        const utf8 = new TextEncoder().encode(`<${text}>`);
        request.writeNameBytesKey(pieces, utf8, 1, utf8.length - 1);
        pieces.zigzag(delta);
        request.writeIdKey(pieces, slot, generation, true);
        request.writeExtendedDelta(pieces, delta, { max: 5n });

        const whole = new ByteWriter();
        const operations = [
          { key: { name: text }, delta: BigInt(delta) },
          { key: { slot, generation }, delta: BigInt(delta) },
          { key: { name: text }, delta: BigInt(delta) },
          { key: { slot, generation }, delta: BigInt(delta), max: 5n },
        ];
        request.encodeAdd(whole, { sequence: { sequence: 7, unanswered: 2, cursor: Uint8Array.of(1) }, operations });
        expect([...pieces.view()]).toEqual([...whole.view()]);
      }),
    );
  });

  test('write nothing of a name that is none', () => {
    const writer = new ByteWriter();
    expect(codeOf(() => request.writeNameKey(writer, 'a\ud800'))).toBe('NAME_INVALID');
    expect(writer.length).toBe(0);
  });
});

describe('An error', () => {
  test('of the table crosses the wire with its code, outcome and detail', () => {
    for (const [code, { status }] of Object.entries(ERRORS)) {
      if (status < 0) continue;
      const sent = new TallystickError(code as keyof typeof ERRORS, 'The detail.', { outcome: 'unknown' });
      const writer = new ByteWriter();
      response.encodeError(writer, response.errorAnswer(sent, { position: 5 }));
      const answer = response.decodeError(writer.view());
      expect(answer).toEqual({ status, outcome: 'unknown', position: 5, detail: 'The detail.' });
      const received = response.errorOf(answer);
      expect([received.code, received.outcome, received.message]).toEqual([code, 'unknown', sent.message]);
    }
  });

  test('that has no status goes out as INTERNAL', () => {
    const { status } = response.errorAnswer(new TallystickError('CLOSED'));
    expect(codeOfStatus(status)).toBe('INTERNAL');
  });

  test('goes out by its code alone, with what is given beside it', () => {
    const { status, outcome } = ERRORS.STORAGE_FULL;
    expect(response.errorAnswer('STORAGE_FULL')).toEqual({ status, outcome, position: 0, detail: '' });
    const given = { outcome: 'unknown', position: 7, detail: 'Full.' } as const;
    expect(response.errorAnswer('STORAGE_FULL', given)).toEqual({ status, ...given });
    expect(response.errorAnswer(new TallystickError('STORAGE_FULL', 'Else.'), given)).toEqual({ status, ...given });
  });
});

test('A frame of a feed of names that tells of none of them is refused', () => {
  const frame = (head: number[]) => Uint8Array.of(2, 9, 1, ...head);
  const told = (head: number[]) => codeOf(() => tail.decodeTailAnswer(frame(head), ['a', 'b']));
  expect([told([1 << 2]), told([2 << 2]), told([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])]).toEqual([
    'none',
    'BAD_REQUEST',
    'BAD_REQUEST',
  ]);
  expect(() => tail.decodeTailAnswer(frame([2 << 2]), ['a', 'b'])).toThrow('A feed of 2 names tells of index 2.');
});
