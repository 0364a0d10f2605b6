import { type Command, Option } from 'commander';
import { type ConnectionOptions, changing, clientCommand, withClient } from './client.js';
import { type CliIo, iso } from './io.js';
import type { ToldExpiry } from './sdk.js';

interface ExpireOptions extends ConnectionOptions {
  readonly after?: string;
  readonly at?: string;
  readonly never?: boolean;
  readonly ifNone?: boolean;
  readonly json?: boolean;
}

/** `tallystick expire`. */
export function expireCommand(io: CliIo): Command {
  return clientCommand('expire', io)
    .description('say when a counter ends by itself, or print when it does')
    .argument('<name>', 'the counter')
    .addOption(new Option('--after <duration>', 'so long from now: 90s, 15m, 6h, 1d').conflicts(['at', 'never']))
    .addOption(new Option('--at <time>', 'at this time: 2026-12-31T23:00:00Z').conflicts('never'))
    .option('--never', 'not by itself')
    .addOption(new Option('--if-none', 'only if it has no such time yet').conflicts('never'))
    .option('--json', 'one object')
    .addHelpText(
      'after',
      `
At its end a counter is gone as if it were deleted: what is added later begins at 0 again. Without --after, --at or --never it is only
asked. Prints the time, \`never\`, or \`absent\` where there is no such counter.

Examples:
  tallystick expire code:4711 --after 15m
  tallystick expire code:4711                       2026-11-29T12:15:00.000Z
  tallystick expire code:4711 --never`,
    )
    .action((name: string, { after, at, never, ifNone, json, ...options }: ExpireOptions) =>
      withClient(io, options, async (client) => {
        const rule = ifNone ? { ifNone } : {};
        const wanted = never ? 'never' : after ? { after, ...rule } : at ? { at, ...rule } : undefined;
        const told = wanted ? await changing(client.expire(name, wanted)) : await client.expiry(name);
        io.stdout.write(`${json ? asJson(name, told) : asText(told)}\n`);
      }),
    );
}

function asText({ existed, expires }: ToldExpiry): string {
  if (!existed) return 'absent';
  return expires === undefined ? 'never' : iso(expires);
}

function asJson(name: string, { existed, expires }: ToldExpiry): string {
  return JSON.stringify({ name, existed, expires: expires === undefined ? null : iso(expires) });
}
