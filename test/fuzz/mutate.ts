import { encodeFrame } from '../../src/protocol/frame.js';
import { DEFAULT_LIMITS, Flag, HEADER_BYTES, LANE, Opcode } from '../../src/protocol/opcode.js';
import type { Random } from '../support/random.js';
import { WITHOUT_MODEL } from './oracle.js';
import type { Frame } from './valid-frames.js';

/** What strangers, bit errors and wrong clients make of frames. All chance comes from one seed. */

/** Each with how often it is taken. Most leave the frame a frame, so that what is behind its header is reached. */
const MUTATIONS = {
  none: 30,
  bits: 10,
  bytes: 8,
  cut: 5,
  insert: 4,
  double: 3,
  splice: 8,
  varint: 9,
  count: 4,
  body: 4,
  bomb: 3,
  flags: 4,
  opcode: 3,
  partition: 2,
  header: 1,
  length: 1,
  torn: 1,
} as const;
export type Mutation = keyof typeof MUTATIONS;

const NAMES = Object.keys(MUTATIONS) as Mutation[];
const DRAWN = NAMES.flatMap((mutation) => new Array<Mutation>(MUTATIONS[mutation]).fill(mutation));

const SPECIAL_BYTES = [0, 1, 2, 3, 4, 6, 7, 0x7f, 0x80, 0x81, 0xc0, 0xc1, 0xdf, 0xfe, 0xff];
const FEW = 4;

/** Varints at the ends of their ranges, longer than need be, too long, and without an end. */
const EXTREME_VARINTS: readonly (readonly number[])[] = [
  [0],
  [0x7f],
  [0x80, 0x01],
  [0x80, 0x00],
  [0x80, 0x80, 0x80, 0x00],
  [0xff, 0xff, 0xff, 0xff, 0x07], // 2^31 - 1
  [0xff, 0xff, 0xff, 0xff, 0x0f], // 2^32 - 1
  [0x80, 0x80, 0x80, 0x80, 0x10], // 2^32
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], // 2^53 - 1
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10], // 2^53
  [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // 2^64 - 2: the zigzag of 2^63 - 1
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // 2^64 - 1: that of -2^63
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02], // 2^64
  [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], // 1 in ten bytes
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], // eleven bytes
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];

const OPCODE_AT = 4;
const UNKNOWN_OPCODE = 0x7f;

/** Bytes for the stream, and what was done to them. `torn`: the rest of the last frame never comes. */
export interface Mutant {
  readonly bytes: Uint8Array;
  readonly mutation: Mutation;
}

export class Mutator {
  readonly #random: Random;
  readonly #valid: () => Frame;

  /** @param valid gives frames to be mutated, and others to be put into them */
  constructor(random: Random, valid: () => Frame) {
    this.#random = random;
    this.#valid = valid;
  }

  next(): Mutant {
    const mutation = this.#random.pick(DRAWN);
    return { bytes: this.mutate(this.#valid(), mutation), mutation };
  }

  /** Never gives a frame of an opcode that the oracle has no model for: one that is applied would leave it behind. */
  mutate(frame: Frame, mutation: Mutation): Uint8Array {
    const bytes = this.#mutated(frame, mutation);
    if (WITHOUT_MODEL.includes(bytes[OPCODE_AT] ?? 0)) bytes[OPCODE_AT] = UNKNOWN_OPCODE;
    return bytes;
  }

  #mutated(frame: Frame, mutation: Mutation): Uint8Array {
    const random = this.#random;
    const { body } = frame;
    switch (mutation) {
      case 'none':
        return encoded(frame);
      case 'flags':
        return encoded({ ...frame, flags: random.oneIn(2) ? frame.flags ^ (1 << random.below(8)) : random.below(256) });
      case 'opcode':
        return encoded({ ...frame, opcode: random.oneIn(2) ? random.below(16) : random.below(256) });
      case 'partition':
        return encoded({
          ...frame,
          partition: random.pick([0, 1, 2, 3, 0x7fff, LANE - 1, LANE, random.below(65_536)]),
        });
      case 'header':
        return this.#flip(encoded(frame), 4, HEADER_BYTES);
      case 'length':
        return this.#withLength(encoded(frame));
      case 'torn':
        return encoded(frame).slice(0, 1 + random.below(HEADER_BYTES + body.length - 1));
      default:
        return encoded(this.#withBody(frame, mutation));
    }
  }

  #withBody(frame: Frame, mutation: Mutation): Frame {
    const random = this.#random;
    let { body } = frame;
    if (mutation === 'bomb') return { ...frame, ...this.#bomb() };
    if (mutation === 'body') return { ...frame, body: this.#valid().body };
    if (mutation === 'count') body = this.#varintAt(body, this.#countAt(frame));
    else for (let left = 1 + random.below(FEW); left > 0; left--) body = this.#changed(body, mutation);
    return { ...frame, body: body.subarray(0, DEFAULT_LIMITS.frame - HEADER_BYTES) };
  }

  #changed(body: Uint8Array, mutation: Mutation): Uint8Array {
    const random = this.#random;
    const at = random.below(body.length + 1);
    switch (mutation) {
      case 'bits':
        return this.#flip(body, 0, body.length);
      case 'bytes':
        return replaced(body, at, 1, [random.oneIn(2) ? random.pick(SPECIAL_BYTES) : random.below(256)]);
      case 'cut':
        return random.oneIn(2) ? body.subarray(0, at) : replaced(body, at, 1 + random.below(FEW), []);
      case 'insert':
        return replaced(body, at, 0, random.bytes(1 + random.below(12)));
      case 'double':
        return replaced(body, body.length, 0, body.subarray(at, at + 1000));
      case 'splice': {
        const other = this.#valid().body;
        return replaced(body, at, body.length, other.subarray(random.below(other.length + 1)));
      }
      default:
        return this.#varintAt(body, at);
    }
  }

  #varintAt(body: Uint8Array, at: number): Uint8Array {
    let length = 1;
    while (at + length < body.length && (body[at + length - 1] as number) & 0x80) length++;
    return replaced(body, at, length, this.#random.pick(EXTREME_VARINTS));
  }

  /** Where the count of a body stands: at its start, or behind the sequence or position. */
  #countAt({ flags, body }: Frame): number {
    if (flags & Flag.AFTER) return Math.min(body.length, 5);
    if (!(flags & Flag.SEQUENCED)) return 0;
    const cursorLength = body[2] ?? 0;
    return Math.min(body.length, 3 + cursorLength);
  }

  #flip(bytes: Uint8Array, start: number, end: number): Uint8Array {
    const flipped = bytes.slice();
    if (start === end) return flipped;
    const at = start + this.#random.below(end - start);
    flipped[at] = (flipped[at] as number) ^ (1 << this.#random.below(8));
    return flipped;
  }

  /** Lengths that lie, and what then comes as if nothing were wrong. */
  #withLength(frame: Uint8Array): Uint8Array {
    const random = this.#random;
    const bytes = replaced(frame, frame.length, 0, encoded(this.#valid()));
    const real = frame.length - 4;
    const near = [real - 1, real + 1, real + 4, real + HEADER_BYTES];
    const ends = [0, 1, 7, 8, 9, DEFAULT_LIMITS.frame, DEFAULT_LIMITS.frame + 1, 0x7fffffff, 0x80000000, 0xffffffff];
    new DataView(bytes.buffer).setUint32(0, random.pick(random.oneIn(2) ? near : ends), true);
    return bytes;
  }

  /** Bodies of MessagePack that would make a trusting decoder allocate or recurse without bound. */
  #bomb(): Partial<Frame> {
    const random = this.#random;
    const size = random.pick([1, 15, 16, 17, 100, 1000, 100_000]);
    const bodies = [
      () => new Uint8Array(size).fill(0x91), // arrays in arrays
      () => new Uint8Array(size).fill(0x81), // maps for keys
      () => Uint8Array.from([0x81, 0xa1, 0x61, ...new Array<number>(Math.min(size, 1000)).fill(0x91)]),
      () => Uint8Array.from([0xdf, 0xff, 0xff, 0xff, 0xff]), // a map of 2^32 - 1
      () => Uint8Array.from([0x81, 0xa1, 0x61, 0xdd, 0xff, 0xff, 0xff, 0xff]), // an array of them
      () => Uint8Array.from([0x81, 0xa1, 0x61, 0xdb, 0x7f, 0xff, 0xff, 0xff]), // a string
      () => Uint8Array.from([0x81, 0xa1, 0x61, 0xc6, 0xff, 0xff, 0xff, 0xff]), // bytes
      () => Uint8Array.from([0x81, 0xdb, 0xff, 0xff, 0xff, 0xff]), // a key
      () => Uint8Array.from([0x81, 0xa1, 0x61, 0xd4, 0x72, 0x40]), // a record of msgpackr
      () => Uint8Array.from([0x81, 0xa1, 0x61, 0xc7, 0x0c, 0xff, ...random.bytes(12)]), // a timestamp
      () => Uint8Array.from([0x81, 0xa9, ...new TextEncoder().encode('__proto__'), 0x80]),
      () => Uint8Array.from([0xde, 0x00, 0x02, 0xa7, ...new TextEncoder().encode('version'), 0x01, 0xa0]),
      () =>
        Uint8Array.from([0x81, 0xa1, 0x61, 0xdc, size >> 8, size & 255, ...new Array<number>(size & 0xfff).fill(0xc0)]),
    ];
    const opcode = random.pick([Opcode.STATS, Opcode.STATS, Opcode.HELLO]);
    return { opcode, partition: LANE, flags: 0, body: random.pick(bodies)() };
  }
}

function encoded({ opcode, flags, partition, requestId, body }: Frame): Uint8Array {
  return encodeFrame(opcode, flags, partition, requestId, body);
}

/** A copy with `count` bytes from `at` on replaced. */
function replaced(bytes: Uint8Array, at: number, count: number, by: ArrayLike<number>): Uint8Array {
  const end = Math.min(bytes.length, at + count);
  const result = new Uint8Array(at + by.length + bytes.length - end);
  result.set(bytes.subarray(0, at));
  result.set(by, at);
  result.set(bytes.subarray(end), at + by.length);
  return result;
}
