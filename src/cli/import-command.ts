import { type Command, Option } from 'commander';
import { TallystickError } from '../errors.js';
import { type ConnectionOptions, clientCommand, withClient } from './client.js';
import { Failure } from './failure.js';
import { openInput } from './ingest/input.js';
import { type CliIo, table } from './io.js';
import { Progress } from './progress.js';
import type { CliClient } from './sdk.js';
import { errorOf, rate, unusable } from './summary.js';
import { ENTRY_FORMATS, type EntryFormat, formatOf } from './transfer/entries.js';
import { Import } from './transfer/import.js';

interface ImportCommandOptions extends ConnectionOptions {
  readonly format?: EntryFormat;
  readonly reason?: string;
  readonly json?: boolean;
}

/** Bytes that a reason may have. */
const MAX_REASON_BYTES = 256;

const HELP = `
It reads what 'tallystick export' writes, and whatever else looks like it:
  ndjson     one object a line with the keys name and value; the value as a string or a number of 64 bits
  csv        the first line names the columns, name and value among them

Each line sets its counter, whatever value that had, also one that was written to since: import into a server that counts
nothing meanwhile. Of two lines with one name the later holds. Every SET is durable and goes to the audit log with its reason.
Running the same command again sets the same values, so after a failure just run it again.

A line that can't be used (no JSON, no name or value, a value that is no 64-bit integer, a name that is empty or longer
than 1,024 bytes) is passed over, counted and reported with its number, and the command exits with 1.

Examples:
  tallystick import counters.ndjson
  tallystick import counters.csv.gz --reason 'move of 2026-03-01'
  tallystick export 'stock:' --server tallystick://old:7070 | tallystick import - --server tallystick://new:7070`;

export function importCommand(io: CliIo): Command {
  return clientCommand('import', io, 60)
    .description('set counters to the values in a file')
    .argument('<file>', 'the file, which may be compressed by gzip, or - for stdin')
    .addOption(new Option('--format <format>', "of the lines (default: by the file's ending)").choices(ENTRY_FORMATS))
    .option('--reason <text>', 'why, for the audit log; 1 to 256 bytes (default: import FILE)')
    .option('--json', 'print the summary as one JSON object')
    .addHelpText('after', HELP)
    .action((file: string, options: ImportCommandOptions) =>
      withClient(io, options, (client) => importFile(io, client, file, options)),
    );
}

async function importFile(io: CliIo, client: CliClient, file: string, options: ImportCommandOptions): Promise<void> {
  const { format = formatOf(file), reason = defaultReason(file), json } = options;
  const { clock } = io;
  const began = clock.monotonicMilliseconds();
  const opened = await openInput(file, io.stdin);
  const progress = new Progress(io.stderr, opened.size, clock);
  const run: Import = new Import(opened.input, client, {
    format,
    reason,
    onProgress: () => progress.update(opened.bytesRead(), run.report.lines),
  });
  let failure: { error: unknown } | undefined;
  try {
    await run.run();
  } catch (error) {
    failure = { error };
  } finally {
    progress.stop();
    await opened.close();
  }
  const seconds = (clock.monotonicMilliseconds() - began) / 1_000;
  if (json) io.stdout.write(jsonSummary(run, seconds, failure?.error));
  else if (failure === undefined || run.report.lines > 0) io.stdout.write(humanSummary(run, seconds));
  if (failure !== undefined) throw new Failure(failure.error, adviceAfter(failure.error));
  if (run.report.unusable > 0)
    throw new TallystickError('INPUT_UNUSABLE', `${run.report.unusable} lines set nothing; the summary lists them.`);
}

/** It names where the values came from, as far as there is room. */
function defaultReason(file: string): string {
  let reason = `import ${file === '-' ? 'stdin' : file}`;
  while (Buffer.byteLength(reason) > MAX_REASON_BYTES) reason = [...reason].slice(0, -1).join('');
  return reason;
}

function adviceAfter(error: unknown): string {
  if (error instanceof TallystickError && error.code === 'INVALID_ARGUMENT') return '';
  return 'What was set stays. The same command sets the same values again, and the rest.';
}

function humanSummary({ report }: Import, seconds: number): string {
  const rows: [string, string][] = [
    ['lines', String(report.lines)],
    ['set', String(report.set)],
    ['unusable', String(report.unusable)],
    ['seconds', seconds.toFixed(2)],
    ['lines/s', String(rate(report.lines, seconds))],
  ];
  return table(rows) + unusable(report, 'Unusable lines, which set nothing:');
}

function jsonSummary({ report }: Import, seconds: number, error: unknown): string {
  return `${JSON.stringify({
    finished: error === undefined,
    error: error === undefined ? null : errorOf(error),
    ...report,
    seconds: Number(seconds.toFixed(3)),
    linesPerSecond: rate(report.lines, seconds),
  })}\n`;
}
