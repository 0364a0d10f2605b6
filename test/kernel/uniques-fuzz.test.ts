import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OK } from '../../src/errors.js';
import { Kind } from '../../src/partition/partition.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeOnce } from '../../src/protocol/once.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { writeNameKey } from '../../src/protocol/request.js';
import type { UniqueItems } from '../../src/protocol/sketch.js';
import { SKETCH_BYTES } from '../../src/protocol/sketch.js';
import { encodeMerge, encodeSee, encodeUniques } from '../../src/protocol/uniques.js';
import { bodyOf, Kernel, NOBODY, replay, START } from './fixture.js';

const key = fc.oneof(
  fc.record({ name: fc.constantFrom('exact', 'n', 'sketch', 'plain') }),
  fc.record({ slot: fc.nat(4), generation: fc.nat(1) }),
);
const item = fc.uint8Array({ minLength: 1, maxLength: 12 });
const items: fc.Arbitrary<UniqueItems> = fc.oneof(
  fc.record({ hashes: fc.array(fc.bigInt(0n, 2n ** 64n - 1n), { maxLength: 400, size: 'max' }) }),
  fc.record({ registers: fc.uint8Array({ minLength: SKETCH_BYTES, maxLength: SKETCH_BYTES, max: 50 }) }),
);
const counting = fc
  .tuple(key, item, fc.option(fc.record({ delta: fc.bigInt(-9n, 9n), within: fc.constantFrom(0, 0, 3_600_000) })))
  .map(([key, item, extension]) => ({ key, item, ...extension }));
/** What a partition in the making is brought, from any clock. */
const keeping = fc
  .tuple(fc.constantFrom('exact', 'sketch', 'plain'), fc.uint8Array({ minLength: 8, maxLength: 600, size: 'max' }))
  .map(([name, bytes]) => {
    const writer = new ByteWriter();
    writeNameKey(writer, name);
    writer.bytes(bytes.subarray(0, bytes.length - ((bytes.length - 8) % 12)));
    return [Kind.KEEP, writer.copy()] as const;
  });
const bringing = fc
  .tuple(
    fc.constantFrom('exact', 'n', 'sketch'),
    fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2 ** 31), fc.constantFrom(0, 1, 2, 3)),
    fc.oneof(
      fc.uint8Array({ maxLength: 4_000, size: 'max' }).map((bytes) => bytes.subarray(bytes.length & 7)),
      fc.uint8Array({ minLength: SKETCH_BYTES, maxLength: SKETCH_BYTES, max: 50 }),
    ),
  )
  .map(([name, [hour, day, number, form], bytes]) => {
    const writer = new ByteWriter();
    writeNameKey(writer, name);
    for (const word of [hour, day, number]) writer.u32(word);
    writer.u8(form);
    writer.bytes(bytes);
    return [Kind.BRING, writer.copy()] as const;
  });
const body = fc.oneof(
  { weight: 1, arbitrary: keeping },
  { weight: 1, arbitrary: bringing },
  fc
    .array(counting, { maxLength: 200, size: 'max' })
    .map((operations) => [Opcode.ONCE, bodyOf(encodeOnce, { operations })] as const),
  fc
    .array(fc.record({ key, item }), { maxLength: 300, size: 'max' })
    .map((sightings) => [Opcode.SEE, bodyOf(encodeSee, { sightings })] as const),
  fc.record({ key, items }).map((request) => [Opcode.MERGE, bodyOf(encodeMerge, request)] as const),
  fc
    .record({
      wanted: fc.constantFrom('each' as const, 'union' as const, 'sketch' as const),
      keys: fc.array(key),
      window: fc.option(
        fc.record({ unit: fc.constantFrom('hours' as const, 'days' as const), length: fc.integer({ min: 1, max: 9 }) }),
        { nil: undefined },
      ),
    })
    .map(({ window, ...rest }) => ({ ...rest, ...(window && { window }) }))
    .map((request) => [Opcode.UNIQUES, bodyOf(encodeUniques, request)] as const),
);
const damage = fc.option(fc.record({ at: fc.nat(), byte: fc.nat(255), cut: fc.boolean() }), {
  nil: undefined,
  freq: 1,
});

/** The body with a byte changed, or cut there. */
function damaged(bytes: Uint8Array, how: { at: number; byte: number; cut: boolean } | undefined): Uint8Array {
  if (!how || bytes.length === 0) return bytes;
  const at = how.at % bytes.length;
  return how.cut ? bytes.slice(0, at) : bytes.map((byte, i) => (i === at ? how.byte : byte));
}

test('sightings, merges and questions of any bytes are answered or refused, leave no trace where refused, and replay the same', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(body, damage), { maxLength: 40, size: 'max' }), (bodies) => {
      const kernel = new Kernel({ maximumPages: 170 });
      kernel.classify([
        { pattern: 'exact', uniques: 10_000, once: 3_600_000, onceItems: 100 },
        { pattern: 'n', uniques: 20, uniquesWindows: 3 },
        { pattern: 'sketch', uniques: 0, once: 60_000, onceItems: 10_000 },
      ]);
      for (const [[opcode, bytes], how] of bodies) {
        const sent = damaged(bytes, how);
        if (opcode !== Opcode.UNIQUES) {
          kernel.call(opcode, 0, NOBODY, 1, sent); // holds it to leaving no trace
          continue;
        }
        const before = kernel.partition.stateHash;
        const status = kernel.partition.uniques(sent, START);
        if (!how) expect(status).toBe(OK);
        expect(kernel.partition.stateHash).toBe(before);
      }
      expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
    }),
    { numRuns: 60 },
  );
});
