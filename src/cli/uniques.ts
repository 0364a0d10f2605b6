import type { Command } from 'commander';
import { type ConnectionOptions, changing, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, escaped, linesFrom, table } from './io.js';
import type { UniqueCount } from './sdk.js';

/** Items in one call of the SDK, which makes batches of them. */
const ITEMS_PER_CALL = 10_000;

export function seeCommand(io: CliIo): Command {
  return clientCommand('see', io)
    .description('say that items were seen under a name, and print how many of them were new')
    .argument('<name>', 'the counter, whose class keeps uniques')
    .argument('<item...>', 'what was seen, 1 to 1,024 bytes each, or - for items from stdin, one a line')
    .option('--json', 'an object: how many were new, and whether that is exact')
    .addHelpText(
      'after',
      `
Seeing an item again changes nothing, so a command that failed can be run again.

Examples:
  tallystick see visitors:/ 203.0.113.9               1 where it was new, else 0
  cut -d' ' -f1 access.log | tallystick see visitors: -`,
    )
    .action((name: string, given: string[], options: ConnectionOptions & { json?: boolean }) =>
      withClient(io, options, async (client) => {
        const items = isStdin(given) ? await linesFrom(io.stdin) : given;
        let fresh = 0;
        let exact = true;
        for (let at = 0; at < items.length; at += ITEMS_PER_CALL) {
          const seen = await changing(client.see(name, items.slice(at, at + ITEMS_PER_CALL)));
          fresh += seen.filter(({ isNew }) => isNew).length;
          exact &&= seen.every((one) => one.exact);
        }
        io.stdout.write(options.json ? `${JSON.stringify({ new: fresh, exact })}\n` : `${about(exact)}${fresh}\n`);
      }),
    );
}

interface UniquesOptions extends ConnectionOptions {
  readonly union?: boolean;
  readonly window?: string;
  readonly json?: boolean;
  readonly latest?: boolean;
}

export function uniquesCommand(io: CliIo): Command {
  return clientCommand('uniques', io)
    .description('print how many different items were seen under names')
    .argument('<name...>', 'the counters, or - for names from stdin, one a line')
    .option('--union', 'under any of them, as one number')
    .option(
      '--window <length>',
      'in the last hours, up to 24h, or days of UTC, such as 7d; all that was ever seen unless given',
    )
    .option('--json', 'an object for each: names, count, exact, and the standard error of an estimate, relative to it')
    .option('--latest', 'what is applied in memory, at once; without it, what no crash takes back')
    .addHelpText(
      'after',
      `
An estimate has a ~ before it. Two of three are off by less than 0.82%, and 99 of 100 by less than 2.1%.

Examples:
  tallystick uniques visitors:/
  tallystick uniques visitors:/ visitors:/about --union
  tallystick uniques visitors:/ --window 7d`,
    )
    .action((given: string[], options: UniquesOptions) =>
      withClient(
        io,
        options,
        async (client) => {
          const names = [...new Set(isStdin(given) ? await linesFrom(io.stdin) : given)];
          const read = options.latest ? 'latest' : 'durable';
          const how = { read, ...(options.window !== undefined && { window: options.window }) } as const;
          const counted = options.union
            ? [await client.uniques(names, { union: true, ...how })]
            : await client.uniques(names, how);
          if (options.json) io.stdout.write(counted.map((one) => `${JSON.stringify(uniquesJson(one))}\n`).join(''));
          else if (counted.length === 1 && !isStdin(given)) io.stdout.write(`${numberOf(counted[0] as UniqueCount)}\n`);
          else io.stdout.write(table(counted.map((one) => [one.names.map(escaped).join(' '), numberOf(one)])));
        },
        READ_ONLY,
      ),
    );
}

export function isStdin(given: readonly string[]): boolean {
  return given.length === 1 && given[0] === '-';
}

function about(exact: boolean): string {
  return exact ? '' : '~';
}

export function numberOf({ count, exact }: UniqueCount): string {
  return `${about(exact)}${count}`;
}

export function uniquesJson({ names, count, exact, standardError }: UniqueCount) {
  return { names, count, exact, standardError: Number(standardError.toPrecision(4)) };
}
