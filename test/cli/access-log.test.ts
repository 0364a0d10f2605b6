import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Ingest } from '../../src/cli/ingest/ingest.js';
import { openInput } from '../../src/cli/ingest/input.js';
import { FakeServer, FakeTarget } from './fake-target.js';
import { ingestOf, recipe } from './ingesting.js';

async function ingestFile(
  path: string,
  what: { count?: string[]; sum?: string[]; where?: string[]; time?: string },
): Promise<{ counts: Record<string, number | bigint>; report: Ingest['report']; minutes: FakeServer['minutes'] }> {
  const { input, close } = await openInput(path, Readable.from([]));
  const server = new FakeServer(16);
  const ingest = ingestOf(input, new FakeTarget(server), recipe('combined', what));
  await ingest.run();
  await close();
  const counts: Record<string, number | bigint> = {};
  for (const [name, value] of server.values) counts[name] = value > 2n ** 53n ? value : Number(value);
  return { counts, report: ingest.report, minutes: server.minutes };
}

describe('a small log with every kind of nasty line', () => {
  const path = join(import.meta.dirname, '../fixtures/access.log');
  const line = (number: number): string => readFileSync(path, 'latin1').split('\n')[number - 1] as string;

  it('is counted as it was counted by hand', async () => {
    const { counts, report } = await ingestFile(path, {
      count: ['views:{path}', 'status:{status}'],
      sum: ['bytes:{path}=bytes'],
    });
    const long = `/${'a'.repeat(599)}`;
    expect(counts).toEqual({
      'status:200': 20,
      'status:206': 1,
      'status:302': 1,
      'status:304': 1,
      'status:400': 1,
      'status:403': 1,
      'status:404': 1,
      'status:405': 2,
      'status:414': 1,
      'views:/': 7,
      'bytes:/': 5_000,
      'views:/style.css': 2,
      'bytes:/style.css': 1_000,
      'views:/about': 5,
      'bytes:/about': 1_250,
      'views:/login': 2,
      'bytes:/login': 120,
      'views:/missing': 1,
      'bytes:/missing': 209,
      'views:/say?q=\\"hi\\"': 1,
      'bytes:/say?q=\\"hi\\"': 77,
      'views:/two words here': 1,
      'bytes:/two words here': 64,
      'views:/old': 1,
      'bytes:/old': 11,
      [`views:${long}`]: 1,
      [`bytes:${long}`]: 0,
      'views:/big.iso': 1,
      'bytes:/big.iso': 9_223_372_036_854_775_000n,
      'views:/größe': 1,
      'bytes:/größe': 5,
      'views:/tag/{post:7}?a={b}': 1,
      'bytes:/tag/{post:7}?a={b}': 10,
      'views:http://proxy.example/': 1,
      'bytes:http://proxy.example/': 0,
      'views:*': 1,
      'bytes:*': 0,
      'views:example.org:443': 1,
      'bytes:example.org:443': 0,
      'views:/dav': 1,
      'bytes:/dav': 0,
      'views:/last': 1,
      'bytes:/last': 1,
    });
    expect(report).toMatchObject({ lines: 40, used: 29, filtered: 0, unusable: 11 });
    const noRequest = 'no method and path: the request is not of the form "METHOD PATH PROTOCOL"';
    const breaksOff = (field: string): string => `no ${field}: the line breaks off or is of no combined format`;
    expect(report.unusableLines).toEqual([
      { line: 15, reason: noRequest },
      { line: 16, reason: noRequest },
      { line: 20, reason: breaksOff('path') },
      { line: 21, reason: breaksOff('status') },
      { line: 22, reason: breaksOff('path') },
      { line: 23, reason: breaksOff('path') },
      { line: 24, reason: noRequest },
      { line: 26, reason: 'a template gives a name of more than 1,024 bytes' },
      { line: 28, reason: 'bytes is not a 64-bit integer' },
      { line: 30, reason: 'not valid UTF-8' },
      { line: 39, reason: breaksOff('status') },
    ]);
  });

  it('needs only what the templates use: 35 of its lines have a status, 33 an agent', async () => {
    const status = await ingestFile(path, { count: ['{status}'] });
    expect(status.counts).toEqual({ 200: 22, 206: 1, 302: 1, 304: 1, 400: 3, 403: 1, 404: 1, 405: 2, 408: 1, 414: 2 });
    expect(status.report.unusable).toBe(5);
    const agent = await ingestFile(path, { count: ['a:{agent}'] });
    expect(agent.report.unusableLines.map((unusable) => unusable.line)).toEqual([18, 19, 20, 21, 22, 23, 39]);
    expect(agent.counts).toMatchObject({ 'a:Agent \\"quoted\\" 1.0': 1, 'a:back\\\\\\\\': 1, 'a:-': 2 });
  });

  it('filters by a condition', async () => {
    const { counts, report } = await ingestFile(path, { count: ['{ip}'], where: ['status=200', 'path=/about'] });
    const ips = ['192.0.2.12', '192.0.2.19', '192.0.2.2', '192.0.2.6', '2001:db8::7'];
    expect(counts).toEqual(Object.fromEntries(ips.map((ip) => [ip, 1])));
    expect(report).toMatchObject({ lines: 40, used: 5, filtered: 29, unusable: 6 });
  });

  it('still holds the lines that these numbers are about', () => {
    expect(line(18)).toMatch(/bot$/);
    expect(line(15)).toContain('"-" 408 -');
    expect(line(30)).toContain('gr\xfcn');
    expect(line(38)).toMatch(/\r$/);
    expect(line(40)).toContain('/last');
  });
});

const shared = resolve(process.env.TALLYSTICK_SHARED_DATA ?? join(import.meta.dirname, '../../../shared/data'));
const real = join(shared, 'apache_access.log');
const present = existsSync(real);

describe.skipIf(!present)(`the real log of 10,000 lines${present ? '' : ` (skipped: there is no ${real})`}`, () => {
  it('is counted as awk, sort and uniq count it', async () => {
    const { counts, report } = await ingestFile(real, {
      count: ['views:{path}', 'status:{status}'],
      sum: ['bytes:{path}=bytes'],
    });
    const naive: Record<string, number> = {};
    const lines = readFileSync(real, 'latin1').trimEnd().split('\n');
    for (const text of lines) {
      const awk = text.split(' ');
      const [views, status, bytes] = [`views:${awk[6]}`, `status:${awk[8]}`, `bytes:${awk[6]}`];
      naive[views] = (naive[views] ?? 0) + 1;
      naive[status] = (naive[status] ?? 0) + 1;
      naive[bytes] = (naive[bytes] ?? 0) + (awk[9] === '-' ? 0 : Number(awk[9]));
    }
    expect(counts).toEqual(naive);
    expect(Object.keys(counts).filter((name) => name.startsWith('views:')).length).toBe(1_498);
    expect(report).toMatchObject({ lines: 10_000, used: 10_000, unusable: 0 });
  });

  it('is counted by path and hour of its own times as awk counts it', async () => {
    const { minutes, report } = await ingestFile(real, { count: ['{path}'], time: 'time' });
    const counted = new Map<string, bigint>();
    const add = (hours: Map<string, bigint>, key: string, n: bigint) => hours.set(key, (hours.get(key) ?? 0n) + n);
    for (const [key, n] of minutes) {
      const [time, path] = key.split(' ');
      add(counted, `${new Date(Number(time)).toISOString().slice(8, 13)} ${path}`, n);
    }
    const naive = new Map<string, bigint>();
    for (const text of readFileSync(real, 'latin1').trimEnd().split('\n')) {
      const words = text.split(' ');
      const [, day, hour] = /^\[(\d\d)\/May\/2015:(\d\d)/.exec(words[3] ?? '') ?? [];
      add(naive, `${day}T${hour} ${words[6]}`, 1n);
    }
    expect(counted).toEqual(naive);
    expect(report.used).toBe(10_000);
  });

  it('has one line whose agent is not closed, and reports it when the agent is needed', async () => {
    const { report } = await ingestFile(real, { count: ['{agent}'] });
    const reason = 'no agent: the line breaks off or is of no combined format';
    expect(report.unusableLines).toEqual([{ line: 8_899, reason }]);
  });
});
