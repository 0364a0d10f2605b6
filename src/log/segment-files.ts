import { existsSync, readdirSync, rmSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** What a segment is kept in: an LMDB environment, or a plain file. The segments of a log may be of both kinds. */
export type LogKind = 'lmdb' | 'files';

/**
 * The files of a lane's segments: `log-<number of the first record>`, with `.seg`, or with `.mdb` and then LMDB's `-lock` beside
 * it, which holds nothing that must last. A segment appears under its name when it is whole and flushed.
 */
export interface SegmentFile {
  readonly path: string;
  readonly firstRecord: number;
  readonly kind: LogKind;
}

const NAME = /^log-(\d{16})\.(mdb|seg)$/;
const EXTENSION: Readonly<Record<LogKind, string>> = { lmdb: 'mdb', files: 'seg' };
const UNFINISHED = '.new';
const LOCK = '-lock';

export function segmentPath(directory: string, firstRecord: number, kind: LogKind): string {
  return join(directory, `log-${String(firstRecord).padStart(16, '0')}.${EXTENSION[kind]}`);
}

/** Where a segment is made. */
export function unfinishedPath(path: string): string {
  return `${path}${UNFINISHED}`;
}

/** Oldest first; none where there is no such directory. */
export function segmentsIn(directory: string): SegmentFile[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .flatMap((name) => {
      const [, digits, extension] = NAME.exec(name) ?? [];
      if (digits === undefined) return [];
      const kind: LogKind = extension === EXTENSION.lmdb ? 'lmdb' : 'files';
      return [{ path: join(directory, name), firstRecord: Number(digits), kind }];
    })
    .sort((a, b) => a.firstRecord - b.firstRecord);
}

/**
 * Makes the file of an empty segment. What dies on the way leaves nothing, an unfinished file, or the whole segment; made once
 * more, it is the same.
 *
 * @param write makes the file at a path of which nothing is there
 */
export async function makeSegment(
  kind: LogKind,
  directory: string,
  firstRecord: number,
  write: (path: string) => Promise<void>,
): Promise<SegmentFile> {
  const path = segmentPath(directory, firstRecord, kind);
  removeUnfinished(path);
  try {
    await write(unfinishedPath(path));
    await publish(unfinishedPath(path), path);
  } finally {
    removeUnfinished(path);
  }
  return { path, firstRecord, kind };
}

/** Flushes a file, gives it its name in place of what had it, and flushes that. */
export async function publish(temporary: string, path: string): Promise<void> {
  await flush(temporary, 'r+');
  await rename(temporary, path);
  await flush(dirname(path), 'r');
}

/** Removes a segment for good: when this resolves, no crash brings it back. */
export async function removeSegment(path: string): Promise<void> {
  await rm(path, { force: true });
  await flush(dirname(path), 'r');
  await rm(`${path}${LOCK}`, { force: true });
}

/** Removes a file in the making, if there is one. */
export function removeUnfinished(path: string): void {
  rmSync(unfinishedPath(path), { force: true });
  rmSync(`${unfinishedPath(path)}${LOCK}`, { force: true });
}

/** Removes what a death left while a segment was made or dropped. Only for the process that writes. */
export function removeLeftovers(directory: string): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const isUnfinished = name.endsWith(UNFINISHED) && NAME.test(name.slice(0, -UNFINISHED.length));
    const isStrayLock = /^log-.*-lock$/.test(name) && !existsSync(path.slice(0, -LOCK.length));
    if (isUnfinished || isStrayLock) rmSync(path, { force: true });
  }
}

/** Flushes a file, or the names in a directory. */
export async function flush(path: string, mode: 'r' | 'r+'): Promise<void> {
  const file = await open(path, mode);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
