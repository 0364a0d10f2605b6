import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { median } from './histogram.mjs';

const PROBES = 200;
const PAGE_BYTES = 4_096;
const TOUCHED_PAGES = 16_384;

/** What a figure depends on besides the program. `directory` lies where the data will. */
export function machineFacts(directory) {
  return {
    date: new Date().toISOString().slice(0, 10),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()} ${arch()}`,
    node: process.version,
    fileSystem: fileSystemOf(directory),
    flushMilliseconds: Number(flushMilliseconds(directory).toFixed(3)),
    pageMicroseconds: Number(pageMicroseconds().toFixed(1)),
    /** Processes that wanted a core before this began: beyond 0.5 the figures are not those of a quiet machine. */
    loadBefore: Number(loadavg()[0].toFixed(2)),
  };
}

/** The type of the file system that the directory lies on, from the longest mount point that leads to it. */
function fileSystemOf(directory) {
  const mounts = linesOf('/proc/mounts').map((line) => line.split(' '));
  const holds = (point) => point === '/' || directory === point || directory.startsWith(`${point}/`);
  const [best] = mounts.filter(([, point]) => point && holds(point)).sort((a, b) => b[1].length - a[1].length);
  return best?.[2] ?? 'unknown';
}

function linesOf(file) {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return []; // not Linux
  }
}

/** The median of appending 4 KiB and flushing it. */
function flushMilliseconds(directory) {
  const path = join(directory, `flush-probe-${process.pid}`);
  const file = openSync(path, 'w');
  const block = Buffer.alloc(4_096, 1);
  const samples = [];
  for (let i = 0; i < PROBES; i++) {
    const start = performance.now();
    writeSync(file, block);
    fdatasyncSync(file);
    samples.push(performance.now() - start);
  }
  closeSync(file);
  rmSync(path);
  return median(samples);
}

/**
 * What it takes to touch a page of memory that was free. A virtual machine whose host takes back what is free may pay ten times what
 * it pays for one that it had just now, and so for each page by which a file grows.
 */
function pageMicroseconds() {
  const bytes = Buffer.allocUnsafeSlow(TOUCHED_PAGES * PAGE_BYTES);
  const start = performance.now();
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) bytes[at] = 1;
  return ((performance.now() - start) * 1_000) / TOUCHED_PAGES;
}

export function describeMachine(facts) {
  const { processor, cores, memoryGiB, system, node, fileSystem, flushMilliseconds: flush, loadBefore } = facts;
  const page = facts.pageMicroseconds === undefined ? '' : `, a new page of memory ${facts.pageMicroseconds} us`;
  return `${processor}, ${cores} cores, ${memoryGiB} GiB; ${system}; Node ${node}; ${fileSystem}, append + flush ${flush} ms${page}; load before ${loadBefore}`;
}
