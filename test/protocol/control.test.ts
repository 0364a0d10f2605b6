import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import { TallystickError } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import * as control from '../../src/protocol/control.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import { LANE, Opcode } from '../../src/protocol/opcode.js';

const whole = fc.oneof(fc.nat(300), fc.maxSafeInteger().map(Math.abs));
const text = (minLength: number, maxLength: number) => fc.string({ minLength, maxLength });
const id = fc.uint8Array({ minLength: 16, maxLength: 16 });
const cursor = fc.uint8Array({ minLength: 0, maxLength: 64 });
const partition = fc.nat(0xfffe);

const helloRequest: fc.Arbitrary<control.HelloRequest> = fc.record(
  {
    version: fc.constant(1),
    client: text(0, 128),
    token: text(0, 512),
    producer: fc.oneof(fc.record({ id }), fc.record({ name: text(1, 256) })),
    direct: fc.boolean(),
    resume: fc.array(fc.record({ partition, incarnation: whole }), { maxLength: 10 }),
  },
  { requiredKeys: ['version', 'client'] },
);
const limits: control.HelloLimits = {
  frame: 1_048_576,
  name: 1024,
  batch: 10_000,
  inFlight: 1024,
  window: 1024,
  cursor: 64,
  reason: 256,
};
const helloAnswer: fc.Arbitrary<control.HelloAnswer> = fc.record(
  {
    version: fc.constant(1),
    server: text(0, 128),
    epoch: fc.nat(0xffffffff),
    lane: fc.nat(1),
    lanes: fc.array(fc.record({ host: text(1, 64), port: fc.integer({ min: 1, max: 65_535 }) }), {
      minLength: 2,
      maxLength: 4,
    }),
    partitions: fc.array(fc.nat(1), { maxLength: 20 }),
    limits: fc.constant(limits),
    accuracy: fc.array(fc.record({ pattern: text(1, 64), accuracy: fc.constantFrom(...control.ACCURACIES) })),
    gross: fc.array(fc.record({ pattern: text(1, 64), gross: fc.boolean() })),
    producer: fc.record({
      id,
      partitions: fc.array(
        fc.record(
          { partition, incarnation: whole, next: whole, cursor },
          { requiredKeys: ['partition', 'incarnation', 'next'] },
        ),
        { maxLength: 5 },
      ),
    }),
  },
  { requiredKeys: ['version', 'server', 'epoch', 'lane', 'lanes', 'partitions', 'limits'] },
);
const statsAnswer = {
  lane: 0,
  partitions: [
    { partition: 3, sequence: 2 ** 40, flushed: 5, counters: 7, memoryBytes: 2 ** 33, extra: [1, 'a', null] },
  ],
  milliseconds: 0.25,
  huge: 2n ** 60n,
  nested: { deep: { er: true } },
};

const bytesOf = <T>(encode: (writer: ByteWriter, value: T) => void, value: T) => {
  const writer = new ByteWriter(1);
  encode(writer, value);
  return writer.copy();
};
const packr = new Packr({ useRecords: false, variableMapSize: true });
const pack = (value: unknown) => new Uint8Array(packr.pack(value));

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof TallystickError) return error.code;
    throw error;
  }
  return 'none';
}

const FORMATS: readonly [
  string,
  fc.Arbitrary<unknown>,
  (w: ByteWriter, v: never) => void,
  (b: Uint8Array) => unknown,
][] = [
  ['HELLO', helloRequest, control.encodeHelloRequest, control.decodeHelloRequest],
  ['the answer to HELLO', helloAnswer, control.encodeHelloAnswer, control.decodeHelloAnswer],
  ['the answer to STATS', fc.constant(statsAnswer), control.encodeStatsAnswer, control.decodeStatsAnswer],
  ['the answer of all lanes to STATS', fc.constant([statsAnswer]), control.encodeAllStats, control.decodeAllStats],
];

describe.each(FORMATS)('The map of %s', (_, values, encode, decode) => {
  const encodeAny = encode as (writer: ByteWriter, value: unknown) => void;

  test('comes back as it went, whole and byte by byte', () => {
    fc.assert(
      fc.property(values, (value) => {
        const body = bytesOf(encodeAny, value);
        expect(decode(body)).toEqual(value);
        const reader = new FrameReader();
        const decoded: unknown[] = [];
        for (const byte of encodeFrame(Opcode.HELLO, 0, 0, 1, body)) {
          reader.push(Uint8Array.of(byte), (frame) => decoded.push(decode(frame.body)));
        }
        expect(decoded).toEqual([value]);
      }),
    );
  });

  test('does not change when the bytes that it was read from do', () => {
    fc.assert(
      fc.property(values, (value) => {
        const body = Buffer.from(bytesOf(encodeAny, value));
        const decoded = decode(body);
        body.fill(0);
        expect(decoded).toEqual(value);
      }),
      { numRuns: 20 },
    );
  });

  test('cut at any byte, or with a byte too many, is refused; with any byte changed it has a code or a value', () => {
    fc.assert(
      fc.property(values, fc.nat(), fc.nat(255), (value, at, byte) => {
        const body = bytesOf(encodeAny, value);
        for (let end = 0; end < body.length; end++) {
          expect(codeOf(() => decode(body.subarray(0, end)))).toBe('BAD_REQUEST');
        }
        expect(codeOf(() => decode(Uint8Array.of(...body, 0)))).toBe('BAD_REQUEST');
        body[at % body.length] = byte;
        codeOf(() => decode(body));
      }),
      { numRuns: 30 },
    );
  });

  test('is refused where the body is no map at all', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (any) => void codeOf(() => decode(any))));
    for (const value of [null, 1, 'a', [1], []]) expect(codeOf(() => decode(pack(value)))).toBe('BAD_REQUEST');
  });
});

test.each([1, 16, 4096, 65_534])('The longest HELLO to a server of %i partitions is within its limit', (partitions) => {
  const incarnation = Number.MAX_SAFE_INTEGER;
  const request = {
    version: 1,
    client: 'c'.repeat(128),
    token: 't'.repeat(512),
    producer: { name: 'n'.repeat(256) },
    direct: false,
    resume: Array.from({ length: partitions }, (_, partition) => ({ partition, incarnation })),
  };
  const body = bytesOf(control.encodeHelloRequest, request);
  expect(encodeFrame(Opcode.HELLO, 0, LANE, 1, body).length).toBeLessThanOrEqual(
    control.preHelloFrameBytes(partitions) + 4,
  );
  expect(control.decodeHelloRequest(body)).toEqual(request);
});

describe('A map of a stranger', () => {
  const hello = (extra: object) => pack({ version: 1, client: 'c', ...extra });

  test('may hold keys that are unknown', () => {
    expect(control.decodeHelloRequest(hello({ later: [1, { a: 2.5 }], __proto: null }))).toEqual({
      version: 1,
      client: 'c',
    });
  });

  test('asking for another version is told so before anything else', () => {
    expect(codeOf(() => control.decodeHelloRequest(pack({ version: 2, client: 5 })))).toBe('VERSION_MISMATCH');
  });

  test('is refused for a known key of another type or size', () => {
    const wrong: object[] = [
      { version: '1' },
      { version: 1.5 },
      { client: 5 },
      { client: 'é'.repeat(65) },
      { token: 5 },
      { token: 'a'.repeat(513) },
      { producer: 'web' },
      { producer: {} },
      { producer: { name: '' } },
      { producer: { name: 'a'.repeat(257) } },
      { producer: { id: new Uint8Array(15) } },
      { producer: { id: 'a'.repeat(16) } },
      { producer: { id: new Uint8Array(16), name: 'web' } },
      { direct: 1 },
      { direct: null },
      { resume: 5 },
      { resume: [5] },
      { resume: [[0]] },
      { resume: [[0, -1]] },
      { resume: [[65_535, 1]] },
    ];
    for (const extra of wrong) {
      expect([extra, codeOf(() => control.decodeHelloRequest(hello(extra)))]).toEqual([extra, 'BAD_REQUEST']);
    }
    const answer = fc.sample(helloAnswer, 1)[0] as control.HelloAnswer;
    for (const extra of [
      { lane: 99 },
      { partitions: [99] },
      { lanes: [] },
      { lanes: [{ host: 'a', port: 0 }] },
      { epoch: 2 ** 32 },
      { limits: {} },
      { accuracy: [['*', 'careless']] },
      { gross: [['*', 1]] },
      { gross: [['', true]] },
      { gross: ['*'] },
      { producer: { id: new Uint8Array(16), partitions: [[0, 1, 1, new Uint8Array(65)]] } },
    ]) {
      const body = pack({ ...answer, producer: undefined, ...extra });
      expect([extra, codeOf(() => control.decodeHelloAnswer(body))]).toEqual([extra, 'BAD_REQUEST']);
    }
  });

  test('that nests deep, counts high or holds too many values is refused before it is decoded', () => {
    const inMap = (...bytes: number[]) => Uint8Array.from([0x81, 0xa1, 0x61, ...bytes]);
    const arrays = (depth: number) => Uint8Array.from([...inMap(), ...new Array(depth).fill(0x91), 0xc0]);
    const decode = (body: Uint8Array) => codeOf(() => control.decodeStatsRequest(body));
    expect(decode(arrays(10))).toBe('none');
    for (const depth of [17, 1000, 100_000]) expect(decode(arrays(depth))).toBe('BAD_REQUEST');
    expect(decode(inMap(0xdd, 0x01, 0xff, 0xff, 0xff))).toBe('BAD_REQUEST');
    expect(decode(inMap(0xdf, 0x01, 0xff, 0xff, 0xff))).toBe('BAD_REQUEST');
    expect(decode(inMap(0xdb, 0x01, 0xff, 0xff, 0xff))).toBe('BAD_REQUEST');
    expect(decode(inMap(0xc6, 0x01, 0xff, 0xff, 0xff))).toBe('BAD_REQUEST');
    expect(decode(inMap(0xdc, 0x10, 0x00, ...new Array(4096).fill(0x80)))).toBe('BAD_REQUEST');
  });

  test('with an extension, a key that is no string, or text that is no UTF-8 is refused', () => {
    const decode = (body: Uint8Array) => codeOf(() => control.decodeStatsRequest(body));
    expect(decode(Uint8Array.of(0x81, 0xa1, 0x61, 0xd4, 0x72, 0x00))).toBe('BAD_REQUEST');
    expect(decode(Uint8Array.of(0x81, 0xa1, 0x61, 0xc1))).toBe('BAD_REQUEST');
    expect(decode(Uint8Array.of(0x81, 0x01, 0x01))).toBe('BAD_REQUEST');
    expect(decode(Uint8Array.of(0x81, 0xc4, 0x01, 0x61, 0x01))).toBe('BAD_REQUEST');
    expect(decode(Uint8Array.of(0x81, 0xa1, 0xff, 0x01))).toBe('BAD_REQUEST');
    expect(decode(Uint8Array.of(0x81, 0xa1, 0x61, 0xa1, 0xff))).toBe('BAD_REQUEST');
  });

  test('can not reach a prototype by its keys', () => {
    const body = pack(new Map<string, unknown>([...Object.entries(statsAnswer), ['__proto__', { polluted: 1 }]]));
    const stats = control.decodeStatsAnswer(body);
    expect(Object.getPrototypeOf(stats)).toBeNull();
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect((stats as unknown as Record<string, unknown>).polluted).toBeUndefined();
  });

  test('holds whole numbers beyond 32 bits as integers, which other languages read as such', () => {
    const body = bytesOf(control.encodeHelloRequest, {
      version: 1,
      client: '',
      resume: [{ partition: 0, incarnation: 2 ** 40 }],
    });
    expect(Buffer.from(body).toString('hex')).toMatch(/9200(d3|cf)0000010000000000$/);
  });
});
