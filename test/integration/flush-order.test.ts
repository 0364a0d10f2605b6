import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  flushOrderViolations,
  namingsIn,
  synchronousDescriptors,
  TRACE_OPTIONS,
  type TracedBatch,
} from './flush-order.js';
import { patchedProgram } from './patched-program.js';
import { addAnswer, RawClient } from './raw-client.js';
import { directoryOfTest, type ServerProcess, serverOfTest } from './server-process.js';
import { straceMissing, Tracer } from './tracer.js';

const CLIENTS = 3;
const WAVES = 8;
const BATCHES_OF_A_WAVE = 4;

/** Batches fill a segment in a few waves. */
const SMALL_SEGMENTS = { TALLYSTICK_LOG_SEGMENT_BYTES: '4096' };

/** Sends durable batches while the system calls of the server are recorded, and judges the record. */
async function violationsOf(server: ServerProcess): Promise<{ violations: string[]; segments: number }> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => RawClient.connect(server.url)));
  const synchronous = synchronousDescriptors(server.pid);
  expect(synchronous.size).toBeGreaterThan(0);
  const record = join(directoryOfTest(), 'record');
  const tracer = await Tracer.attach(server.pid, ...TRACE_OPTIONS, '-o', record);
  const batches: TracedBatch[] = [];
  for (let wave = 0; wave < WAVES; wave++) {
    const answers = clients.flatMap((client, number) =>
      Array.from({ length: BATCHES_OF_A_WAVE }, (_, i) => {
        const content = `traced:${wave}:${number}:${i}:${'x'.repeat(200)}`;
        batches.push({ clientPort: client.socket.localPort as number, requestId: client.nextId, content });
        return client.add([{ name: content, delta: 1n }]);
      }),
    );
    // A wave comes while a group is on its way, since only the first of its answers is awaited.
    addAnswer(await Promise.race(answers), 1, false);
    if (wave === WAVES - 1) await Promise.all(answers);
  }
  await server.kill('SIGTERM');
  await tracer.ended;
  const text = readFileSync(record, 'utf8');
  return { violations: flushOrderViolations(text, batches, synchronous), segments: namingsIn(text) };
}

describe.skipIf(straceMissing)('system calls', () => {
  test('no answer to a durable batch leaves before its pages and its meta page are on the device', async () => {
    const { violations, segments } = await violationsOf(await serverOfTest({ environment: SMALL_SEGMENTS }));
    expect(violations).toEqual([]);
    expect(segments).toBeGreaterThan(2);
  });

  test('nor, in plain files, before its group is', async () => {
    const environment = { ...SMALL_SEGMENTS, TALLYSTICK_LOG: 'files' };
    const { violations, segments } = await violationsOf(await serverOfTest({ environment }));
    expect(violations).toEqual([]);
    expect(segments).toBeGreaterThan(2);
  });

  test('a server whose writes to plain files are not flushed is found out', async () => {
    const program = patchedProgram('log/file-segment.js', 'O_RDWR | SYNCED_WRITE', 'O_RDWR');
    const { violations } = await violationsOf(
      await serverOfTest({ program, environment: { TALLYSTICK_LOG: 'files' } }),
    );
    expect(violations.filter((violation) => violation.includes('without a flush')).length).toBeGreaterThan(0);
  });

  test('a server that answers before the flush is found out', async () => {
    const program = patchedProgram(
      'lane/answers.js',
      'this.#commit.waitFlushed(frame.partition, result.position, waiting)',
      'waiting.flushed()',
    );
    const { violations } = await violationsOf(await serverOfTest({ program }));
    expect(violations.filter((violation) => violation.includes('answered at line')).length).toBeGreaterThan(0);
  });
});

describe('the judge of a record', () => {
  const hex = (text: string) =>
    [...Buffer.from(text, 'latin1')].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
  const log = hex('/data/lane-0/log-0000000000000001.mdb');
  const socket = 'TCP:[127.0.0.1:7070->127.0.0.1:5000]';
  const pages = `11 writev(24<${log}>, [{iov_base="${hex('page')}", iov_len=4}, {iov_base="${hex('traced')}", iov_len=6}], 2) = 10`;
  const flush = `11 fdatasync(24<${log}>) = 0`;
  const metaBegins = `11 pwrite64(25<${log}>, "${hex('meta')}", 4, 40 <unfinished ...>`;
  const metaReturns = '11 <... pwrite64 resumed>) = 4';
  const answer = `12 write(28<${socket}>, "${hex('\x08\0\0\0\x84\0\0\0\x07\0\0\0')}", 12) = 12`;
  const violations = (...lines: string[]) =>
    flushOrderViolations(lines.join('\n'), [{ clientPort: 5000, requestId: 7, content: 'traced' }], new Set([25]));

  test('accepts an answer after the meta page returned', () => {
    expect(violations(pages, flush, metaBegins, metaReturns, answer)).toEqual([]);
  });

  test('refuses one that leaves while the meta page is written', () => {
    expect(violations(pages, flush, metaBegins, answer, metaReturns)).toEqual([
      'traced: answered at line 3, on the device at line 4',
    ]);
  });

  test('refuses one whose pages, flush or meta page are missing or failed', () => {
    const failed = `11 fdatasync(24<${log}>) = -1 EIO (Input/output error)`;
    expect(violations(flush, metaBegins, metaReturns, answer)).toEqual(['traced: never written to the log']);
    expect(violations(pages, metaBegins, metaReturns, answer)).toEqual(['traced: its pages were never flushed']);
    expect(violations(pages, failed, metaBegins, metaReturns, answer)).toEqual([
      'traced: its pages were never flushed',
    ]);
    expect(violations(pages, flush, answer)).toEqual(['traced: its meta page was never written']);
    expect(violations(pages, flush, metaBegins, metaReturns)).toEqual(['traced: the answer is not in the record']);
  });

  test('of a plain file, accepts an answer after the write that flushes, and no other write', () => {
    const file = hex('/data/lane-0/log-0000000000000001.seg');
    const group = (descriptor: number) =>
      `11 pwritev(${descriptor}<${file}>, [{iov_base="${hex('traced')}", iov_len=6}], 1, 512) = 6`;
    expect(violations(group(25), answer)).toEqual([]);
    expect(violations(answer, group(25))).toEqual(['traced: answered at line 0, on the device at line 1']);
    expect(violations(group(24), flush, answer)).toEqual(['traced: its group was written without a flush']);
  });

  describe('of a segment that was made meanwhile', () => {
    const flushFile = `11 fsync(30<${hex('/data/lane-0/log-0000000000000001.mdb.new')}>) = 0`;
    const rename = `11 rename("${hex('/data/lane-0/log-0000000000000001.mdb.new')}", "${log}") = 0`;
    const flushName = `11 fsync(31<${hex('/data/lane-0')}>) = 0`;
    const opens = `12 openat(AT_FDCWD<${hex('/')}>, "${log}", O_RDWR|O_DSYNC|O_CLOEXEC, 0600) = 40<${log}>`;
    const meta = `11 pwrite64(40<${log}>, "${hex('meta')}", 4, 40) = 4`;

    test('accepts an answer after the name is flushed', () => {
      expect(violations(flushFile, rename, flushName, opens, pages, flush, meta, answer)).toEqual([]);
    });

    test('refuses one before that, or where the file had its name before it was whole', () => {
      expect(violations(flushFile, rename, opens, pages, flush, meta, answer, flushName)).toEqual([
        'traced: answered at line 6, on the device at line 7',
      ]);
      expect(violations(flushFile, rename, opens, pages, flush, meta, answer)).toEqual([
        'traced: the name of its segment was never flushed',
      ]);
      expect(violations(rename, flushFile, flushName, opens, pages, flush, meta, answer)).toEqual([
        'traced: its segment got its name before it was flushed',
      ]);
    });
  });
});
