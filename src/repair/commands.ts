import { Command } from 'commander';
import { Failure } from '../cli/failure.js';
import type { Output } from '../cli/io.js';
import { Progress } from '../cli/progress.js';
import type { Clock } from '../clock.js';
import { loadConfig } from '../config.js';
import { DataDirectory } from '../directory.js';
import { TallystickError } from '../errors.js';
import { verifyDirectory } from '../verify/verify.js';
import { inspect, repairInto } from './repair.js';
import { asJson, asText, type RepairReport } from './report.js';

/** `tallystick repair`. */

export interface RepairIo {
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly clock: Clock;
}

interface RepairFlags {
  readonly yes?: boolean;
  readonly into?: string;
  readonly losePartitions?: boolean;
  readonly json?: boolean;
}

const HELP = `
Verifies the directory as 'verify --replay' does. If it is damaged, says what can be saved of each partition: the longest chain of whole
records from the first one or from the checkpoint on, wherever they lie in the files; and what would be dropped: sequences,
times, and for each counter and producer what the entries that can still be read asked for. Steps with bounds or an operation
id are counted there although they may have been refused.

With --yes a sound directory is made of what can be saved. It has a new epoch, so that clients notice that what was acknowledged may be
gone. The damaged directory is only read and stays as it is; the audit log stays in it. The server must not be running. A backup that is
recent enough is better than a repair.

Exit status: 0 sound, or repaired; 1 damaged, and nothing was changed.

Examples:
  tallystick repair /var/lib/tallystick
  tallystick repair /var/lib/tallystick --yes --into /var/lib/tallystick.repaired`;

export function repairCommand(io: RepairIo): Command {
  return new Command('repair')
    .description('say what can be saved of a damaged data directory, and save it')
    .argument('[dir]', 'the data directory (default: that of the configuration)')
    .option('--yes', 'make a directory of what can be saved')
    .option('--into <dir>', 'which must not exist or be empty (default: DIR.repaired)')
    .option('--lose-partitions', 'go on where nothing at all can be saved of a partition')
    .option('--json', 'one JSON object')
    .addHelpText('after', HELP)
    .action(async (dataDir: string | undefined, flags: RepairFlags) => {
      await repair(io, loadConfig({ dataDir }, io.env).dataDir, flags);
    });
}

async function repair(io: RepairIo, dataDir: string, flags: RepairFlags): Promise<void> {
  const { stdout, clock } = io;
  const directory = DataDirectory.openStopped(dataDir);
  try {
    const { faults } = await withProgress(io, 'files', (onProgress) =>
      verifyDirectory(directory, { replay: true, onProgress }),
    );
    let report: RepairReport = { dataDir, faults, lanes: [] };
    if (faults.length > 0) {
      const now = clock.wallMilliseconds();
      const lanes = await withProgress(io, 'parts', (onProgress) => inspect(directory, now, onProgress));
      report = { ...report, lanes };
      if (flags.yes && !(isAllLost(report) && !flags.losePartitions)) {
        const into = flags.into ?? `${dataDir.replace(/\/+$/, '')}.repaired`;
        const epoch = await withProgress(io, 'parts', (onProgress) => repairInto(directory, into, now, onProgress));
        report = { ...report, into, epoch };
      }
    }
    stdout.write(flags.json ? asJson(report) : asText(report));
    if (faults.length > 0 && report.into === undefined)
      throw new Failure(new TallystickError('DATA_DAMAGED'), advice(report));
  } finally {
    directory.close();
  }
}

/** Whether some partition would begin anew. */
function isAllLost({ lanes }: RepairReport): boolean {
  return lanes.some(({ partitions }) => partitions.some(({ kept }) => kept.sequence === 0));
}

function advice(report: RepairReport): string {
  return isAllLost(report)
    ? 'Nothing of some partitions can be saved: restore a backup; --yes --lose-partitions saves the others and begins those anew.'
    : 'Or run repair again with --yes to make a directory of what can be saved.';
}

async function withProgress<T>(
  { stderr, clock }: RepairIo,
  unit: string,
  work: (onProgress: (bytes: number, count: number) => void) => Promise<T>,
): Promise<T> {
  const progress = new Progress(stderr, undefined, clock, unit);
  try {
    return await work((bytes, count) => progress.update(bytes, count));
  } finally {
    progress.stop();
  }
}
