import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BackupHeader, BackupReader, BackupWriter } from '../../src/backup/backup-file.js';
import { TallystickError } from '../../src/errors.js';
import { keyOf, minuteKeyOf } from '../../src/history/key.js';
import { RowCodec } from '../../src/history/row.js';
import type { Put } from '../../src/history/tables.js';
import { CHECKPOINT_PAGE_BYTES, type CheckpointManifest, encodeManifest } from '../../src/log/checkpoint.js';
import { ChecksummedBuffer } from '../../src/log/checksum.js';
import { counterOf, NOW, rowAt } from '../history/rows.js';

const KERNEL_VERSION = 7;
const SECRET = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const HEADER: BackupHeader = {
  kernelVersion: KERNEL_VERSION,
  partitions: 2,
  epoch: 0xfedcba98,
  milliseconds: 1_764_000_000_123,
  secret: SECRET,
};

interface Part {
  readonly manifest: CheckpointManifest;
  readonly pages: readonly Uint8Array[];
  readonly rows: readonly Put[];
  readonly gone: readonly { readonly slot: number; readonly generation: number }[];
  readonly since: number;
}

const codec = new RowCodec();

/** A row of each resolution. */
function rowsOf(partition: number): Put[] {
  const counter = counterOf(70_000, partition, 3);
  const row = rowAt(counter, NOW, 2 ** 40, { 3: 5n, 59: -(2n ** 63n) }, 9);
  const put = (resolution: Put['resolution'], key: Uint8Array, sums: readonly (bigint | undefined)[]): Put => {
    return { resolution, key, value: codec.encode(resolution, key, sums) as Uint8Array };
  };
  return [
    put('minute', minuteKeyOf(partition, row), [...(row.minutes as bigint[])]),
    put('hour', keyOf(counter, 20_000), [1n, ...new Array(23).fill(undefined)]),
    put('day', keyOf(counter, 300), [...new Array(63).fill(undefined), 2n]),
  ];
}

function page(seed: number): Uint8Array {
  return Uint8Array.from({ length: CHECKPOINT_PAGE_BYTES }, (_, i) => (i * seed + (i >> 8)) & 0xff);
}

function hashOf(bytes: Uint8Array): bigint {
  const buffer = new ChecksummedBuffer(bytes.length);
  buffer.bytes.set(bytes);
  return buffer.xxh64(0, bytes.length);
}

function part(partition: number, pages: readonly Uint8Array[]): Part {
  const place = { group: 5, records: 9, bytes: 1_000, sequence: 2 ** 40 + partition, hash: 0xffff_ffff_ffff_fff0n };
  const hashes = pages.map((bytes) => ({ generation: 1, hash: hashOf(bytes) }));
  return {
    manifest: { partition, kernelVersion: KERNEL_VERSION, generation: 1, place, milliseconds: 77, pages: hashes },
    pages,
    rows: rowsOf(partition),
    gone: [
      { slot: 0, generation: 1 },
      { slot: 0xffff_ffff, generation: 0xffff },
    ],
    since: NOW + partition,
  };
}

const PARTS = [part(1, [page(3), page(5)]), part(0, [page(7)])];

async function write(header: BackupHeader, parts: readonly Part[]): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const writer = new BackupWriter(async (bytes) => {
    chunks.push(bytes.slice());
  });
  await writer.header(header);
  for (const { manifest, pages, rows, gone, since } of parts) {
    await writer.rows(manifest.partition, rows);
    await writer.gone(manifest.partition, gone);
    await writer.history(manifest.partition, manifest.place.sequence, since);
    await writer.state(manifest);
    for (const bytes of [...pages].reverse()) await writer.page(bytes);
  }
  await writer.end();
  const file = Buffer.concat(chunks);
  expect(writer.bytes).toBe(file.length);
  return file;
}

/** What is compared: a page of 64 KiB as its hash, since comparing bytes one by one takes long. */
function described(header: BackupHeader, parts: readonly Part[]) {
  return { header, parts: parts.map((one) => ({ ...one, rows: one.rows.map(textOf), pages: one.pages.map(hashOf) })) };
}

const textOf = ({ resolution, key, value }: Put) =>
  [resolution, Buffer.from(key).toString('hex'), Buffer.from(value).toString('hex')].join(' ');

async function read(source: Iterable<Uint8Array>): Promise<ReturnType<typeof described>> {
  const reader = new BackupReader(
    (async function* () {
      yield* source;
    })(),
  );
  const header = await reader.header(KERNEL_VERSION);
  const parts: Part[] = [];
  let rows: Put[] = [];
  let gone: Part['gone'] = [];
  let since = 0;
  while (parts.length < header.partitions) {
    const part = await reader.part();
    if (part.kind === 'rows') rows = [...rows, ...part.rows.map((row) => ({ ...row, key: row.key.slice() }))];
    else if (part.kind === 'gone') gone = part.counters;
    else if (part.kind === 'history') since = part.since;
    else {
      const { manifest } = part;
      const pages: Uint8Array[] = [];
      for (let index = manifest.pages.length - 1; index >= 0; index--) {
        pages[index] = (await reader.page(manifest, index)).slice();
      }
      parts.push({ manifest, pages, rows, gone, since });
      [rows, gone, since] = [[], [], 0];
    }
  }
  await reader.end();
  return described(header, parts);
}

function* cut(file: Uint8Array, lengths: readonly number[]): Generator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < file.length; i++) {
    const length = lengths[i % lengths.length] as number;
    yield file.subarray(at, at + length);
    at += length;
  }
}

/** The code with which reading ends; undefined where it does not. */
async function refusal(file: Uint8Array): Promise<string | undefined> {
  try {
    await read([file]);
    return undefined;
  } catch (error) {
    if (error instanceof TallystickError) return error.code;
    throw error;
  }
}

describe('a backup', () => {
  it('reads back what was written, whole and however it is cut', async () => {
    const file = await write(HEADER, PARTS);
    expect(await read([file])).toEqual(described(HEADER, PARTS));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 20 }),
        async (lengths) => {
          expect(await read(cut(file, lengths))).toEqual(described(HEADER, PARTS));
        },
      ),
      { numRuns: 20 },
    );
  });

  it('reads back byte by byte', async () => {
    const parts = [part(0, [page(11)])];
    const header = { ...HEADER, partitions: 1 };
    const file = await write(header, parts);
    expect(await read(cut(file, [1]))).toEqual(described(header, parts));
  });

  it('is refused with any bit flipped', async () => {
    const file = await write({ ...HEADER, partitions: 1 }, [part(0, [page(13)])]);
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length * 8 - 1), async (bit) => {
        const damaged = Buffer.from(file);
        damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(await refusal(damaged)).toBe('BACKUP_INVALID');
      }),
      { numRuns: 200, examples: Array.from({ length: 420 * 8 }, (_, bit) => [bit] as [number]) },
    );
  });

  it('is refused where it is cut short, and where bytes follow', async () => {
    const file = await write(HEADER, PARTS);
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), async (length) => {
        expect(await refusal(file.subarray(0, length))).toBe('BACKUP_INVALID');
      }),
      { examples: [[0], [47], [48], [51], [file.length - 1], [file.length - 32]] },
    );
    expect(await refusal(Buffer.concat([file, Buffer.alloc(1)]))).toBe('BACKUP_INVALID');
  });

  it('of the format before histories reads as states without one', async () => {
    const without = PARTS.map((one) => ({ ...one, rows: [], gone: [], since: 0 }));
    const chunks: Uint8Array[] = [];
    const header = Buffer.from((await write(HEADER, PARTS)).subarray(0, 48));
    header.writeUInt16LE(1, 8);
    const summed = new ChecksummedBuffer(40);
    summed.bytes.set(header.subarray(8));
    header.writeUInt32LE(summed.crc32c(0, 40), 4);
    chunks.push(header);
    for (const { manifest, pages } of PARTS) {
      const bytes = encodeManifest(manifest);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      chunks.push(length, bytes, ...[...pages].reverse());
    }
    const body = Buffer.concat(chunks);
    const file = Buffer.concat([body, createHash('sha256').update(body).digest()]);
    expect(await read([file])).toEqual(described(HEADER, without));
    file[60] = (file[60] as number) ^ 1;
    expect(await refusal(file)).toBe('BACKUP_INVALID');
  });

  it('whose rows are not of the partition that they stand under is refused, whatever its checksum', async () => {
    const [first, second] = PARTS as [Part, Part];
    expect(await refusal(await write(HEADER, [{ ...first, rows: second.rows }, second]))).toBe('BACKUP_INVALID');
  });

  it('of another version of the kernel is told from a damaged one', async () => {
    expect(await refusal(await write({ ...HEADER, kernelVersion: 6 }, PARTS))).toBe('DIRECTORY_INVALID');
  });
});
