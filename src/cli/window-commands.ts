import type { Command } from 'commander';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, escaped, iso, table } from './io.js';
import type { ToldWindow } from './sdk.js';

interface WindowCommandOptions extends ConnectionOptions {
  readonly last: string;
  readonly aligned?: boolean;
  readonly gross?: boolean;
  readonly json?: boolean;
  readonly latest?: boolean;
}

interface Shown {
  readonly cell: string;
  readonly json: object;
}

const HELP = `
Only counters whose class keeps windows have any (NOT_TRACKED); 'tallystick classes NAME' says which one a counter has. A window ends now, by the
server's clock, and is told in whole minutes up to an hour, in whole hours up to a day, and up to a minute in whole seconds where the class keeps
them: its oldest one counts by the part that lies within, and the error bounds what that may be off. With --aligned it begins with a whole one, and
is exact. With --gross it is told what increased a counter and what decreased it, where the class keeps that.
`;

export function windowCommand(io: CliIo): Command {
  return readingCommand('window', io, '1h')
    .description('print what the last so long has changed counters by')
    .addHelpText(
      'after',
      `${HELP}
Examples:
  tallystick window views:/ --last 15m
  tallystick window views:/ views:/about --last 1d --aligned --json
  tallystick window stock:lamp --last 1h --gross`,
    )
    .action((names: string[], options: WindowCommandOptions) => print(io, names, options, windowShown));
}

/** What a window changed a counter by, in a cell and as JSON has it. */
export function windowShown(reading: ToldWindow): Shown {
  return { cell: cellOf(reading), json: jsonOf(reading) };
}

function cellOf({ value, increases, decreases, error }: ToldWindow): string {
  const told = increases === undefined ? `${value}` : `${value} (+${increases} -${decreases})`;
  return error === 0n ? told : `${told} ±${error}`;
}

function jsonOf({ name, value, increases, decreases, gross, error, rate, from, to }: ToldWindow): object {
  const sums = increases !== undefined && {
    increases: String(increases),
    decreases: String(decreases),
    gross: String(gross),
  };
  return { name, value: String(value), ...sums, error: String(error), perSecond: rate, from: iso(from), to: iso(to) };
}

export function rateCommand(io: CliIo): Command {
  return readingCommand('rate', io, '1m')
    .description('print by how much counters change a second')
    .addHelpText(
      'after',
      `${HELP}
Examples:
  tallystick rate views:/
  tallystick rate views:/ --last 1h --json`,
    )
    .action((names: string[], options: WindowCommandOptions) => print(io, names, options, rateShown));
}

/** By how much a counter changed a second. */
export function rateShown({ name, rate, from, to }: ToldWindow): Shown {
  return {
    cell: `${rate.toLocaleString('en-US', { maximumFractionDigits: 3 })}/s`,
    json: { name, perSecond: rate, from: iso(from), to: iso(to) },
  };
}

function readingCommand(name: string, io: CliIo, last: string): Command {
  return clientCommand(name, io)
    .argument('<name...>', 'the counters')
    .option('--last <duration>', 'how long: 10s, 15m, 6h, 1d', last)
    .option('--aligned', 'from a whole second, minute or hour on: exact')
    .option('--gross', 'also what increased and what decreased them; a rate is of both together')
    .option('--json', 'an array of objects')
    .option('--latest', 'what is applied in memory, at once; without it, what no crash takes back');
}

function print(
  io: CliIo,
  names: readonly string[],
  { last, aligned, gross = false, json, latest, ...options }: WindowCommandOptions,
  show: (reading: ToldWindow) => Shown,
): Promise<void> {
  return withClient(
    io,
    options,
    async (client) => {
      const mode = aligned ? 'aligned' : 'sliding';
      const readings = await client.window([...new Set(names)], last, {
        mode,
        gross,
        read: latest ? 'latest' : 'durable',
      });
      const shown = readings.map((reading) => ({ name: reading.name, ...show(reading) }));
      if (json) io.stdout.write(`${JSON.stringify(shown.map((each) => each.json))}\n`);
      else if (shown.length === 1) io.stdout.write(`${shown[0]?.cell}\n`);
      else io.stdout.write(table(shown.map(({ name, cell }) => [escaped(name), cell])));
    },
    READ_ONLY,
  );
}
