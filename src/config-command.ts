import { Command } from 'commander';
import {
  CONFIG_KEYS,
  type Config,
  type ConfigInput,
  type ConfigKey,
  defaultShape,
  environmentName,
  resolveConfig,
  SETTINGS,
  type Source,
} from './config.js';
import { DataDirectory } from './directory.js';
import { configOptions } from './serve.js';

/** `tallystick config print`: the configuration that `tallystick serve` would have, and where each value comes from. */

interface Entry {
  readonly key: ConfigKey;
  readonly value: Config[ConfigKey];
  readonly unit: string;
  /** `directory`: fixed when the data directory was made. */
  readonly source: Source | 'directory';
}

const HELP = `
It takes the options of 'tallystick serve' and checks them as that does, also against a data directory that is there.
Sources, the first one that has a key wins: flag, environment (TALLYSTICK_DATA_DIR for dataDir), file (--config), directory
(what was fixed when the data directory was made), default.

Examples:
  tallystick config print
  tallystick config print --config /etc/tallystick.json --json`;

export function configCommand(environment: NodeJS.ProcessEnv, stdout: { write(text: string): unknown }): Command {
  const print = new Command('print').description('print each key with its value, its unit and its source');
  for (const option of configOptions()) print.addOption(option);
  print
    .option('--json', 'one JSON object')
    .addHelpText('after', HELP)
    .action(({ config: file, json, ...flags }: ConfigInput & { config?: string; json?: boolean }) => {
      const entries = effective(flags, environment, file);
      stdout.write(json ? asJson(entries) : asTable(entries));
    });
  return new Command('config').description('show the configuration of a server').addCommand(print);
}

/** @throws TallystickError CONFIG_INVALID, DIRECTORY_INVALID */
function effective(flags: ConfigInput, environment: NodeJS.ProcessEnv, file: string | undefined): Entry[] {
  const { config, sources } = resolveConfig(flags, environment, file);
  const { made, ...shape } = DataDirectory.shapeOf(config.dataDir, config, defaultShape());
  const values = { ...config, ...shape };
  return CONFIG_KEYS.map((key) => {
    const fixed = made && key in shape && sources[key] === 'default';
    return { key, value: values[key], unit: SETTINGS[key].unit, source: fixed ? 'directory' : sources[key] };
  });
}

function asJson(entries: readonly Entry[]): string {
  const values = entries.map(({ key, value, unit, source }) => [key, { value, unit: unit || null, source }]);
  return `${JSON.stringify(Object.fromEntries(values))}\n`;
}

function asTable(entries: readonly Entry[]): string {
  const rows = entries.map(({ key, value, unit, source }) => [
    key,
    // JSON's escapes keep a path from steering the terminal.
    JSON.stringify(typeof value === 'object' ? JSON.stringify(value) : String(value)).slice(1, -1),
    unit,
    source === 'environment' ? `environment ${environmentName(key)}` : source,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return `${lines.join('\n')}\n`;
}
