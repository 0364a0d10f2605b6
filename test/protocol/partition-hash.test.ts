import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { murmur3, partitionHash, partitionOf } from '../../src/protocol/partition-hash.js';

const utf8 = (text: string) => new TextEncoder().encode(text);
const hash = (text: string) => partitionHash(utf8(text), 0, utf8(text).length);

describe('The hash of partitions', () => {
  test('is MurmurHash3_x86_32 with seed 0, at each length of the last block', () => {
    // from the test vectors that circulate with SMHasher
    const vectors: [string, number][] = [
      ['', 0],
      ['\0\0\0\0', 0x2362f9de],
      ['hello, world', 0x149bbb7f],
      ['The quick brown fox jumps over the lazy dog', 0x2e4ff723],
    ];
    for (const [text, expected] of vectors)
      expect([text, murmur3(utf8(text), 0, utf8(text).length)]).toEqual([text, expected]);
    const raw = Uint8Array.of(0x21, 0x43, 0x65, 0x87);
    expect([1, 2, 3, 4].map((end) => murmur3(raw, 0, end))).toEqual([0x72661cf4, 0xa0f7b07a, 0x7e4a8634, 0xf55b516b]);
    expect(murmur3(Uint8Array.of(0xff, 0xff, 0xff, 0xff), 0, 4)).toBe(0x76293b50);
  });

  test('sees only the bytes between start and end', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), fc.uint8Array(), (before, name, after) => {
        const bytes = Uint8Array.from([...before, ...name, ...after]);
        const [start, end] = [before.length, before.length + name.length];
        expect(murmur3(bytes, start, end)).toBe(murmur3(name, 0, name.length));
        expect(partitionHash(bytes, start, end)).toBe(partitionHash(name, 0, name.length));
        expect(partitionOf(bytes, start, end, 16)).toBe(partitionHash(name, 0, name.length) % 16);
      }),
    );
  });

  test('of a name with a tag is that of the tag, as the expression of protocol.md says', () => {
    const check = (name: string) => {
      // the first brace, then what is neither nothing nor beyond the first brace that closes
      const tag = /^[^{]*\{([^}]+)\}/s.exec(name)?.[1] ?? name;
      expect([name, hash(name)]).toEqual([name, murmur3(utf8(tag), 0, utf8(tag).length)]);
    };
    for (const name of ['a{b}c', '{}', '{', '}', '}{', '{}{a}', 'a{', 'a{b', '}{a}', '{{a}}', '{a', 'x{a}{b}', '{é}'])
      check(name);
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom('{', '}', 'a', 'é', '1') }), check), { numRuns: 1000 });
    expect(hash('likes{post:7}')).toBe(hash('views{post:7}'));
  });
});
