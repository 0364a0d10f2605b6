import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BackupHeader, BackupReader, BackupWriter } from '../../src/backup/backup-file.js';
import { TallystickError } from '../../src/errors.js';
import { CHECKPOINT_PAGE_BYTES, type CheckpointManifest } from '../../src/log/checkpoint.js';
import { ChecksummedBuffer } from '../../src/log/checksum.js';

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
  };
}

const PARTS = [part(1, [page(3), page(5)]), part(0, [page(7)])];

async function write(header: BackupHeader, parts: readonly Part[]): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const writer = new BackupWriter(async (bytes) => {
    chunks.push(bytes.slice());
  });
  await writer.header(header);
  for (const { manifest, pages } of parts) {
    await writer.partition(manifest);
    for (const bytes of [...pages].reverse()) await writer.page(bytes);
  }
  await writer.end();
  const file = Buffer.concat(chunks);
  expect(writer.bytes).toBe(file.length);
  return file;
}

/** What is compared: a page of 64 KiB as its hash, since comparing bytes one by one takes long. */
function described(header: BackupHeader, parts: readonly Part[]) {
  return { header, parts: parts.map(({ manifest, pages }) => ({ manifest, pages: pages.map(hashOf) })) };
}

async function read(source: Iterable<Uint8Array>): Promise<ReturnType<typeof described>> {
  const reader = new BackupReader(
    (async function* () {
      yield* source;
    })(),
  );
  const header = await reader.header(KERNEL_VERSION);
  const parts: Part[] = [];
  for (let i = 0; i < header.partitions; i++) {
    const manifest = await reader.partition();
    const pages: Uint8Array[] = [];
    for (let index = manifest.pages.length - 1; index >= 0; index--) {
      pages[index] = (await reader.page(manifest, index)).slice();
    }
    parts.push({ manifest, pages });
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
      { numRuns: 200, examples: Array.from({ length: 220 * 8 }, (_, bit) => [bit] as [number]) },
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

  it('of another version of the kernel is told from a damaged one', async () => {
    expect(await refusal(await write({ ...HEADER, kernelVersion: 6 }, PARTS))).toBe('DIRECTORY_INVALID');
  });
});
