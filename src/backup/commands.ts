import { createReadStream, existsSync, statSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { Command } from 'commander';
import { type Output, table } from '../cli/io.js';
import { Progress } from '../cli/progress.js';
import type { Clock } from '../clock.js';
import { defaultShape, loadConfig } from '../config.js';
import { TallystickError } from '../errors.js';
import { compileWasm } from '../wasm.js';
import type { ByteSink } from './backup-file.js';
import { restoreBackup } from './restore.js';
import { takeBackup } from './take.js';

/** `tallystick backup` and `tallystick restore`. */

export interface BackupIo {
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly clock: Clock;
}

const BACKUP_HELP = `
The server may be running. What is written is everything up to a flushed group of each lane: whatever was acknowledged as
durable before the command began is in it, with its history. The state is recovered from the checkpoints and the log as a start would do it,
and each row of history is checked, so a backup that ends well has also verified them; it takes the memory of one lane. Audit items are not in it.
A DIR gets a file named by the time. A FILE appears when it is whole and flushed; '-' is stdout.

Examples:
  tallystick backup /backups --data-dir /var/lib/tallystick
  tallystick backup - --data-dir /var/lib/tallystick | zstd > tallystick.backup.zst`;

const RESTORE_HELP = `
The directory must not exist or be empty. It gets a new epoch: ids and positions of the old directory mean nothing to it, which
clients notice by themselves. Every page and the whole file are checked before a server takes the directory.

Examples:
  tallystick restore /backups/tallystick-20260101T000000Z.backup --data-dir /var/lib/tallystick
  zstd -dc tallystick.backup.zst | tallystick restore - --data-dir ./data --lanes 4`;

export function backupCommand(io: BackupIo): Command {
  return new Command('backup')
    .description('write the state and the history of a data directory, which may be in use, to a file')
    .argument('<target>', 'a directory, a new file, or - for stdout')
    .option('--data-dir <dir>', 'of the server (default: tallystick-data)')
    .option('--json', 'the summary as one JSON object')
    .addHelpText('after', BACKUP_HELP)
    .action(async (target: string, { json, ...flags }: { json?: boolean; dataDir?: string }) => {
      const { dataDir } = loadConfig(flags, io.env);
      await backup(io, dataDir, target, json ?? false);
    });
}

export function restoreCommand(io: BackupIo): Command {
  return new Command('restore')
    .description('make a data directory of a backup')
    .argument('<file>', 'that backup wrote, or - for stdin')
    .option('--data-dir <dir>', 'to make (default: tallystick-data)')
    .option('--lanes <n>', 'of the new directory (default: one a core)')
    .option('--json', 'the summary as one JSON object')
    .addHelpText('after', RESTORE_HELP)
    .action(async (file: string, { json, ...flags }: { json?: boolean; dataDir?: string; lanes?: string }) => {
      const { dataDir, lanes = defaultShape().lanes } = loadConfig(flags, io.env);
      await restore(io, file, dataDir, lanes, json ?? false);
    });
}

async function backup(io: BackupIo, dataDir: string, target: string, json: boolean): Promise<void> {
  const { stdout, stderr, clock } = io;
  const isPipe = target === '-';
  const path = isPipe ? '-' : pathOf(target, clock.wallMilliseconds());
  const progress = new Progress(stderr, undefined, clock, 'partitions');
  try {
    const write = (sink: ByteSink) =>
      takeBackup(dataDir, compileWasm('kernel'), clock.wallMilliseconds(), sink, (bytes, partitions) =>
        progress.update(bytes, partitions),
      );
    const taken = isPipe ? await write((bytes) => written(stdout, bytes)) : await intoFile(path, write);
    progress.stop();
    const { checksum, bytes, counters, positions } = taken;
    summarize(isPipe ? stderr : stdout, json, { file: path, bytes, counters, partitions: positions.length, checksum });
  } finally {
    progress.stop();
  }
}

async function restore(io: BackupIo, file: string, dataDir: string, lanes: number, json: boolean): Promise<void> {
  const { stdin, stdout, stderr, clock } = io;
  const isPipe = file === '-';
  if (!isPipe && !existsSync(file)) throw new TallystickError('INPUT_FAILED', `${file} does not exist.`);
  const source = isPipe ? stdin : createReadStream(file, { highWaterMark: 1 << 20 });
  const progress = new Progress(stderr, isPipe ? undefined : statSync(file).size, clock, 'partitions');
  try {
    const restored = await restoreBackup(source, dataDir, lanes, (bytes, partitions) =>
      progress.update(bytes, partitions),
    );
    progress.stop();
    summarize(stdout, json, { dataDir, ...restored });
  } finally {
    progress.stop();
  }
}

/** The file that a backup goes to. @throws TallystickError INVALID_ARGUMENT if it exists */
function pathOf(target: string, milliseconds: number): string {
  const isDirectory = statSync(target, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const time = new Date(milliseconds).toISOString().replace(/[-:]|\.\d+/g, '');
  const path = isDirectory ? join(target, `tallystick-${time}.backup`) : target;
  if (existsSync(path)) throw new TallystickError('INVALID_ARGUMENT', `${path} exists; name another file.`);
  return path;
}

/** Whole or not at all: written beside, flushed, and then given its name. */
async function intoFile<T>(path: string, write: (sink: ByteSink) => Promise<T>): Promise<T> {
  const temporary = `${path}.part`;
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      const result = await write(async (bytes) => {
        await file.appendFile(bytes);
      });
      await file.sync();
      await rename(temporary, path);
      await flushDirectory(dirname(path));
      return result;
    } finally {
      await file.close();
    }
  } catch (error) {
    await rm(temporary, { force: true });
    if (error instanceof TallystickError) throw error;
    throw new TallystickError('OUTPUT_FAILED', `${(error as Error).message}.`, { outcome: 'refused', cause: error });
  }
}

async function flushDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function written(output: Output, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    output.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

function summarize(output: Output, json: boolean, summary: Record<string, string | number>): void {
  if (json) output.write(`${JSON.stringify(summary)}\n`);
  else output.write(table(Object.entries(summary).map(([key, value]) => [key, String(value)] as const)));
}
