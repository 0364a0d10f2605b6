import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { operationId } from '../../src/client/operation-id.js';
import { sha256 } from '../../src/client/sha256.js';

describe('sha256', () => {
  it('is that of FIPS 180-4, for all lengths around a block', () => {
    for (let length = 0; length < 300; length++) {
      const message = Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 0xff);
      expect(Buffer.from(sha256(message)).toString('hex')).toBe(createHash('sha256').update(message).digest('hex'));
    }
  });
});

describe('an operation id', () => {
  it('is 16 bytes as they are, or the first 16 of the hash of a string', () => {
    const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
    expect(operationId(bytes)).toBe(bytes);
    expect(Buffer.from(operationId('abc')).toString('hex')).toBe('ba7816bf8f01cfea414140de5dae2223');
    expect(() => operationId(new Uint8Array(15))).toThrow(/INVALID_ARGUMENT/);
    expect(() => operationId('\ud800')).toThrow(/NAME_INVALID/);
  });
});
