import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, open } from 'lmdb';
import { LmdbCheckpoints } from '../../src/log/lmdb-checkpoints.js';
import { LmdbLog } from '../../src/log/lmdb-log.js';
import type { CheckpointsHome, StoredCheckpoints } from './checkpoint.conformance.js';
import type { LogHome, StoredLog } from './fixture.js';
import { SimCheckpointDisk, SimCheckpoints } from './sim-checkpoints.js';
import { SimDisk, SimLog } from './sim-log.js';
import { SHAPE } from './writer.js';

export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'tallystick-log-'));
}

export function simHome(): LogHome {
  const disk = new SimDisk();
  return {
    open: () => new SimLog(disk, SHAPE, setImmediate),
    read: () => new SimLog(disk, SHAPE, setImmediate),
    edit: async (change) => change(disk),
    remove: async () => {},
  };
}

export function lmdbHome(): LogHome {
  const directory = temporaryDirectory();
  const path = join(directory, 'log.mdb');
  return {
    open: () => new LmdbLog(path, SHAPE),
    read: () => new LmdbLog(path, SHAPE, { readOnly: true }),
    edit: (change) => editLmdb(path, change),
    remove: () => rm(directory, { recursive: true }),
  };
}

/** Changes what a closed LMDB log has stored. */
export async function editLmdb(path: string, change: (stored: StoredLog) => void): Promise<void> {
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const root = open<Uint8Array, Uint8Array>({ ...binary, path, overlappingSync: false, maxDbs: 2 });
  const records = root.openDB<Uint8Array, Uint8Array>({ ...binary, name: 'records' });
  const audit = root.openDB<Uint8Array, Uint8Array>({ ...binary, name: 'audit' });
  const stored = { records: new Map<number, Uint8Array>(), audit: new Map<string, Uint8Array>() };
  for (const { key, value } of records.getRange()) {
    stored.records.set(Number(Buffer.from(key).readBigUInt64BE()), Uint8Array.from(value));
  }
  for (const { key, value } of audit.getRange()) {
    stored.audit.set(Buffer.from(key).toString('hex'), Uint8Array.from(value));
  }
  change(stored);
  await root.transaction(() => {
    rewrite(
      records,
      [...stored.records].map(([number, value]) => {
        const key = Buffer.alloc(8);
        key.writeBigUInt64BE(BigInt(number));
        return [key, value];
      }),
    );
    rewrite(
      audit,
      [...stored.audit].map(([key, value]) => [Buffer.from(key, 'hex'), value]),
    );
  });
  await root.close();
}

function rewrite(database: Database<Uint8Array, Uint8Array>, items: [Uint8Array, Uint8Array][]): void {
  for (const { key } of [...database.getRange()]) database.removeSync(Uint8Array.from(key));
  for (const [key, value] of items) database.putSync(key, value);
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
    rewrite(
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
    rewrite(
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
