import type { Command } from 'commander';
import { matchesPattern } from '../protocol/pattern.js';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, escaped } from './io.js';

/** A class as the server tells it: its pattern, and what it keeps. */
interface ToldClass {
  readonly pattern: string;
  readonly [kept: string]: unknown;
}

/** `tallystick classes`. */
export function classesCommand(io: CliIo): Command {
  return clientCommand('classes', io)
    .description('print the classes of counters, or which one each NAME has and what is kept of it')
    .argument('[name...]', 'all classes unless given')
    .option('--json', 'an array of objects')
    .addHelpText(
      'after',
      `
The classes are the rules of the server's configuration (\`classes\`). A counter is of the first whose pattern matches its name, in which a star stands for
any characters; one that none matches has its total and nothing else.

Examples:
  tallystick classes
  tallystick classes views:/ stock:42`,
    )
    .action((names: string[], { json, ...options }: ConnectionOptions & { json?: boolean }) =>
      withClient(
        io,
        options,
        async (client) => {
          const [lane] = (await client.stats()) as readonly { readonly classes: readonly ToldClass[] }[];
          const classes = lane?.classes ?? [];
          const rows =
            names.length === 0 ? classes.map((rule) => ({ rule })) : names.map((name) => rowOf(name, classes));
          io.stdout.write(
            json ? `${JSON.stringify(rows.map(asJson))}\n` : rows.map((row) => `${asLine(row)}\n`).join(''),
          );
        },
        READ_ONLY,
      ),
    );
}

interface Row {
  readonly name?: string;
  readonly rule: ToldClass | undefined;
}

function rowOf(name: string, classes: readonly ToldClass[]): Row {
  return { name, rule: classes.find(({ pattern }) => matchesPattern(pattern, name)) };
}

function asJson({ name, rule }: Row): unknown {
  return { ...(name !== undefined && { name }), ...(rule ?? { pattern: null }) };
}

function asLine({ name, rule }: Row): string {
  const { pattern = '', ...kept } = rule ?? {};
  const told = Object.entries(kept).map(([key, value]) => `${key} ${inWords(value)}`);
  const keeps = rule ? ['total', ...told].join(', ') : 'total alone: no class matches';
  const what = rule ? `${escaped(String(pattern))}: ${keeps}` : keeps;
  return name === undefined ? what : `${escaped(name)}  ${what}`;
}

/** Of what has parts, each with its name. */
function inWords(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value)
    .map(([part, kept]) => `${part} ${kept}`)
    .join(' ');
}
