import { type Command, InvalidArgumentError } from 'commander';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, escaped, table } from './io.js';

const MOST = 100;

interface HotCounter {
  readonly name: string;
  readonly perSecond: number;
}

/** `tallystick hot`. */
export function hotCommand(io: CliIo): Command {
  return clientCommand('hot', io)
    .description('print the counters that take the most operations a second')
    .option('--top <n>', 'so many, at most 100', parseTop, 10)
    .option('--json', 'an array of objects, hottest first')
    .addHelpText(
      'after',
      `
Each lane looks at one operation of 64 and keeps the last ten to twenty seconds of them. A counter with more than 1/256 of its lane's
operations is found; its rate is at most that share too small, and swings by chance where it is small.`,
    )
    .action(({ top, json, ...options }: ConnectionOptions & { top: number; json?: boolean }) =>
      withClient(
        io,
        options,
        async (client) => {
          const lanes = (await client.stats({ hot: top })) as readonly { readonly hot: readonly HotCounter[] }[];
          const hot = lanes.flatMap((lane) => lane.hot);
          const hottest = [...hot].sort((a, b) => b.perSecond - a.perSecond).slice(0, top);
          const rows = hottest.map(
            ({ name, perSecond }) => [escaped(name), `${perSecond.toLocaleString('en-US')}/s`] as const,
          );
          io.stdout.write(json ? `${JSON.stringify(hottest)}\n` : table(rows));
        },
        READ_ONLY,
      ),
    );
}

function parseTop(text: string): number {
  const count = Number(text);
  if (!/^[0-9]+$/.test(text) || count < 1 || count > MOST)
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${MOST}.`);
  return count;
}
