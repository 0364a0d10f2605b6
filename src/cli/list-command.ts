import { type Command, InvalidArgumentError } from 'commander';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, escaped, Lines } from './io.js';

interface ListCommandOptions extends ConnectionOptions {
  readonly limit?: number;
  readonly json?: boolean;
  readonly latest?: boolean;
}

export function listCommand(io: CliIo): Command {
  return clientCommand('ls', io)
    .description('print the counters whose names begin with PREFIX, and their values, in no order')
    .argument('[prefix]', 'all counters unless given', '')
    .option('--limit <n>', 'print so many at most', parseCount)
    .option('--json', 'one object a line, with a decimal string for the value')
    .option('--latest', 'what is applied in memory; without it, what no crash takes back')
    .addHelpText(
      'after',
      `
A line holds the name, a tab and the value; control characters of names are escaped. Every counter is looked at, in
small steps that do not hold up the server. One that is created or deleted meanwhile may be printed or not.

Examples:
  tallystick ls likes:
  tallystick ls --json | jq -r .name
  tallystick ls views: | sort -t "$(printf '\\t')" -k 2 -n -r | head     the most viewed`,
    )
    .action((prefix: string, { limit, json, latest, ...options }: ListCommandOptions) =>
      withClient(
        io,
        options,
        async (client) => {
          const most = limit === undefined ? {} : { limit };
          const lines = new Lines(io.stdout);
          for await (const { name, value } of client.list(prefix, { ...most, read: latest ? 'latest' : 'durable' })) {
            const line = json ? JSON.stringify({ name, value: String(value) }) : `${escaped(name)}\t${value}`;
            if (!(await lines.write(line))) break;
          }
          await lines.flush();
        },
        READ_ONLY,
      ),
    );
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(count) || count < 1)
    throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return count;
}
