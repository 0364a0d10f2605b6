import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import type { Connect } from '../../src/cli/cli.js';
import { TallystickError } from '../../src/errors.js';
import { cli } from './command-line.js';
import { fakeConnect } from './fake-client.js';
import { FakeServer } from './fake-target.js';

const directory = mkdtempSync(join(tmpdir(), 'tallystick-transfer-'));
afterAll(() => rmSync(directory, { recursive: true }));

describe('export', () => {
  const server = new FakeServer(4);
  server.values.set('likes:a', 1n);
  server.values.set('likes:b,"\n', -2n);
  server.values.set('views', 2n ** 63n - 1n);

  it('writes what is durable to stdout, and its summary to stderr', async () => {
    server.reads.length = 0;
    const { status, out, err, connections } = await cli(['export'], { server });
    expect(status).toBe(0);
    expect(out).toBe(
      '{"name":"likes:a","value":"1"}\n{"name":"likes:b,\\"\\n","value":"-2"}\n{"name":"views","value":"9223372036854775807"}\n',
    );
    expect(err).toMatch(/^counters +3\nbytes +\d+\n/);
    expect(server.reads).toEqual(['durable']);
    expect(connections[0]?.options.producer).toBe(false);
  });

  it('writes only what begins with the prefix, in the format that is asked for', async () => {
    const { out } = await cli(['export', 'likes:', '--format', 'csv'], { server });
    expect(out).toBe('name,value\nlikes:a,1\n"likes:b,""\n",-2\n');
    expect((await cli(['export', 'none', '--format', 'csv'], { server })).out).toBe('name,value\n');
  });

  it('writes a file in the format of its ending, and says so on stdout', async () => {
    const file = join(directory, 'out.csv');
    writeFileSync(file, 'former');
    const { status, out, err } = await cli(['export', '', file, '--json'], { server });
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(JSON.parse(out)).toMatchObject({ counters: 3, bytes: readFileSync(file).length });
    expect(readFileSync(file, 'utf8')).toMatch(/^name,value\nlikes:a,1\n/);
    expect(existsSync(`${file}.partial`)).toBe(false);
  });

  it('leaves the file as it was when it fails, and nothing beside it', async () => {
    const file = join(directory, 'kept.ndjson');
    writeFileSync(file, 'former');
    const connect: Connect = async (url, options) => {
      const client = await fakeConnect(server).connect(url, options);
      client.list = async function* () {
        yield { name: 'a', value: 1n };
        throw new TallystickError('TIMEOUT');
      };
      return client;
    };
    expect(await cli(['export', '', file], { connect })).toMatchObject({ status: 1, out: '' });
    expect(readFileSync(file, 'utf8')).toBe('former');
    expect(existsSync(`${file}.partial`)).toBe(false);
  });

  it('names a file that it can not write', async () => {
    const { status, err } = await cli(['export', '', join(directory, 'none', 'out')], { server });
    expect(status).toBe(1);
    expect(err).toMatch(/^OUTPUT_FAILED: ENOENT.*none/);
  });

  it('writes through what is no regular file', async () => {
    expect(await cli(['export', '', '/dev/null'], { server })).toMatchObject({ status: 0 });
    expect(statSync('/dev/null').isFile()).toBe(false);
  });

  it('stops when the reader of its output leaves', async () => {
    expect(await cli(['export'], { server, breaksWith: 'EPIPE' })).toMatchObject({ status: 0 });
    expect((await cli(['export'], { server, breaksWith: 'ENOSPC' })).err).toMatch(/OUTPUT_FAILED: ENOSPC/);
  });
});

describe('import', () => {
  it('sets what export wrote, with a reason, and prints a summary', async () => {
    const file = join(directory, 'in.ndjson');
    writeFileSync(file, '{"name":"a\\n","value":"-5"}\n{"name":"b","value":7}\n');
    const server = new FakeServer(4);
    const { status, out, err } = await cli(['import', file], { server });
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toMatch(/^lines +2\nset +2\nunusable +0\n/);
    expect([...server.values]).toEqual([
      ['a\n', -5n],
      ['b', 7n],
    ]);
    expect(server.reasons).toEqual([`import ${file}`, `import ${file}`]);
  });

  it('reads stdin, gzip and a given format and reason', async () => {
    const server = new FakeServer(4);
    await cli(['import', '-', '--format', 'csv', '--reason', 'move'], { server, stdin: 'value,name\n3,a\n' });
    const file = join(directory, 'in.csv.gz');
    writeFileSync(file, gzipSync('name,value\nb,4\n'));
    await cli(['import', file], { server });
    expect(Object.fromEntries(server.values)).toEqual({ a: 3n, b: 4n });
    expect(server.reasons).toEqual(['move', `import ${file}`]);
  });

  it('keeps the reason within what the server takes', async () => {
    const file = join(directory, `${'é'.repeat(120)}.ndjson`);
    writeFileSync(file, '{"name":"a","value":"1"}\n');
    const server = new FakeServer(4);
    await cli(['import', file], { server });
    expect(server.reasons[0]).toMatch(/^import .*é$/);
    expect(Buffer.byteLength(server.reasons[0] as string)).toBeLessThanOrEqual(256);
  });

  it('reports lines that it can not use by their numbers, and fails', async () => {
    const server = new FakeServer(4);
    const stdin = '{"name":"a","value":"1"}\nx\n{"name":"b","value":"y"}\n';
    const { status, out, err } = await cli(['import', '-'], { server, stdin });
    expect(status).toBe(1);
    expect(out).toContain('\nUnusable lines, which set nothing:\n  line 2: not valid JSON\n  line 3: value is not');
    expect(err).toMatch(/^INPUT_UNUSABLE: 2 lines set nothing/);
    expect([...server.values]).toEqual([['a', 1n]]);
    const json = JSON.parse((await cli(['import', '-', '--json'], { server, stdin })).out) as object;
    expect(json).toMatchObject({
      finished: true,
      lines: 3,
      set: 1,
      unusable: 2,
      unusableLines: [{ line: 2 }, { line: 3 }],
    });
  });

  it('says after a failure that the same command goes on', async () => {
    const connect: Connect = async (url, options) => {
      const client = await fakeConnect(new FakeServer(1)).connect(url, options);
      client.set = async () => Promise.reject(new TallystickError('MEMORY_FULL'));
      return client;
    };
    const { status, out, err } = await cli(['import', '-', '--json'], { connect, stdin: '{"name":"a","value":"1"}\n' });
    expect(status).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ finished: false, error: { code: 'MEMORY_FULL' }, set: 0 });
    expect(err).toMatch(/^MEMORY_FULL: .*\nWhat was set stays\. The same command sets the same values again/);
  });

  it('refuses csv without its header as wrong usage', async () => {
    const { status, err } = await cli(['import', '-', '--format', 'csv'], { stdin: 'a,1\n' });
    expect(status).toBe(2);
    expect(err).toMatch(/INVALID_ARGUMENT: The first line of csv/);
  });

  it('shows progress on a terminal only', async () => {
    const stdin = '{"name":"a","value":"1"}\n';
    expect((await cli(['import', '-'], { stdin })).err).toBe('');
    expect((await cli(['import', '-'], { stdin, tty: true })).err).toContain('lines/s');
  });
});
