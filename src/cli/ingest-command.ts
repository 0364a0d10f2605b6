import { type Command, InvalidArgumentError, Option } from 'commander';
import { TallystickError } from '../errors.js';
import { type ConnectionOptions, clientCommand, withClient } from './client.js';
import { Failure } from './failure.js';
import { Ingest } from './ingest/ingest.js';
import { openInput } from './ingest/input.js';
import { FORMATS, type Format, MAX_TEMPLATES, type Recipe } from './ingest/plan.js';
import {
  parseSighting,
  parseSum,
  parseTemplate,
  parseWhere,
  type Sighting,
  type Sum,
  type Template,
  type Where,
} from './ingest/template.js';
import type { CliIo } from './io.js';
import { Progress } from './progress.js';
import type { CliClient } from './sdk.js';
import { humanSummary, jsonSummary } from './summary.js';

interface IngestOptions extends ConnectionOptions {
  readonly format: Format;
  readonly count?: readonly Template[];
  readonly sum?: readonly Sum[];
  readonly unique?: readonly Sighting[];
  readonly where?: readonly Where[];
  readonly time?: string;
  readonly producer?: string;
  readonly json?: boolean;
}

const HELP = `
Formats and their fields:
  combined   the Apache and nginx access log: ip, time, method, path, status, bytes, referrer, agent;
             escapes (\\" and \\x..) stay as they are in the log
  csv        the names in the first line; RFC 4180 with commas, so a quoted field may hold line ends
  ndjson     one JSON object a line; its own keys; numbers and booleans as their JSON text

Templates:
  {field} is replaced by the field's text; {{ and }} are literal braces, so 'likes{{post:{id}}}' makes names
  like likes{post:7}, and what is between literal braces decides on the partition. --unique 'visitors:{path}={ip}' tells each
  item of the second template as seen under the name of the first; its class must keep uniques. --count, --sum, --unique and --where may be
  given many times (${MAX_TEMPLATES} templates at most); with several --where all must hold.

Lines:
  Only the fields that a template, a sum or a condition uses must parse; a template without fields counts every
  line. A line is used whole or not at all: if
  one template can't be made of it (a field is missing or no UTF-8, a name is empty or longer than 1,024
  bytes, a summed field is neither a 64-bit integer nor -, which is 0), nothing of it is counted, and it is
  reported with its number. Lines over 1 MiB are unusable. A line that fails a --where is filtered out, and so is
  an ndjson line that lacks its key.

Times:
  With --time FIELD an increment counts in the minute of its line and not of its arrival: --time time for combined, whose
  field is [17/May/2015:10:05:03 +0000]. In csv and ndjson it is ISO 8601 (2015-05-17T10:05:03Z, with or without zone,
  which is UTC unless given) or a number: below 100000000000 seconds since 1970, else milliseconds. It must parse.
  Times matter only to counters whose class keeps windows, up to its lateness: "any" takes old logs. What
  is refused as TIME_TOO_OLD or TIME_AHEAD is not counted, and the summary tells it. Sightings have no time.

Resuming:
  With --producer the server keeps, together with the counts, how far the input is counted. After a crash of
  either side run the same command again: every line is counted exactly once. One producer stands for one input
  and one set of options: another file or other templates are refused. The input may have grown, may have been
  compressed, and may come from stdin. Line numbers go on from the place of resumption.
  Without --producer a second run counts everything a second time.

Exit status: 0 all read and counted (unusable lines are only reported), 1 stopped or increments were refused,
2 wrong usage.

Examples:
  tallystick ingest access.log --format combined --count 'views:{path}' --count 'status:{status}'
  tallystick ingest access.log.1.gz --format combined --sum 'bytes:{path}=bytes' --producer access-2015-05-17
  tallystick ingest access.log --format combined --unique 'visitors:{path}={ip}' --unique 'visitors={ip}'
  tallystick ingest access.log --format combined --count 'views:{path}' --time time
  tallystick ingest sales.csv --format csv --count 'sales:{shop}' --sum 'cents:{shop}=cents' --where currency=EUR
  tail -n +1 -f events.ndjson | tallystick ingest - --format ndjson --count 'event:{type}' --producer events`;

export function ingestCommand(io: CliIo): Command {
  return clientCommand('ingest', io, 120)
    .description('count the lines of a file into counters')
    .argument('<file>', 'the file, which may be compressed by gzip, or - for stdin')
    .addOption(new Option('--format <format>', 'how a line is read').choices(FORMATS).makeOptionMandatory())
    .option('--count <template>', 'add 1 to this counter for each line', repeated(parseTemplate))
    .option('--sum <template=field>', "add a field's number to this counter for each line", repeated(parseSum))
    .option('--unique <template=item>', 'count the different items under this name', repeated(parseSighting))
    .option('--where <field=value>', 'use only lines whose field has this text', repeated(parseWhere))
    .option('--time <field>', 'when the increments of a line happened; see below')
    .option('--producer <name>', 'resume under this name after a crash; see below')
    .option('--json', 'print the summary as one JSON object')
    .addHelpText('after', HELP)
    .action(async (file: string, options: IngestOptions) => {
      const { format, count: counts = [], sum: sums = [], unique: sightings = [], where: wheres = [] } = options;
      const { producer, time } = options;
      const templates = counts.length + sums.length + sightings.length;
      if (templates === 0 || templates > MAX_TEMPLATES)
        throw new TallystickError('INVALID_ARGUMENT', `Give 1 to ${MAX_TEMPLATES} --count, --sum and --unique.`);
      if (time !== undefined && counts.length + sums.length === 0)
        throw new TallystickError('INVALID_ARGUMENT', 'Sightings have no time: give a --count or --sum with --time.');
      const identity = producer === undefined ? {} : { producer };
      const recipe = { format, counts, sums, sightings, wheres, ...(time !== undefined && { time }) };
      await withClient(io, options, (client) => ingestFile(io, client, file, recipe, options), identity);
    });
}

async function ingestFile(
  io: CliIo,
  client: CliClient,
  file: string,
  recipe: Recipe,
  { producer, json }: IngestOptions,
): Promise<void> {
  const { clock } = io;
  const began = clock.monotonicMilliseconds();
  const opened = await openInput(file, io.stdin);
  const progress = new Progress(io.stderr, opened.size, clock);
  const resumable = producer !== undefined;
  const ingest: Ingest = new Ingest(opened.input, client, {
    recipe,
    resumable,
    clock,
    onProgress: () => progress.update(opened.bytesRead(), ingest.report.lines),
  });
  let failure: { error: unknown } | undefined;
  try {
    await ingest.run();
  } catch (error) {
    failure = { error };
  } finally {
    progress.stop();
    await opened.close();
  }
  const seconds = (clock.monotonicMilliseconds() - began) / 1_000;
  if (json) io.stdout.write(jsonSummary(ingest, seconds, failure?.error));
  else if (failure === undefined || ingest.report.lines > 0) io.stdout.write(humanSummary(ingest, seconds));
  if (failure !== undefined) throw new Failure(failure.error, adviceAfter(failure.error, ingest, resumable));
  throwRefusals(ingest);
}

function adviceAfter(error: unknown, { outbox }: Ingest, resumable: boolean): string {
  if (error instanceof TallystickError && (error.code === 'INVALID_ARGUMENT' || error.code === 'INPUT_CHANGED'))
    return '';
  if (resumable) return 'The server knows how far the input is counted: the same command goes on exactly there.';
  return outbox.batches === 0 ? '' : 'A part of the input is counted. A second run would count it again.';
}

function throwRefusals({ outbox }: Ingest): void {
  const [first] = outbox.refusals;
  if (first !== undefined)
    throw new TallystickError(first.code, `The server refused ${outbox.refused} steps, which the summary lists.`);
}

/** Collects an option that may be given many times. */
function repeated<T>(parse: (source: string) => T): (source: string, former?: readonly T[]) => readonly T[] {
  return (source, former = []) => {
    try {
      return [...former, parse(source)];
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}
