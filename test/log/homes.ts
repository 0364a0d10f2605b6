import { mkdtempSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, open } from 'lmdb';
import {
  blocksOf,
  decodeFileHeader,
  decodeFrameHeader,
  encodeFileHeader,
  encodeFrameHead,
  FILE_HEADER_BYTES,
  itemsOf,
  recordLengths,
  type StoredItem,
} from '../../src/log/frame.js';
import { LmdbCheckpoints } from '../../src/log/lmdb-checkpoints.js';
import { firstPlace } from '../../src/log/replay.js';
import { type LogKind, removeSegment, segmentPath, segmentsIn } from '../../src/log/segment-files.js';
import { createSegment } from '../../src/log/segment-kinds.js';
import { SegmentedLog } from '../../src/log/segmented-log.js';
import { SegmentedLogReader } from '../../src/log/segmented-log-reader.js';
import type { CheckpointsHome, StoredCheckpoints } from './checkpoint.conformance.js';
import type { LogHome, LogOptions, StoredSegment, StoredSegments } from './fixture.js';
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

/** The same log, which is asked first to append within the call. */
export function withinTheCall(makeHome: () => Promise<LogHome>): () => Promise<LogHome> {
  return async () => {
    const home = await makeHome();
    const open = async (options: LogOptions) => {
      const log = await home.open(options);
      const append = log.append.bind(log);
      log.append = async (group) => log.appendNow(group) ?? append(group);
      return log;
    };
    return { ...home, open };
  };
}

export const lmdbHome = () => diskHome('lmdb', lmdbEditor);
export const filesHome = () => diskHome('files', filesEditor);

/** Reads and writes what a closed segment has stored. */
interface SegmentEditor {
  read(path: string): Promise<StoredSegment>;
  write(path: string, stored: StoredSegment): Promise<void>;
}

async function diskHome(kind: LogKind, editor: SegmentEditor): Promise<LogHome> {
  const directory = temporaryDirectory();
  await createSegment(kind, directory, firstPlace(SHAPE));
  const readers: SegmentedLogReader[] = [];
  return {
    open: (options) => SegmentedLog.open(directory, SHAPE, { ...options, kind }),
    read: () => {
      const reader = new SegmentedLogReader(directory, SHAPE);
      readers.push(reader);
      return reader;
    },
    edit: (change) => edit(kind, editor, directory, change),
    touch: (milliseconds) => {
      for (const { path } of segmentsIn(directory)) utimesSync(path, milliseconds / 1_000, milliseconds / 1_000);
    },
    remove: async () => {
      for (const reader of readers) await reader.close();
      await rm(directory, { recursive: true });
    },
  };
}

type Change = (segments: StoredSegments) => void;

async function edit(kind: LogKind, editor: SegmentEditor, directory: string, change: Change): Promise<void> {
  const segments: StoredSegments = new Map();
  for (const { path, firstRecord } of segmentsIn(directory)) segments.set(firstRecord, await editor.read(path));
  change(segments);
  for (const { path, firstRecord } of segmentsIn(directory)) if (!segments.has(firstRecord)) await removeSegment(path);
  for (const [firstRecord, stored] of segments) await editor.write(segmentPath(directory, firstRecord, kind), stored);
}

/** Writes each record as a frame of its own, and the audit items as one more, all of them whole. */
const filesEditor: SegmentEditor = {
  read: async (path) => {
    const file = readFileSync(path);
    const { salt, beginBytes } = decodeFileHeader(file) as { salt: bigint; beginBytes: number };
    const stored = new SimSegment(firstPlace(SHAPE));
    stored.begin = Uint8Array.from(file.subarray(FILE_HEADER_BYTES, FILE_HEADER_BYTES + beginBytes));
    let at = blocksOf(FILE_HEADER_BYTES + beginBytes);
    for (let header = decodeFrameHeader(file.subarray(at), salt); header; ) {
      const head = file.subarray(at, at + header.headBytes);
      let start = at + header.headBytes;
      for (const [index, length] of recordLengths(head, header).entries()) {
        stored.records.set(header.firstRecord + index, Uint8Array.from(file.subarray(start, start + length)));
        start += length;
      }
      for (const { key, start: from, end } of itemsOf(head, header)) {
        stored.audit.set(key.toString('hex'), Uint8Array.from(head.subarray(from, end)));
      }
      at += blocksOf(header.headBytes + header.bodyBytes);
      header = decodeFrameHeader(file.subarray(at), salt);
    }
    return stored;
  },
  write: async (path, { begin, records, audit }) => {
    const salt = 7n;
    const frameOf = (number: number, bodies: readonly Uint8Array[], items: readonly StoredItem[]) => {
      const frame = Buffer.concat([encodeFrameHead(salt, number, bodies, items), ...bodies]);
      return Buffer.concat([frame, Buffer.alloc(blocksOf(frame.length) - frame.length)]);
    };
    const items = [...audit].map(([key, value]) => ({ key: Buffer.from(key, 'hex'), value }));
    const numbers = [...records.keys()].sort((a, b) => a - b);
    const frames = numbers.map((number) => frameOf(number, [records.get(number) as Uint8Array], []));
    if (items.length > 0) frames.push(frameOf((numbers.at(-1) ?? 0) + 1, [], items));
    writeFileSync(path, Buffer.concat([encodeFileHeader(salt, begin), ...frames]));
  },
};

type Rows = Database<Uint8Array, Uint8Array>;

/** Changes what the closed log in a directory has stored. */
export const editLmdb = (directory: string, change: Change) => edit('lmdb', lmdbEditor, directory, change);

const lmdbEditor: SegmentEditor = {
  read: async (path) => {
    const stored = new SimSegment(firstPlace(SHAPE));
    await withTables(path, (begin, records, audit) => {
      stored.begin = Uint8Array.from(begin.get(Buffer.alloc(1)) as Uint8Array);
      for (const { key, value } of records.getRange()) {
        stored.records.set(Number(Buffer.from(key).readBigUInt64BE()), Uint8Array.from(value));
      }
      for (const { key, value } of audit.getRange()) {
        stored.audit.set(Buffer.from(key).toString('hex'), Uint8Array.from(value));
      }
    });
    return stored;
  },
  write: (path, stored) =>
    withTables(path, (begin, records, audit) => {
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
    }),
};

async function withTables(path: string, use: (begin: Rows, records: Rows, audit: Rows) => void): Promise<void> {
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const root = open<Uint8Array, Uint8Array>({ ...binary, path, overlappingSync: false, maxDbs: 3 });
  const [begin, records, audit] = ['begin', 'records', 'audit'].map((name) =>
    root.openDB<Uint8Array, Uint8Array>({ ...binary, name }),
  ) as [Rows, Rows, Rows];
  await root.transaction(() => use(begin, records, audit));
  await root.close();
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
