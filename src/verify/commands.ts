import { Command } from 'commander';
import { EXIT_FAILED, EXIT_USAGE, Failure, statusOf } from '../cli/failure.js';
import type { Output } from '../cli/io.js';
import { Progress } from '../cli/progress.js';
import type { Clock } from '../clock.js';
import { loadConfig } from '../config.js';
import { DataDirectory } from '../directory.js';
import { TallystickError } from '../errors.js';
import { asJson, asText } from './report.js';
import { bytesOf, verifyDirectory } from './verify.js';

/** `tallystick verify`. */

export interface VerifyIo {
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly clock: Clock;
}

const HELP = `
Reads every record of every file of the log, the head marks and every page of the checkpoints, and changes nothing. With --replay
what a start would recover goes through the kernel too, and where the log reaches back to its first record, each
checkpoint is compared with what the log comes to. The server must not be running; it is kept away meanwhile.

Exit status: 0 sound, 1 damaged, anything else: it could not be verified.

Examples:
  tallystick verify /var/lib/tallystick
  tallystick verify /var/lib/tallystick --replay --json`;

export function verifyCommand(io: VerifyIo): Command {
  return new Command('verify')
    .description('verify a data directory, whose server has to be stopped')
    .argument('[dir]', 'the data directory (default: that of the configuration)')
    .option('--replay', 'also run what recovery reads through the kernel')
    .option('--json', 'one JSON object')
    .addHelpText('after', HELP)
    .action(async (dataDir: string | undefined, options: { replay?: boolean; json?: boolean }) => {
      await verify(io, loadConfig({ dataDir }, io.env).dataDir, options);
    });
}

async function verify(io: VerifyIo, dataDir: string, options: { replay?: boolean; json?: boolean }): Promise<void> {
  const { stdout, stderr, clock } = io;
  const verification = await orNotVerified(async () => {
    const directory = DataDirectory.openStopped(dataDir);
    const progress = new Progress(stderr, bytesOf(directory), clock, 'files');
    try {
      const onProgress = (bytes: number, files: number) => progress.update(bytes, files);
      return await verifyDirectory(directory, { replay: options.replay ?? false, onProgress });
    } finally {
      progress.stop();
      directory.close();
    }
  });
  stdout.write(options.json ? asJson(verification) : asText(dataDir, verification));
  if (verification.faults.length > 0) throw new TallystickError('DATA_DAMAGED');
}

/** An error that kept it from verifying says nothing about the data: it must not have the status of damage. */
async function orNotVerified<T>(attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    const isInUse = error instanceof TallystickError && error.code === 'DIRECTORY_IN_USE';
    const advice = isInUse ? 'Stop the server first, or verify a copy of the directory.' : '';
    throw new Failure(error, advice, statusOf(error) === EXIT_FAILED ? EXIT_USAGE : undefined);
  }
}
