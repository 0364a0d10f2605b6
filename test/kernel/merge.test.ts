import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { encodeUtf8 } from '../../src/protocol/bytes.js';
import { Opcode } from '../../src/protocol/opcode.js';
import type { UniqueItems } from '../../src/protocol/sketch.js';
import { SKETCH_BYTES } from '../../src/protocol/sketch.js';
import { idOf, Kernel, NOBODY, replay } from './fixture.js';

const MERGE = Opcode.MERGE;

function kernelOf(maximumPages = 1000): Kernel {
  const kernel = new Kernel({ maximumPages });
  kernel.classify([{ pattern: 'exact*', uniques: 10_000_000 }, { pattern: 'plain*' }, { pattern: '*', uniques: 256 }]);
  return kernel;
}

function see(kernel: Kernel, name: string, from: number, to: number): void {
  for (let at = from; at < to; at += 10_000) {
    const key = { name };
    const sightings = Array.from({ length: Math.min(10_000, to - at) }, (_, i) => ({
      key,
      item: encodeUtf8(`${at + i}`),
    }));
    expect(kernel.see({ sightings }).answer?.refused).toEqual([]);
  }
}

const sketchOf = (kernel: Kernel, name: string) => kernel.uniques('sketch', [{ name }]).answer?.sketch as UniqueItems;
const countOf = (kernel: Kernel, name: string) => kernel.uniques('each', [{ name }]).answer?.counts[0];
const canonical = ({ hashes, registers }: UniqueItems) => registers ?? [...hashes].sort();

describe('MERGE', () => {
  test('leaves a name as if it had seen all items itself, in any order and however often', () => {
    const part = fc.record({
      class: fc.constantFrom('exact', 'n'),
      from: fc.nat(500),
      size: fc.constantFrom(0, 1, 200, 256, 300, 1600, 17_000),
    });
    fc.assert(
      fc.property(
        fc.constantFrom('exact target', 'target'),
        fc.array(part, { minLength: 1, maxLength: 4 }),
        (target, parts) => {
          const kernel = kernelOf();
          kernel.watched = false;
          const names = parts.map(({ class: kind, from, size }, i) => {
            see(kernel, `${kind}${i}`, from, from + size);
            see(kernel, `${target} that saw`, from, from + size);
            return `${kind}${i}`;
          });
          const merge = (name: string) => kernel.merge({ key: { name: target }, items: sketchOf(kernel, name) }).answer;
          for (const name of names) expect(merge(name)?.status).toBe(OK);
          const once = countOf(kernel, target);
          for (const name of names.reverse()) expect(merge(name)).toEqual(once);
          const saw = countOf(kernel, `${target} that saw`);
          const merged = sketchOf(kernel, target);
          // what came as registers makes the target a sketch, though it may know as many items exactly
          if (saw?.exact === once?.exact && saw?.status === OK) {
            expect(once).toEqual(saw);
            expect(canonical(merged)).toEqual(canonical(sketchOf(kernel, `${target} that saw`)));
          }
          expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
        },
      ),
      { numRuns: 25 },
    );
  });

  test('refuses what is no sketch, and changes nothing', () => {
    const kernel = kernelOf();
    see(kernel, 'n', 0, 1);
    const rank = (value: number) => {
      const registers = new Uint8Array(SKETCH_BYTES);
      registers[0] = value;
      return registers;
    };
    expect(kernel.merge({ key: { name: 'n' }, items: { registers: rank(51) } }).status).toBe(OK);
    expect(kernel.merge({ key: { name: 'n' }, items: { registers: rank(52) } }).status).toBe(ERRORS.BAD_REQUEST.status);
    const head = [4, 0x6e];
    const bad = [
      [],
      [4],
      head,
      [...head, 2],
      [...head, 0],
      [...head, 0, 1],
      [...head, 0, 1, 1, 2, 3, 4, 5, 6, 7],
      [...head, 0, 0, 9],
    ];
    bad.push([...head, 1, ...new Uint8Array(SKETCH_BYTES - 1)], [...head, 1, ...new Uint8Array(SKETCH_BYTES + 1)]);
    bad.push([6, 0x6e, 0, 0], [0, 0, 0]);
    for (const body of bad) {
      const status = kernel.call(MERGE, 0, NOBODY, 1, Uint8Array.from(body));
      expect([ERRORS.BAD_REQUEST.status, ERRORS.NAME_INVALID.status], `${body.slice(0, 20)}`).toContain(status);
    }
    const many = { hashes: Array.from({ length: 16_385 }, (_, i) => BigInt(i)) };
    expect(kernel.merge({ key: { name: 'n' }, items: many }).status).toBe(ERRORS.BAD_REQUEST.status);
  });

  test('under a name whose class keeps no uniques is refused, and leaves no name behind', () => {
    const kernel = kernelOf();
    const items = { hashes: [1n, 2n] };
    expect(kernel.merge({ key: { name: 'plain' }, items }).answer?.status).toBe(ERRORS.NOT_TRACKED.status);
    expect(kernel.merge({ key: { slot: 7, generation: 0 }, items }).answer?.status).toBe(ERRORS.ID_UNKNOWN.status);
    expect(kernel.partition.statistics.names).toBe(0);
    expect(kernel.merge({ key: { name: 'n' }, items: { hashes: [] } }).answer).toEqual({
      status: OK,
      exact: true,
      count: 0,
    });
    expect(kernel.value('n')).toBe(0n);
    expect(kernel.partition.statistics.tracks).toBe(0);
  });

  test('under a sequence is applied once', () => {
    const kernel = kernelOf();
    const session = kernel.openProducer(idOf(1)).answer;
    const request = { sequence: { sequence: 1, unanswered: 0 }, key: { name: 'n' }, items: { hashes: [1n] } };
    const first = kernel.merge(request, session);
    expect(first.answer).toEqual({ status: OK, exact: true, count: 1 });
    see(kernel, 'n', 0, 5);
    expect(kernel.merge(request, session).answer).toEqual(first.answer);
  });

  test('without memory says so, and forgets nothing', () => {
    const kernel = kernelOf(160);
    kernel.watched = false;
    see(kernel, 'n', 0, 100);
    for (let i = 0; kernel.step(`${i}/${'x'.repeat(1000)}`, 1n).status === OK; i++);
    const full = ERRORS.MEMORY_FULL.status;
    const registers = new Uint8Array(SKETCH_BYTES);
    expect(kernel.merge({ key: { name: 'n' }, items: { registers } }).answer?.status).toBe(full);
    const hashes = Array.from({ length: 16_384 }, (_, i) => BigInt(i) << 50n);
    expect(kernel.merge({ key: { name: 'n' }, items: { hashes } }).answer?.status).toBe(full);
    expect(kernel.merge({ key: { name: 'new' }, items: { registers } }).answer?.status).toBe(full);
    expect(countOf(kernel, 'new')?.status).toBe(ABSENT);
    see(kernel, 'n', 0, 100);
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });
});
