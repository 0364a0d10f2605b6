import type { Command } from 'commander';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, escaped, table } from './io.js';

export function statsCommand(io: CliIo): Command {
  return clientCommand('stats', io)
    .description('print what the server says about itself')
    .option('--json', 'as the server gives it, as one JSON object')
    .action((options: ConnectionOptions & { json?: boolean }) =>
      withClient(
        io,
        options,
        async (client) => {
          const stats = await client.stats();
          io.stdout.write(options.json ? `${JSON.stringify(stats, integersAsText)}\n` : table(flattened(stats, '')));
        },
        READ_ONLY,
      ),
    );
}

const integersAsText = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);

/** Buckets are for machines; people have the percentiles beside them. */
const BUCKETS = 'upTo';

/** Nested keys joined by dots: `lanes.0.flushes`. */
function flattened(value: unknown, path: string): [string, string][] {
  if (typeof value !== 'object' || value === null) return [[escaped(path), escaped(String(value))]];
  return Object.entries(value)
    .filter(([key]) => key !== BUCKETS)
    .flatMap(([key, inner]) => flattened(inner, path === '' ? key : `${path}.${key}`));
}
