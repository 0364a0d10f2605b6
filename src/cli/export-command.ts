import { renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type Command, Option } from 'commander';
import { TallystickError } from '../errors.js';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, Lines, table } from './io.js';
import { Progress } from './progress.js';
import type { CliClient } from './sdk.js';
import { rate } from './summary.js';
import { ENTRY_FORMATS, type EntryFormat, entryLine, formatOf, headerLine } from './transfer/entries.js';

interface ExportCommandOptions extends ConnectionOptions {
  readonly format?: EntryFormat;
  readonly json?: boolean;
}

const COUNTERS_A_STEP = 1_000;

const HELP = `
What is written is flushed on the server: no crash takes it back. It is no consistent cut: while others count, one counter
may be of a moment before another. A counter that exists all the while is written once.

A FILE appears when all is written, and takes the place of one of this name. The formats:
  ndjson     {"name":"likes:post:7","value":"42"}
  csv        name,value in the first line; names are quoted where they need it (RFC 4180)

Examples:
  tallystick export > counters.ndjson
  tallystick export '' counters.csv
  tallystick export stock: --format csv | gzip > stock.csv.gz`;

export function exportCommand(io: CliIo): Command {
  return clientCommand('export', io)
    .description('write the names and values of counters to a file or to stdout')
    .argument('[prefix]', 'only of counters whose names begin with it', '')
    .argument('[file]', 'stdout unless given')
    .addOption(new Option('--format <format>', "of the lines (default: by the file's ending)").choices(ENTRY_FORMATS))
    .option('--json', 'print the summary as one JSON object')
    .addHelpText('after', HELP)
    .action((prefix: string, file: string | undefined, options: ExportCommandOptions) =>
      withClient(io, options, (client) => exportTo(io, client, prefix, file, options), READ_ONLY),
    );
}

async function exportTo(
  io: CliIo,
  client: CliClient,
  prefix: string,
  file: string | undefined,
  { format = formatOf(file), json }: ExportCommandOptions,
): Promise<void> {
  const began = io.clock.monotonicMilliseconds();
  const write = (output: Writable) => writeAll(io, client, prefix, format, output);
  const written = file === undefined ? await write(io.stdout) : await toFile(file, write);
  const seconds = (io.clock.monotonicMilliseconds() - began) / 1_000;
  // What was exported must stay alone on stdout.
  const summary = file === undefined ? io.stderr : io.stdout;
  summary.write(json ? jsonSummary(written, seconds) : humanSummary(written, seconds));
}

interface Written {
  counters: number;
  bytes: number;
}

async function writeAll(
  io: CliIo,
  client: CliClient,
  prefix: string,
  format: EntryFormat,
  output: Writable,
): Promise<Written> {
  const isSeen = output === io.stdout && io.stdout.isTTY === true;
  const progress = isSeen ? undefined : new Progress(io.stderr, undefined, io.clock, 'counters');
  const lines = new Lines(output);
  const written = { counters: 0, bytes: 0 };
  const write = (line: string): Promise<boolean> => {
    written.bytes += Buffer.byteLength(line) + 1;
    return lines.write(line);
  };
  try {
    const header = headerLine(format);
    if (header !== undefined) await write(header);
    for await (const entry of client.list(prefix, { read: 'durable' })) {
      if (!(await write(entryLine(format, entry)))) break;
      written.counters += 1;
      if (written.counters % COUNTERS_A_STEP === 0) progress?.update(written.bytes, written.counters);
    }
    await lines.flush();
  } finally {
    progress?.stop();
  }
  return written;
}

/**
 * Writes beside the file, and puts it into its place when all is on the device. What is no regular file, like a pipe, is written to
 * as it stands.
 *
 * @throws TallystickError OUTPUT_FAILED
 */
async function toFile(file: string, write: (output: Writable) => Promise<Written>): Promise<Written> {
  try {
    const isReplaced = statSync(file, { throwIfNoEntry: false })?.isFile() ?? true;
    if (!isReplaced) return await throughStream(file, write, false);
    const beside = `${file}.partial`;
    try {
      const written = await throughStream(beside, write, true);
      renameSync(beside, file);
      return written;
    } finally {
      rmSync(beside, { force: true });
    }
  } catch (cause) {
    if (cause instanceof TallystickError) throw cause;
    throw new TallystickError('OUTPUT_FAILED', `${(cause as Error).message}.`, { cause });
  }
}

/** All of it written, with `flush` to the device, or an error. */
async function throughStream(
  path: string,
  write: (output: Writable) => Promise<Written>,
  flush: boolean,
): Promise<Written> {
  // Opened here and not by the stream, which would make the file when it is gone already.
  const handle = await open(path, 'w');
  const stream = handle.createWriteStream({ flush });
  const ended = finished(stream);
  ended.catch(() => {}); // whoever fails first is heard below
  try {
    const written = await write(stream);
    stream.end();
    await ended;
    return written;
  } finally {
    stream.destroy();
  }
}

function humanSummary({ counters, bytes }: Written, seconds: number): string {
  return table([
    ['counters', String(counters)],
    ['bytes', String(bytes)],
    ['seconds', seconds.toFixed(2)],
    ['counters/s', String(rate(counters, seconds))],
  ]);
}

function jsonSummary({ counters, bytes }: Written, seconds: number): string {
  return `${JSON.stringify({ counters, bytes, seconds: Number(seconds.toFixed(3)), countersPerSecond: rate(counters, seconds) })}\n`;
}
