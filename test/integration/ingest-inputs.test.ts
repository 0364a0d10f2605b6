import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ScratchServer, startScratchServer } from './ingest-programs.js';

const ROOT = join(import.meta.dirname, '../..');

let server: ScratchServer;
beforeAll(async () => {
  server = await startScratchServer();
});
afterAll(() => server.stop());

const LOG = join(ROOT, 'test/fixtures/access.log');
const log = readFileSync(LOG);

/** The small log counted under a prefix of one's own, and what it gives: 7 views of / and 20 answers with 200. */
const recipe = (prefix: string): string[] => ['--format', 'combined', '--count', `${prefix}{path}:{status}`];
const expected = (prefix: string) => ({
  [`${prefix}/:200`]: '6',
  [`${prefix}/:304`]: '1',
  [`${prefix}/about:200`]: '5',
});

async function expectCounted(prefix: string): Promise<void> {
  expect(await server.values(Object.keys(expected(prefix)))).toEqual(expected(prefix));
}

it('a compressed file, a pipe and a compressed pipe give what the file gives', async () => {
  const packed = join(server.directory, 'access.log.gz');
  writeFileSync(packed, gzipSync(log));
  const inputs = { file: [LOG, ''], packed: [packed, ''], pipe: ['-', log], packedPipe: ['-', gzipSync(log)] } as const;
  for (const [prefix, [path, stdin]] of Object.entries(inputs)) {
    const { status, out } = await server.run(['ingest', path, ...recipe(prefix)], stdin);
    expect(status).toBe(0);
    expect(out).toMatch(/^lines +40\n/);
    await expectCounted(prefix);
  }
});

it('a log that was counted in part goes on after it was rotated and packed', async () => {
  const half = log.subarray(0, log.indexOf('\n', log.length / 2) + 1);
  const [current, packed] = [join(server.directory, 'current.log'), join(server.directory, 'current.log.1.gz')];
  writeFileSync(current, half);
  writeFileSync(packed, gzipSync(log));
  const options = [...recipe('rotated'), '--producer', 'rotated', '--json'];
  const before = JSON.parse((await server.run(['ingest', current, ...options])).out) as { lines: number };
  const after = JSON.parse((await server.run(['ingest', packed, ...options])).out) as { lines: number };
  expect([before.lines > 0, after.lines > 0, before.lines + after.lines]).toEqual([true, true, 40]);
  await expectCounted('rotated');
});

it('a compressed file that breaks off is an error, and what is in it is counted once', async () => {
  const packed = join(server.directory, 'broken.gz');
  const whole = gzipSync(log);
  writeFileSync(packed, whole.subarray(0, whole.length - 20));
  const options = [...recipe('broken'), '--producer', 'broken'];
  const { status, err } = await server.run(['ingest', packed, ...options]);
  expect(status).toBe(1);
  expect(err).toContain('INPUT_FAILED: ');
  writeFileSync(packed, whole);
  expect((await server.run(['ingest', packed, ...options])).status).toBe(0);
  await expectCounted('broken');
});

it('unusable lines are reported with their numbers and reasons, and are no failure', async () => {
  const { status, out, err } = await server.run(['ingest', LOG, ...recipe('people')]);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  expect(out).toMatch(/^unusable +10$/m);
  expect(out).toContain(
    [
      'Unusable lines, of which nothing was counted:',
      '  line 15: no method and path: the request is not of the form "METHOD PATH PROTOCOL"',
    ].join('\n'),
  );
  const { unusableLines } = JSON.parse((await server.run(['ingest', LOG, ...recipe('json'), '--json'])).out) as {
    unusableLines: { line: number; reason: string }[];
  };
  expect(unusableLines.map(({ line }) => line)).toEqual([15, 16, 20, 21, 22, 23, 24, 26, 30, 39]);
  for (const { line, reason } of unusableLines.slice(0, 10)) expect(out).toContain(`\n  line ${line}: ${reason}\n`);
});

it('what the server refuses is listed, not counted, and a failure', async () => {
  const most = String(2n ** 63n - 1n);
  const input = `shop,cents\na,${most}\nb,5\na,1\na,-1\n`;
  const options = ['--format', 'csv', '--sum', 'refused:{shop}=cents', '--json'];
  expect((await server.run(['incr', 'refused:a', '1'])).out).toBe('1\n');
  const { status, out, err } = await server.run(['ingest', '-', ...options], input);
  expect(status).toBe(1);
  expect(err).toContain('OVERFLOW: ');
  const { refused, refusals } = JSON.parse(out) as { refused: number; refusals: unknown[] };
  expect({ refused, refusals }).toEqual({
    refused: 1,
    refusals: [{ name: 'refused:a', delta: most, code: 'OVERFLOW' }],
  });
  expect(await server.values(['refused:a', 'refused:b'])).toEqual({ 'refused:a': '1', 'refused:b': '5' });
});
