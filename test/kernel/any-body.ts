import type { CounterClass } from '../../src/partition/classes.js';
import { Kind } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeOnce } from '../../src/protocol/once.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import {
  encodeAdd,
  encodeDelete,
  encodeOpen,
  encodeSet,
  type Key,
  type Operation,
  writeNameKey,
} from '../../src/protocol/request.js';
import { encodeMerge, encodeSee } from '../../src/protocol/uniques.js';
import type { Random } from '../support/random.js';
import { bodyOf } from './fixture.js';

/** Bodies of every kind that changes counters, about a few names. */

export const EXPIRE = 16;
/** Some classes for them. */
export const CLASSES: readonly CounterClass[] = [
  { pattern: 'u:*', uniques: 16 },
  { pattern: 'o:*', once: 60_000, onceItems: 100 },
];
export const NAMES = ['a', 'b', 'c', 'likes', 'u:1', 'u:2', 'o:1', 'long'.repeat(100)];

/** An EXPIRE at a time in milliseconds. */
export function expire(name: string, time: number): Uint8Array {
  const body = new ByteWriter();
  writeNameKey(body, name);
  body.u8(2);
  body.varint(time);
  return body.copy();
}

/** A body of any kind about some of the names. */
export function anyBody(random: Random, ids: readonly Key[]): [kind: number, flags: number, body: Uint8Array] {
  const name = () => random.pick(NAMES);
  const key = (): Key => (random.oneIn(2) ? random.pick(ids) : { name: name() });
  const operation = (): Operation => ({
    key: key(),
    delta: random.oneIn(9) ? 2n ** 62n : BigInt(random.below(9)) - 4n,
    ...(random.oneIn(5) && { max: 3n }),
  });
  switch (random.below(10)) {
    case 0:
      return [Opcode.SET, 0, bodyOf(encodeSet, { key: key(), value: BigInt(random.below(5)), reason: 'r' })];
    case 1:
      return [Opcode.DELETE, 0, bodyOf(encodeDelete, { key: key(), reason: 'r' })];
    case 2:
      return [EXPIRE, 0, expire(name(), random.below(30))];
    case 3:
      return [Kind.TICK, 0, new Uint8Array(0)];
    case 4:
      return [Opcode.SEE, 0, bodyOf(encodeSee, { sightings: [{ key: key(), item: Uint8Array.of(random.below(9)) }] })];
    case 5:
      return [Opcode.MERGE, 0, bodyOf(encodeMerge, { key: key(), items: { hashes: [BigInt(random.below(9))] } })];
    case 7: {
      const operations = [{ key: key(), item: Uint8Array.of(random.below(9)) }];
      return [Opcode.ONCE, 0, bodyOf(encodeOnce, { operations })];
    }
    case 6:
      return [Opcode.OPEN, 0, bodyOf(encodeOpen, [name()])];
    default: {
      const operations = Array.from({ length: random.below(6) }, operation);
      const flags = (random.oneIn(3) ? Flag.ATOMIC : 0) | (random.oneIn(3) ? Flag.VALUES : 0);
      return [Opcode.ADD, flags, bodyOf(encodeAdd, { operations })];
    }
  }
}
