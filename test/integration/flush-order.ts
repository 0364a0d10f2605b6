import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { FrameReader } from '../../src/protocol/frame.js';
import { ANSWER, Opcode } from '../../src/protocol/opcode.js';

/**
 * Judges a record of system calls (`strace -f -yy -xx`): did the answer to a durable batch leave before the batch was on the
 * device? One transaction of LMDB is
 *
 *   pwrite64/writev of the pages to the segment ... fdatasync of it ... pwrite64 of the meta page through O_DSYNC
 *
 * and only when the last has returned a crash can't undo it. In a plain file it is one pwritev through O_DSYNC. Where the segment was made meanwhile, the file must have been
 * flushed before it got its name, and the directory after it.
 */
export const TRACED_CALLS = 'fdatasync,fsync,msync,write,pwrite64,writev,pwritev,sendto,sendmsg,openat,rename';
export const TRACE_OPTIONS = ['-yy', '-xx', '-s', '1048576', '-e', `trace=${TRACED_CALLS}`];

interface SystemCall {
  readonly name: string;
  readonly descriptor: number;
  /** What the descriptor is: a path, or `TCP:[local->remote]`. */
  readonly target: string;
  readonly data: Buffer;
  /** The lines of the record at which it began and returned. */
  readonly begin: number;
  readonly end: number;
  readonly result: number;
}

/** A durable batch: its request's id on a connection from a local port, and bytes that no other batch has. */
export interface TracedBatch {
  readonly clientPort: number;
  readonly requestId: number;
  readonly content: string;
}

/** How often a file got its name. */
export function namingsIn(record: string): number {
  return parseCalls(record).filter(({ name }) => name === 'rename').length;
}

/** For each batch that was answered too early, or whose way can't be followed, what is wrong. */
export function flushOrderViolations(
  record: string,
  batches: readonly TracedBatch[],
  synchronous: ReadonlySet<number>,
): string[] {
  const calls = parseCalls(record);
  const opened = new Set([...synchronous, ...openedSynchronous(calls)]);
  const answers = answersIn(calls);
  return batches.flatMap(({ clientPort, requestId, content }) => {
    const answered = answers.get(`${clientPort}/${requestId}`);
    if (answered === undefined) return [`${content}: the answer is not in the record`];
    const onDevice = endOfCommit(calls, content, opened);
    if (typeof onDevice === 'string') return [`${content}: ${onDevice}`];
    return answered > onDevice ? [] : [`${content}: answered at line ${answered}, on the device at line ${onDevice}`];
  });
}

/** The line at which the group with these bytes was on the device, with all that makes it visible. */
function endOfCommit(calls: readonly SystemCall[], content: string, synchronous: ReadonlySet<number>): number | string {
  const written = calls.find(({ target, data }) => /\/log-\d+\.(mdb|seg)$/.test(target) && data.includes(content));
  if (!written) return 'never written to the log';
  const committed = written.target.endsWith('.seg')
    ? endOfSyncedWrite(written, synchronous)
    : endOfTransaction(calls, written, synchronous);
  if (typeof committed === 'string') return committed;
  const named = endOfNaming(calls, written.target);
  return typeof named === 'string' ? named : Math.max(committed, named);
}

function endOfSyncedWrite({ descriptor, end }: SystemCall, synchronous: ReadonlySet<number>): number | string {
  return synchronous.has(descriptor) ? end : 'its group was written without a flush';
}

function endOfTransaction(
  calls: readonly SystemCall[],
  written: SystemCall,
  synchronous: ReadonlySet<number>,
): number | string {
  const sameFile = calls.filter(({ target, result }) => target === written.target && result >= 0);
  const flushed = sameFile.find(({ name, begin }) => /^f(data)?sync$/.test(name) && begin > written.end);
  if (!flushed) return 'its pages were never flushed';
  const meta = sameFile.find(
    ({ name, begin, descriptor }) => name === 'pwrite64' && synchronous.has(descriptor) && begin > flushed.end,
  );
  return meta ? meta.end : 'its meta page was never written';
}

/** The line at which the name of a file that was made during the record was on the device; -1 for an older file. */
function endOfNaming(calls: readonly SystemCall[], path: string): number | string {
  const renamed = calls.find(({ name, target }) => name === 'rename' && target === path);
  if (!renamed) return -1;
  const isFlush = ({ name, result }: SystemCall) => name === 'fsync' && result >= 0;
  const whole = calls.find(
    (call) => isFlush(call) && call.target === renamed.data.toString() && call.end < renamed.begin,
  );
  if (!whole) return 'its segment got its name before it was flushed';
  const flushed = calls.find((call) => isFlush(call) && call.target === dirname(path) && call.begin > renamed.end);
  return flushed ? flushed.end : 'the name of its segment was never flushed';
}

/** The descriptors that were opened during the record so that every write through them is synchronous. */
function openedSynchronous(calls: readonly SystemCall[]): number[] {
  return calls.filter(({ name }) => name === 'openat').map(({ descriptor }) => descriptor);
}

/** By port of the client and request id: the line at which the system call began that carried the answer's first byte. */
function answersIn(calls: readonly SystemCall[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  const streams = new Map<string, { readonly reader: FrameReader; frameBegin: number }>();
  for (const { target, data, begin } of calls) {
    const clientPort = /^TCP(?:v6)?:\[.*->.*:(\d+)\]$/.exec(target)?.[1];
    if (clientPort === undefined) continue;
    const stream = streams.get(clientPort) ?? { reader: new FrameReader(), frameBegin: 0 };
    streams.set(clientPort, stream);
    if (!stream.reader.hasPartial) stream.frameBegin = begin;
    stream.reader.push(data, ({ opcode, requestId }) => {
      if (opcode === (Opcode.ADD | ANSWER)) found.set(`${clientPort}/${requestId}`, stream.frameBegin);
      stream.frameBegin = begin;
    });
  }
  return found;
}

function parseCalls(record: string): SystemCall[] {
  const unfinished = new Map<string, { text: string; begin: number }>();
  const calls: SystemCall[] = [];
  record.split('\n').forEach((line, number) => {
    const [, thread = '', text = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const begun = /^(.*) <unfinished \.\.\.>$/.exec(text)?.[1];
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text)?.[1];
    if (begun !== undefined) {
      unfinished.set(thread, { text: begun, begin: number });
    } else if (resumed !== undefined) {
      const start = unfinished.get(thread);
      if (start) calls.push(...parseCall(start.text + resumed, start.begin, number));
    } else {
      calls.push(...parseCall(text, number, number));
    }
  });
  return calls;
}

/** Of `openat` only what opens for synchronous writes. */
function parseCall(text: string, begin: number, end: number): SystemCall[] {
  const [, opened, path = ''] = /^openat\(.*O_DSYNC.*\) += (\d+)<(.*)>$/.exec(text) ?? [];
  if (opened !== undefined) {
    const descriptor = Number(opened);
    return [
      { name: 'openat', descriptor, target: unescaped(path).toString(), data: Buffer.alloc(0), begin, end, result: 0 },
    ];
  }
  const [, from, to] = /^rename\("([^"]*)", "([^"]*)"\) += 0/.exec(text) ?? [];
  if (from !== undefined && to !== undefined) {
    const [data, target] = [unescaped(from), unescaped(to).toString()];
    return [{ name: 'rename', descriptor: -1, target, data, begin, end, result: 0 }];
  }
  const match = /^(\w+)\((\d+)<(.*?)>(?:, (.*))?\) += (-?\d+)/.exec(text);
  if (!match) return [];
  const [, name = '', descriptor, target = '', rest = '', result] = match;
  const strings = [...rest.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hexadecimal = '']) => unescaped(hexadecimal));
  return [
    {
      name,
      descriptor: Number(descriptor),
      target: target.startsWith('\\x') ? unescaped(target).toString() : target,
      data: Buffer.concat(strings).subarray(0, Math.max(0, Number(result))),
      begin,
      end,
      result: Number(result),
    },
  ];
}

const unescaped = (hexadecimal: string): Buffer => Buffer.from(hexadecimal.replaceAll('\\x', ''), 'hex');

const O_DSYNC = 0o10000;

/** The descriptors of a process through which every write is synchronous. */
export function synchronousDescriptors(pid: number): Set<number> {
  const descriptors = readdirSync(`/proc/${pid}/fdinfo`).map(Number);
  return new Set(descriptors.filter((descriptor) => (flagsOf(pid, descriptor) & O_DSYNC) !== 0));
}

/** 0 of one that was closed since it was listed, as that of a file that is looked at in passing. */
function flagsOf(pid: number, descriptor: number): number {
  const text = fdinfoOf(pid, descriptor);
  return Number.parseInt(/^flags:\s*(\d+)/m.exec(text)?.[1] ?? '0', 8);
}

function fdinfoOf(pid: number, descriptor: number): string {
  try {
    return readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
