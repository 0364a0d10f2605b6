import type { Command } from 'commander';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, iso, table } from './io.js';
import type { ToldPoint } from './sdk.js';

interface ReadOptions extends ConnectionOptions {
  readonly json?: boolean;
  readonly latest?: boolean;
}

interface SeriesOptions extends ReadOptions {
  readonly from: string;
  readonly to?: string;
  readonly step: string;
  readonly zone: string;
}

const HELP = `
Only counters whose class keeps a history have any (NOT_TRACKED); 'tallystick classes NAME' says which one a counter has. Times are like
2026-11-27T12:00Z, with their zone, or 2026-11-27, which is midnight of UTC.
`;
const BARS = '▁▂▃▄▅▆▇█';

export function seriesCommand(io: CliIo): Command {
  return readingCommand('series', io)
    .description('print what a counter changed by, step by step')
    .argument('<name>', 'the counter')
    .requiredOption('--from <time>', 'the step of this time is the first')
    .option('--to <time>', 'before this time; now, unless given')
    .option('--step <duration>', '5m, 1h, 1d, 7d', '1h')
    .option('--zone <zone>', 'where days begin, as Europe/Berlin', 'UTC')
    .addHelpText(
      'after',
      `${HELP}
A step of which no finer times are kept is as long as what is kept. One marked ~ is not exact: an hour of UTC lies across one of its ends.

Examples:
  tallystick series views:/ --from 2026-11-27
  tallystick series views:/ --from 2026-11-01 --step 1d --zone Asia/Kolkata --json`,
    )
    .action((name: string, { json, latest, from, to, step, zone, ...options }: SeriesOptions) =>
      withClient(
        io,
        options,
        async (client) => {
          const read = latest ? 'latest' : 'durable';
          const { points } = await client.series(name, { from, ...(to !== undefined && { to }), step, zone, read });
          if (json) io.stdout.write(`${JSON.stringify({ name, points: points.map(jsonOf) })}\n`);
          else io.stdout.write(drawn(points, io.stdout.isTTY === true));
        },
        READ_ONLY,
      ),
    );
}

export function atCommand(io: CliIo): Command {
  return readingCommand('at', io)
    .description('print the value that a counter had')
    .argument('<name>', 'the counter')
    .argument('<time>', 'the instant')
    .addHelpText(
      'after',
      `${HELP}
Where no finer times are kept it is the value of the next instant that is known, which is told.

Examples:
  tallystick at views:/ 2026-11-27T12:00Z
  tallystick at views:/ 2026-11-01 --json`,
    )
    .action((name: string, time: string, { json, latest, ...options }: ReadOptions) =>
      withClient(
        io,
        options,
        async (client) => {
          const found = await client.valueAt(name, time, { read: latest ? 'latest' : 'durable' });
          const { value, at, exact, resolution } = found;
          const told = { name, value: String(value), at: iso(at), exact, resolution };
          if (json) io.stdout.write(`${JSON.stringify(told)}\n`);
          else io.stdout.write(exact ? `${value}\n` : `${value} at ${iso(at)}\n`);
        },
        READ_ONLY,
      ),
    );
}

function readingCommand(name: string, io: CliIo): Command {
  return clientCommand(name, io)
    .option('--json', 'an object')
    .option('--latest', 'what is applied in memory, at once; without it, what no crash takes back');
}

function jsonOf({ from, to, value, resolution, exact }: ToldPoint) {
  return { from: iso(from), to: iso(to), value: String(value), resolution, exact };
}

/** A line for each point, and on a terminal their sparkline. */
function drawn(points: readonly ToldPoint[], isTerminal: boolean): string {
  const rows = points.map(({ from, value, exact }): [string, string] => [iso(from), `${exact ? '' : '~'}${value}`]);
  return `${isTerminal && points.length > 0 ? `${sparkline(points.map(({ value }) => value))}\n` : ''}${table(rows)}`;
}

/** A bar for each value, from the least to the most. */
function sparkline(values: readonly bigint[]): string {
  const sorted = [...values].sort((a, b) => (a < b ? -1 : 1));
  const [least = 0n, most = 0n] = [sorted[0], sorted.at(-1)];
  const height = most - least;
  const steps = BigInt(BARS.length - 1);
  return values.map((value) => BARS[height === 0n ? 0 : Number(((value - least) * steps) / height)]).join('');
}
