import { describe, expect, test } from 'vitest';
import type { ByteWriter } from '../../src/protocol/bytes.js';
import { Outputs } from '../../src/transport/outputs.js';
import { MemoryTransport } from './memory-transport.js';

/** An array that has so many bytes, all the same. */
function filled(outputs: Outputs, bytes: number, byte: number): ByteWriter {
  const writer = outputs.take();
  for (let i = 0; i < bytes; i++) writer.u8(byte);
  return writer;
}

describe('The arrays of answers', () => {
  test('are used again where the system takes everything at once', () => {
    const [outputs, transport] = [new Outputs(), new MemoryTransport()];
    const first = filled(outputs, 17_000, 1);
    const { buffer } = first;
    outputs.send(first, transport);
    for (let i = 0; i < 10; i++) outputs.send(filled(outputs, 17_000, 2), transport);
    expect(new Set(transport.writes.map((bytes) => bytes.buffer))).toEqual(new Set([buffer.buffer]));
    expect(outputs.take().length).toBe(0);
    expect(transport.taken.slice(0, 17_001)).toEqual([...new Array(17_000).fill(1), 2]);
  });

  test('are left alone until the client takes them, and take no more than they have', () => {
    const [outputs, transport] = [new Outputs(), new MemoryTransport()];
    transport.takesAll = false;
    for (let i = 1; i <= 5; i++) outputs.send(filled(outputs, 17_000, i), transport);
    outputs.send(filled(outputs, 3, 6), transport);
    expect(transport.unsentBytes).toBe(5 * 17_000 + 3);
    const held = transport.writes.map((bytes) => bytes.buffer.byteLength);
    expect(held.slice(1)).toEqual([17_000, 17_000, 17_000, 17_000, 3]);
    expect(held[0]).toBeLessThan(1.1 * 17_000);
    transport.take();
    expect(transport.taken).toEqual([...[1, 2, 3, 4, 5].flatMap((i) => new Array(17_000).fill(i)), 6, 6, 6]);
  });

  test('are not given away for a few bytes', () => {
    const [outputs, transport] = [new Outputs(), new MemoryTransport()];
    outputs.send(filled(outputs, 17_000, 1), transport);
    transport.takesAll = false;
    outputs.send(filled(outputs, 100, 2), transport);
    expect(transport.writes[1]?.buffer.byteLength).toBe(100);
  });

  test('are given as they are where they are short', () => {
    const [outputs, transport] = [new Outputs(), new MemoryTransport()];
    const short = filled(outputs, 18, 1);
    outputs.send(short, transport);
    expect(transport.writes[0]?.buffer).toBe(short.buffer.buffer);
    transport.takesAll = false;
    for (let i = 0; i < 100; i++) outputs.send(filled(outputs, 18, 2), transport);
    const held = transport.writes.slice(1).map((bytes) => bytes.buffer.byteLength);
    expect(held.slice(1)).toEqual(new Array(99).fill(18));
    transport.take();
    expect(transport.taken).toEqual([...new Array(18).fill(1), ...new Array(1_800).fill(2)]);
  });

  test('are kept up to a bound', () => {
    const [outputs, transport] = [new Outputs(), new MemoryTransport()];
    outputs.send(filled(outputs, 100_000, 1), transport);
    expect(outputs.take().buffer.length).toBeLessThan(1_000);
    const many = Array.from({ length: 100 }, () => filled(outputs, 17_000, 1));
    for (const each of many) outputs.send(each, transport);
    const capacities = Array.from({ length: 100 }, () => outputs.take().buffer.length);
    expect(capacities.filter((bytes) => bytes > 1_000)).toHaveLength(64);
  });

  test('are forgotten when they are cleared', () => {
    const [outputs, transport] = [new Outputs(), new MemoryTransport()];
    outputs.send(filled(outputs, 17_000, 1), transport);
    outputs.clear();
    expect(outputs.take().buffer.length).toBeLessThan(1_000);
  });
});
