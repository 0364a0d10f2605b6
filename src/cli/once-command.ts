import type { Command } from 'commander';
import { type ConnectionOptions, changing, clientCommand, parseInteger, withClient } from './client.js';
import { type CliIo, linesFrom } from './io.js';
import { isStdin } from './uniques.js';

/** Calls of the SDK that wait at a time; it makes batches of them. */
const ITEMS_AT_A_TIME = 10_000;

interface OnceOptions extends ConnectionOptions {
  readonly by?: bigint;
  readonly within?: string;
  readonly json?: boolean;
}

/** `tallystick once`. */
export function onceCommand(io: CliIo): Command {
  return clientCommand('once', io)
    .description('add to a counter once for each item, and print how many of them counted')
    .argument('<name>', 'the counter, whose class says for how long an item counts once')
    .argument('<item...>', 'who or what it is for, 1 to 1,024 bytes each, or - for items from stdin, one a line')
    .option('--by <n>', 'what each adds; 1 unless given', parseInteger)
    .option('--within <duration>', 'for how long, such as 24h: refused where the class says otherwise')
    .option('--json', 'an object: how many counted, and the value of the counter then')
    .addHelpText(
      'after',
      `
An item that counted already changes nothing, so a command that failed can be run again.

Examples:
  tallystick once views:/ 203.0.113.9 --within 24h    1 where it counted, else 0
  cut -d' ' -f1 access.log | tallystick once views:/ -`,
    )
    .action((name: string, given: string[], { by, within, json, ...options }: OnceOptions) =>
      withClient(io, options, async (client) => {
        const items = isStdin(given) ? await linesFrom(io.stdin) : given;
        const conditions = { ...(by !== undefined && { delta: by }), ...(within !== undefined && { within }) };
        let counted = 0;
        let value: bigint | undefined;
        for (let at = 0; at < items.length; at += ITEMS_AT_A_TIME) {
          const calls = items
            .slice(at, at + ITEMS_AT_A_TIME)
            .map((item) => client.incrementOnce(name, item, conditions));
          const told = await changing(Promise.all(calls));
          counted += told.filter((one) => one.counted).length;
          value = told.at(-1)?.value;
        }
        const whole = JSON.stringify({ name, counted, value: value === undefined ? null : String(value) });
        io.stdout.write(json ? `${whole}\n` : `${counted}\n`);
      }),
    );
}
