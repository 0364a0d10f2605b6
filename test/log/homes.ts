import { mkdtempSync, utimesSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, open } from 'lmdb';
import { LmdbCheckpoints } from '../../src/log/lmdb-checkpoints.js';
import { LmdbLog } from '../../src/log/lmdb-log.js';
import { LmdbLogReader } from '../../src/log/lmdb-log-reader.js';
import { firstPlace } from '../../src/log/replay.js';
import { Segment } from '../../src/log/segment.js';
import { removeSegment, segmentPath, segmentsIn } from '../../src/log/segment-files.js';
import type { CheckpointsHome, StoredCheckpoints } from './checkpoint.conformance.js';
import type { LogHome, StoredSegment, StoredSegments } from './fixture.js';
import { SimCheckpointDisk, SimCheckpoints } from './sim-checkpoints.js';
import { SimDisk, SimLog, SimSegment } from './sim-log.js';
import { SHAPE } from './writer.js';

export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'tallystick-log-'));
}

export async function simHome(): Promise<LogHome> {
  const disk = new SimDisk();
  return {
    open: async (options) => new SimLog(disk, SHAPE, setImmediate, options),
    read: () => new SimLog(disk, SHAPE, setImmediate),
    edit: async (change) => change(disk.segments),
    touch: (milliseconds) => {
      for (const segment of disk.segments.values()) segment.written = milliseconds;
    },
    remove: async () => {},
  };
}

export async function lmdbHome(): Promise<LogHome> {
  const directory = temporaryDirectory();
  await Segment.create(directory, firstPlace(SHAPE));
  return {
    open: (options) => LmdbLog.open(directory, SHAPE, options),
    read: () => new LmdbLogReader(directory, SHAPE),
    edit: (change) => editLmdb(directory, change),
    touch: (milliseconds) => {
      for (const { path } of segmentsIn(directory)) utimesSync(path, milliseconds / 1_000, milliseconds / 1_000);
    },
    remove: () => rm(directory, { recursive: true }),
  };
}

type Rows = Database<Uint8Array, Uint8Array>;

/** Changes what the closed log in a directory has stored. */
export async function editLmdb(directory: string, change: (segments: StoredSegments) => void): Promise<void> {
  const segments: StoredSegments = new Map();
  for (const { path, firstRecord } of segmentsIn(directory)) {
    await withTables(path, (begin, records, audit) => {
      const stored = new SimSegment(firstPlace(SHAPE));
      stored.begin = Uint8Array.from(begin.get(Buffer.alloc(1)) as Uint8Array);
      for (const { key, value } of records.getRange()) {
        stored.records.set(Number(Buffer.from(key).readBigUInt64BE()), Uint8Array.from(value));
      }
      for (const { key, value } of audit.getRange()) {
        stored.audit.set(Buffer.from(key).toString('hex'), Uint8Array.from(value));
      }
      segments.set(firstRecord, stored);
    });
  }
  change(segments);
  for (const { path, firstRecord } of segmentsIn(directory)) if (!segments.has(firstRecord)) await removeSegment(path);
  for (const [firstRecord, stored] of segments) await rewrite(segmentPath(directory, firstRecord), stored);
}

async function withTables(path: string, use: (begin: Rows, records: Rows, audit: Rows) => void): Promise<void> {
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const root = open<Uint8Array, Uint8Array>({ ...binary, path, overlappingSync: false, maxDbs: 3 });
  const [begin, records, audit] = ['begin', 'records', 'audit'].map((name) =>
    root.openDB<Uint8Array, Uint8Array>({ ...binary, name }),
  ) as [Rows, Rows, Rows];
  await root.transaction(() => use(begin, records, audit));
  await root.close();
}

function rewrite(path: string, stored: StoredSegment): Promise<void> {
  return withTables(path, (begin, records, audit) => {
    begin.putSync(Buffer.alloc(1), stored.begin);
    replaceAll(
      records,
      [...stored.records].map(([number, value]) => {
        const key = Buffer.alloc(8);
        key.writeBigUInt64BE(BigInt(number));
        return [key, value];
      }),
    );
    replaceAll(
      audit,
      [...stored.audit].map(([key, value]) => [Buffer.from(key, 'hex'), value]),
    );
  });
}

function replaceAll(rows: Rows, items: [Uint8Array, Uint8Array][]): void {
  for (const { key } of [...rows.getRange()]) rows.removeSync(Uint8Array.from(key));
  for (const [key, value] of items) rows.putSync(key, value);
}

export function simCheckpointsHome(): CheckpointsHome {
  const disk = new SimCheckpointDisk();
  return {
    open: () => new SimCheckpoints(disk, SHAPE, setImmediate),
    edit: async (change) => change(disk),
    remove: async () => {},
  };
}

export function lmdbCheckpointsHome(): CheckpointsHome {
  const directory = temporaryDirectory();
  const path = join(directory, 'checkpoint.mdb');
  return {
    open: () => new LmdbCheckpoints(path, SHAPE),
    edit: (change) => editCheckpoints(path, change),
    remove: () => rm(directory, { recursive: true }),
  };
}

/** Changes what closed checkpoints in LMDB have stored. */
export async function editCheckpoints(path: string, change: (stored: StoredCheckpoints) => void): Promise<void> {
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const root = open<Uint8Array, Uint8Array>({ ...binary, path, overlappingSync: false, maxDbs: 2 });
  const pages = root.openDB<Uint8Array, Uint8Array>({ ...binary, name: 'pages' });
  const manifests = root.openDB<Uint8Array, Uint8Array>({ ...binary, name: 'manifests' });
  const stored = { pages: new Map<string, Uint8Array>(), manifests: new Map<number, Uint8Array>() };
  for (const { key, value } of pages.getRange()) {
    const bytes = Buffer.from(key);
    const name = `${bytes.readUInt16BE(0)}.${bytes.readUInt32BE(2)}.${bytes.readUInt32BE(6)}`;
    stored.pages.set(name, Uint8Array.from(value));
  }
  for (const { key, value } of manifests.getRange()) {
    stored.manifests.set(Buffer.from(key).readUInt16BE(), Uint8Array.from(value));
  }
  change(stored);
  await root.transaction(() => {
    replaceAll(
      pages,
      [...stored.pages].map(([name, value]) => {
        const [partition = 0, page = 0, generation = 0] = name.split('.').map(Number);
        const key = Buffer.alloc(10);
        key.writeUInt16BE(partition, 0);
        key.writeUInt32BE(page, 2);
        key.writeUInt32BE(generation, 6);
        return [key, value];
      }),
    );
    replaceAll(
      manifests,
      [...stored.manifests].map(([partition, value]) => {
        const key = Buffer.alloc(2);
        key.writeUInt16BE(partition);
        return [key, value];
      }),
    );
  });
  await root.close();
}
