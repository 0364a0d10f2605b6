import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { openInput } from '../../src/cli/ingest/input.js';

const directory = mkdtempSync(join(tmpdir(), 'tallystick-input-'));
afterAll(() => rmSync(directory, { recursive: true }));

const noStdin = Readable.from([]);
/** Longer than the head that is kept, with a line every 10 bytes. */
const content = Buffer.from(Array.from({ length: 60_000 }, (_, line) => `${String(line).padStart(9, '0')}\n`).join(''));

function file(name: string, bytes: Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
}

async function readOpen(opened: Awaited<ReturnType<typeof openInput>>, begin: number): Promise<Buffer> {
  const { chunks } = await opened.input.fromLine(begin);
  const all: Buffer[] = [];
  for await (const chunk of { [Symbol.asyncIterator]: () => chunks }) all.push(chunk);
  return Buffer.concat(all);
}

/** Reads from `begin` to the end, and closes the input whatever happens. */
async function readFrom(opened: Awaited<ReturnType<typeof openInput>>, begin: number): Promise<Buffer> {
  try {
    return await readOpen(opened, begin);
  } finally {
    await opened.close();
  }
}

describe('opening an input', () => {
  const gzip = gzipSync(content);
  const members = Buffer.concat([gzipSync(content.subarray(0, 100_000)), gzipSync(content.subarray(100_000))]);
  const plainPath = file('plain', content);
  const gzipPath = file('gzip-without-its-suffix', gzip);
  const membersPath = file('members.gz', members);
  const bytewise = (bytes: Buffer): Readable =>
    Readable.from([bytes.subarray(0, 1), bytes.subarray(1, 2), bytes.subarray(2)]);

  it.each([
    ['a file', () => openInput(plainPath, noStdin)],
    ['a compressed file, known by its first bytes', () => openInput(gzipPath, noStdin)],
    ['a compressed file of several members', () => openInput(membersPath, noStdin)],
    ['stdin', () => openInput('-', bytewise(content))],
    ['compressed stdin', () => openInput('-', bytewise(gzip))],
  ])('reads %s from any line on, and keeps its head', async (_, open) => {
    for (const begin of [0, 10, 65_530, 65_540, 300_000, content.length]) {
      const opened = await open();
      if (begin > 0) expect((await opened.input.readHead(65_536)).length).toBe(65_536);
      expect((await readFrom(opened, begin)).equals(content.subarray(begin))).toBe(true);
      expect(opened.input.head.equals(content.subarray(0, 65_536))).toBe(true);
    }
  });

  it('seeks in a plain file instead of reading what lies before', async () => {
    const opened = await openInput(plainPath, noStdin);
    await opened.input.readHead(65_536);
    await readFrom(opened, 590_000);
    expect(opened.size).toBe(600_000);
    expect(opened.bytesRead()).toBe(600_000);
    expect(opened.input.length).toBe(600_000);
  });

  it('reads a named pipe like stdin', async () => {
    const path = join(directory, 'pipe');
    execFileSync('mkfifo', [path]);
    execFileSync('sh', ['-c', `cat '${plainPath}' > '${path}' &`], { stdio: 'ignore' });
    const opened = await openInput(path, noStdin);
    expect(opened.size).toBeUndefined();
    expect((await readFrom(opened, 0)).equals(content)).toBe(true);
  });

  it('takes an empty file and one of one byte', async () => {
    expect(await readFrom(await openInput(file('empty', Buffer.alloc(0)), noStdin), 0)).toHaveLength(0);
    expect(await readFrom(await openInput(file('byte', Buffer.from('x')), noStdin), 0)).toHaveLength(1);
  });

  it('says which file it can not read, and why', async () => {
    await expect(openInput(join(directory, 'none'), noStdin)).rejects.toThrow(/^INPUT_FAILED: .*none: ENOENT/);
    await expect(openInput(directory, noStdin)).rejects.toThrow(/^INPUT_FAILED: .*EISDIR/);
    const cut = await openInput(file('cut.gz', gzip.subarray(0, gzip.length - 20)), noStdin);
    await expect(readFrom(cut, 0)).rejects.toThrow(/^INPUT_FAILED: .*cut.gz: unexpected end of file/);
  });
});

describe('beginning behind a cursor', () => {
  const beginning = async (text: string, begin: number): Promise<[number, string]> => {
    const path = file('lines', Buffer.from(text));
    const opened = await openInput(path, noStdin);
    const first = await openInput(path, noStdin);
    const { offset } = await first.input.fromLine(begin).finally(() => first.close());
    return [offset, (await readFrom(opened, begin)).toString()];
  };

  it('begins right there where the cursor stands behind a line end', async () => {
    expect(await beginning('ab\ncd\n', 3)).toEqual([3, 'cd\n']);
    expect(await beginning('ab\n', 3)).toEqual([3, '']);
    expect(await beginning('ab\n\ncd', 3)).toEqual([3, '\ncd']);
  });

  it('begins behind the line end that a last line without one has got since', async () => {
    expect(await beginning('ab', 2)).toEqual([2, '']);
    expect(await beginning('ab\n', 2)).toEqual([3, '']);
    expect(await beginning('ab\r\ncd', 2)).toEqual([4, 'cd']);
  });

  it('refuses an input whose counted last line has grown, or which ends before the cursor', async () => {
    await expect(beginning('abc\n', 2)).rejects.toThrow(/^INPUT_CHANGED: .*byte 2, .* middle of a line/);
    await expect(beginning('ab', 4)).rejects.toThrow(/^INPUT_CHANGED: The input is shorter than the 4 bytes/);
  });
});
