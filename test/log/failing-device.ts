import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LogKind, segmentPath } from '../../src/log/segment-files.js';
import { outputOf } from '../support/bounded.js';

const CHILD = fileURLToPath(new URL('./append-child.mjs', import.meta.url));

/**
 * What becomes of groups that are appended to a new log while strace has system calls on its file fail. Each thread is counted for
 * itself, so the pool has one.
 *
 * @param injected as strace takes it: `fdatasync:error=EIO:when=4`
 */
export function outcomesOf(
  directory: string,
  kind: LogKind,
  injected: string,
  bytes: number,
  ...now: readonly 'now'[]
): string[] {
  const file = segmentPath(join(directory, 'lane'), 1, kind);
  const calls = ['-f', '-qq', '-o', join(directory, 'trace'), '-P', file, '-e', 'trace=fdatasync,pwrite64,pwritev'];
  const program = [process.execPath, CHILD, directory, kind, String(bytes), ...now];
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' };
  return JSON.parse(outputOf('strace', [...calls, '-e', `inject=${injected}`, ...program], { env })) as string[];
}
