import type { Command } from 'commander';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import type { CliIo } from './io.js';

/** For health checks: it reads what every lane says of itself, and so hears from each of their threads. */
export function pingCommand(io: CliIo): Command {
  return clientCommand('ping', io, 5)
    .description('hear from every lane, and print how long that took; exits with 1 where one does not answer')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
It writes nothing, so it also succeeds while a full disk refuses writes.

Example:
  tallystick ping --server tallystick://10.0.0.7:7070 --timeout 2`,
    )
    .action((options: ConnectionOptions & { json?: boolean }) =>
      withClient(
        io,
        options,
        async (client) => {
          const began = io.clock.monotonicMilliseconds();
          await client.stats();
          const milliseconds = (io.clock.monotonicMilliseconds() - began).toFixed(1);
          io.stdout.write(options.json ? `{"milliseconds":${milliseconds}}\n` : `${milliseconds} ms\n`);
        },
        READ_ONLY,
      ),
    );
}
