import { Argument, type Command } from 'commander';
import { type ConnectionOptions, changing, clientCommand, parseInteger, READ_ONLY, withClient } from './client.js';
import { type CliIo, escaped, linesFrom, table } from './io.js';
import type { CliClient, StepOptions } from './sdk.js';

/** Names in one call of the SDK, which makes batches of them. */
const NAMES_PER_READ = 10_000;

export function incrCommand(io: CliIo): Command {
  const examples = `
Examples:
  tallystick incr visits          adds 1 and prints the new value
  tallystick incr balance -5      a negative number needs no quoting
  tallystick incr calls:alice --max 100 --ttl 1m      a limit: 100 a minute, then OUT_OF_BOUNDS`;
  return stepCommand('incr', 'add N to a counter, once, and print its new value', examples, io, (client, ...step) =>
    client.increment(...step),
  );
}

export function decrCommand(io: CliIo): Command {
  const examples = `
Examples:
  tallystick decr stock:42        takes 1 and prints the new value
  tallystick decr stock:42 12
  tallystick decr stock:42 --min 0    what is not there cannot be taken: OUT_OF_BOUNDS`;
  return stepCommand('decr', 'take N from a counter, once, and print its new value', examples, io, (client, ...step) =>
    client.decrement(...step),
  );
}

interface StepFlags {
  readonly min?: bigint;
  readonly max?: bigint;
  readonly ttl?: string;
}

function stepCommand(
  name: string,
  description: string,
  examples: string,
  io: CliIo,
  step: (client: CliClient, name: string, n: bigint, options: StepOptions) => Promise<bigint>,
): Command {
  return clientCommand(name, io)
    .description(description)
    .argument('<name>', 'the counter; 1 to 1,024 bytes of UTF-8')
    .addArgument(new Argument('[n]', 'a signed 64-bit integer').argParser(parseInteger).default(1n, '1'))
    .option('--min <value>', 'only if the new value is not below', parseInteger)
    .option('--max <value>', 'only if the new value is not above', parseInteger)
    .option('--ttl <duration>', 'the counter ends so long after this, unless it has an end already: 90s, 15m, 6h, 1d')
    .addHelpText('after', examples)
    .action((counter: string, n: bigint, { min, max, ttl, ...options }: ConnectionOptions & StepFlags) =>
      withClient(io, options, async (client) => {
        const conditions: StepOptions = {
          ...(min !== undefined && { min }),
          ...(max !== undefined && { max }),
          ...(ttl !== undefined && { expiry: { after: ttl, ifNone: true } }),
        };
        io.stdout.write(`${await changing(step(client, counter, n, conditions))}\n`);
      }),
    );
}

export function setCommand(io: CliIo): Command {
  return clientCommand('set', io)
    .description('set a counter to a value and print the value before; for corrections, so it asks for a reason')
    .argument('<name>', 'the counter')
    .argument('<value>', 'a signed 64-bit integer', parseInteger)
    .requiredOption('--reason <text>', 'why; 1 to 256 bytes, kept in the audit log')
    .option('--expect <value>', 'set it only if it has this value now (an absent counter has 0)', parseInteger)
    .addHelpText(
      'after',
      `
Examples:
  tallystick set stock:42 100 --reason 'stocktaking'
  tallystick set stock:42 100 --expect 97 --reason 'stocktaking'      fails with EXPECTATION_FAILED if it is not 97`,
    )
    .action((name: string, value: bigint, options: ConnectionOptions & { reason: string; expect?: bigint }) =>
      withClient(io, options, async (client) => {
        const { reason, expect } = options;
        const expected = expect === undefined ? {} : { expect };
        const { previous } = await changing(client.set(name, value, { reason, ...expected }));
        io.stdout.write(`${previous}\n`);
      }),
    );
}

export function deleteCommand(io: CliIo): Command {
  return clientCommand('delete', io)
    .description('delete a counter and print the value that it had, or `absent`; it asks for a reason')
    .argument('<name>', 'the counter')
    .requiredOption('--reason <text>', 'why; 1 to 256 bytes, kept in the audit log')
    .option('--expect <value>', 'delete it only if it has this value now (an absent counter has 0)', parseInteger)
    .addHelpText(
      'after',
      `
What is added to the name later makes a new counter, which begins at 0.

Examples:
  tallystick delete likes:post:7 --reason 'the post is gone'
  tallystick delete cart:9 --expect 0 --reason 'empty'`,
    )
    .action((name: string, options: ConnectionOptions & { reason: string; expect?: bigint }) =>
      withClient(io, options, async (client) => {
        const { reason, expect } = options;
        const expected = expect === undefined ? {} : { expect };
        const { previous, existed } = await changing(client.delete(name, { reason, ...expected }));
        io.stdout.write(`${existed ? previous : 'absent'}\n`);
      }),
    );
}

export function getCommand(io: CliIo): Command {
  return clientCommand('get', io)
    .description('print the values of counters; an absent one has 0')
    .argument('<name...>', 'the counters, or - for names from stdin, one a line')
    .option('--json', 'one object, with decimal strings for values')
    .option('--latest', 'what is applied in memory, at once; without it, what no crash takes back')
    .addHelpText(
      'after',
      `
One name prints its bare value; several print a table, in which control characters of names are escaped.

Examples:
  tallystick get visits
  tallystick get views:/ views:/about --json      {"views:/":"1500","views:/about":"0"}
  cut -d' ' -f1 pages.txt | tallystick get - --json`,
    )
    .action((names: string[], options: ConnectionOptions & { json?: boolean; latest?: boolean }) =>
      withClient(
        io,
        options,
        async (client) => {
          const wanted = names.length === 1 && names[0] === '-' ? await linesFrom(io.stdin) : names;
          const values = await readAll(client, wanted, options.latest ? 'latest' : 'durable');
          if (options.json) io.stdout.write(`${json(values)}\n`);
          else if (names.length === 1 && names[0] !== '-') io.stdout.write(`${values[0]?.[1]}\n`);
          else io.stdout.write(table(values.map(([name, value]) => [escaped(name), value])));
        },
        READ_ONLY,
      ),
    );
}

/** Each name once, in the order of their first appearance. */
async function readAll(
  client: CliClient,
  names: readonly string[],
  read: 'durable' | 'latest',
): Promise<[string, string][]> {
  const distinct = [...new Set(names)];
  const values: [string, string][] = [];
  for (let at = 0; at < distinct.length; at += NAMES_PER_READ) {
    const readings = await client.read(distinct.slice(at, at + NAMES_PER_READ), { read });
    for (const { name, value } of readings) values.push([name, String(value)]);
  }
  return values;
}

/** Not by JSON.stringify of an object, which would give some names (`__proto__`, numbers) a place of their own. */
function json(values: readonly (readonly [string, string])[]): string {
  return `{${values.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`;
}
