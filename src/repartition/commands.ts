import { Command } from 'commander';
import { type Output, table } from '../cli/io.js';
import { Progress } from '../cli/progress.js';
import type { Clock } from '../clock.js';
import { loadConfig } from '../config.js';
import { DataDirectory } from '../directory.js';
import { TallystickError } from '../errors.js';
import { type Repartitioned, repartition } from './repartition.js';

/** `tallystick repartition`. */

export interface RepartitionIo {
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly clock: Clock;
}

interface RepartitionFlags {
  readonly into: string;
  readonly lanes?: string;
  readonly partitions?: string;
  readonly forgetOperationIds?: boolean;
  readonly json?: boolean;
}

const HELP = `
The server must not be running. The directory is checked as a start checks it, and only read; the new one has a new epoch. With as many
partitions as before nothing but the lanes changes. With another number every counter goes, without its history, to where its name
belongs now, and the cursors of producers (of 'ingest --producer') with them; sessions of clients end, so that nothing which one of them sends
again is counted twice. An ingest has to be complete; operation ids must have expired, or --forget-operation-ids be given. The audit log
stays in the old directory.

Examples:
  tallystick repartition /var/lib/tallystick --into /var/lib/tallystick.32 --partitions 32 --lanes 8`;

export function repartitionCommand(io: RepartitionIo): Command {
  return new Command('repartition')
    .description('make a data directory with other partitions or lanes of one whose server is stopped')
    .argument('[dir]', 'the data directory (default: that of the configuration)')
    .requiredOption('--into <dir>', 'the new directory, which must not exist or be empty')
    .option('--partitions <n>', 'of the new directory (default: as many as before)')
    .option('--lanes <n>', 'of the new directory (default: as many as before)')
    .option('--forget-operation-ids', 'operations may be applied again that are repeated with these ids')
    .option('--json', 'the summary as one JSON object')
    .addHelpText('after', HELP)
    .action(async (dir: string | undefined, { into, ...flags }: RepartitionFlags) => {
      await run(io, dir, into, flags);
    });
}

async function run(
  { env, stdout, stderr, clock }: RepartitionIo,
  dir: string | undefined,
  into: string,
  { lanes, partitions, json, forgetOperationIds = false }: Omit<RepartitionFlags, 'into'>,
): Promise<void> {
  // Of the environment and the file only the directory counts: what they say of its shape is of the old one.
  const { dataDir } = loadConfig({ dataDir: dir }, env);
  const wanted = loadConfig({ lanes, partitions }, {});
  const directory = DataDirectory.openStopped(dataDir);
  try {
    const old = {
      lanes: directory.lanes.length,
      partitions: directory.lanes.flatMap((lane) => lane.partitions).length,
    };
    const shape = { lanes: wanted.lanes ?? old.lanes, partitions: wanted.partitions ?? old.partitions };
    if (shape.lanes === old.lanes && shape.partitions === old.partitions) {
      const detail = `${dataDir} has ${old.partitions} partitions on ${old.lanes} lanes already; name --partitions or --lanes.`;
      throw new TallystickError('INVALID_ARGUMENT', detail);
    }
    if (shape.lanes > shape.partitions) {
      throw new TallystickError(
        'INVALID_ARGUMENT',
        `${shape.lanes} lanes cannot share ${shape.partitions} partitions.`,
      );
    }
    let done = 0;
    const progress = new Progress(stderr, undefined, clock, 'partitions');
    const made = await repartition(directory, into, shape, {
      forgetsOperationIds: forgetOperationIds,
      milliseconds: clock.wallMilliseconds(),
      onProgress: (more) => {
        done += more;
        progress.update(0, done);
      },
    }).finally(() => progress.stop());
    stdout.write(json ? asJson(into, old, made) : asText(into, old, made));
  } finally {
    directory.close();
  }
}

interface Shape {
  readonly lanes: number;
  readonly partitions: number;
}

function asJson(into: string, from: Shape, { sum, ...made }: Repartitioned): string {
  return `${JSON.stringify({ into, from, ...made, sum: String(sum) })}\n`;
}

function asText(into: string, from: Shape, made: Repartitioned): string {
  return table([
    ['made', into],
    ['epoch', String(made.epoch)],
    ['partitions', `${from.partitions} -> ${made.partitions}`],
    ['lanes', `${from.lanes} -> ${made.lanes}`],
    ['counters', made.counters.toLocaleString('en-US')],
    ['sum of all values', made.sum.toLocaleString('en-US')],
    ['producers with cursors', String(made.producers)],
  ]);
}
