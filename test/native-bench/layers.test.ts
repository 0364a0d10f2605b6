import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { missingTools } from '../../native-bench/native.mjs';
import { runLayers, runNativeLayers } from '../../native-bench/tiny.mjs';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeAdd } from '../../src/protocol/request.js';

/** Whether the benches still do the work that they time. Expected is what a model says, written without them. */

/** More than 4,096, so that some ids take three bytes. */
const NAMES = 5_001;
const SIZE = 100;
const directory = mkdtempSync(join(tmpdir(), 'tallystick-layers-'));
const names = Array.from({ length: NAMES }, (_, i) => `counter:${i * 7919}:${'x'.repeat(i % 23)}`);
const picked = Array.from({ length: 2_000 }, (_, i) => (i * i * 31) % NAMES);
const work = { directory, names, picked };

afterAll(() => rmSync(directory, { recursive: true }));

function fnv(bytes: Iterable<number>): number {
  let hash = 0x811c9dc5n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
  return Number(hash);
}

/** Every name once, and then as often as it was picked. */
function values(): number {
  const counts = names.map(() => 1);
  for (const number of picked) counts[number] = (counts[number] as number) + 1;
  return fnv(counts.flatMap((count) => [count & 0xff, count >> 8, 0, 0, 0, 0, 0, 0]));
}

function batchesOf(list: readonly string[], size: number): Uint8Array[] {
  const bodies: Uint8Array[] = [];
  for (let from = 0; from < list.length; from += size) {
    const writer = new ByteWriter();
    const operations = list.slice(from, from + size).map((name) => ({ key: { name }, delta: 1n }));
    encodeAdd(writer, { operations });
    bodies.push(writer.copy());
  }
  return bodies;
}

/** An answer to each frame: of 16 bytes, ADD, with its partition and its request id. */
function answers(): number {
  const count = Math.ceil(picked.length / SIZE);
  return fnv(Array.from({ length: count }, (_, i) => [12, 0, 0, 0, 0x84, 0, i, 0, i + 1, 0, 0, 0, 0, 0, 0, 0]).flat());
}

const expected = {
  'kernel by name': values(),
  'kernel by id': values(),
  'encoded operations': fnv(batchesOf(names, 1_000).flatMap((body) => [...body])),
  'answers to frames': answers(),
  'bytes through a ring': fnv(Array.from({ length: 2_502_500 }, (_, i) => (i % 1_001) & 0xff)),
};

describe('the layers that are timed', () => {
  it('make what a model says', async () => {
    const bodies = batchesOf(
      picked.map((number) => names[number] as string),
      SIZE,
    );
    expect(await runLayers(work)).toEqual({
      ...expected,
      'answers over the loopback': answers(),
      'bodies in the log': fnv(bodies.flatMap((body) => [...body])),
      'bodies in the log of plain files': fnv(bodies.flatMap((body) => [...body])),
    });
  });

  it.skipIf(missingTools())('make the same in C', async () => {
    expect(await runNativeLayers(work)).toEqual({
      ...expected,
      'kernel by name, naive': values(),
      'kernel by name, a hash without key': values(),
    });
  });
});
