import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { z } from 'zod';
import { TallystickError } from './errors.js';
import { LANE } from './protocol/opcode.js';

/**
 * The configuration: flags over environment (TALLYSTICK_DATA_DIR …) over file (--config, JSON) over defaults. Every number
 * states its unit in its name or here.
 */

const MiB = 1_048_576;
const MAXIMUM_LANES = 64;
/** What the kernels' fixed areas take in any partition, however empty. */
const SMALLEST_PARTITION_BYTES = 8 * MiB;

const port = z.coerce.number().int().min(0).max(65_535);
const count = (max: number) => z.coerce.number().int().min(1).max(max);

const schema = z.strictObject({
  /** Where everything is kept; made if absent. */
  dataDir: z.string().min(1).default('tallystick-data'),
  /** The address to listen on. Anything but loopback needs `allowOpen` as long as there are no tokens and no TLS. */
  listen: z.string().min(1).default('127.0.0.1'),
  allowOpen: z.coerce.boolean().default(false),
  /** The port of the first lane; lane n listens on port + n. 0 = any free ones. */
  port: port.default(7070),
  /** Threads. Fixed when the directory is made. */
  lanes: count(MAXIMUM_LANES).optional(),
  /** Slices of the names. Fixed when the directory is made. */
  partitions: count(LANE - 1).optional(),
  /** Bytes that all partitions together may take. */
  memory: z.coerce
    .number()
    .int()
    .positive()
    .default(() => Math.floor(totalmem() / 2)),
  /** Connections of a lane. */
  connections: count(1_000_000).default(10_000),
  /** Producers of a partition. */
  producers: count(1_000_000).default(65_536),
  /** Operation ids of a partition that are remembered at a time. */
  operationIds: count(4_000_000).default(262_144),
  operationIdSeconds: count(86_400).default(600),
  producerIdleSeconds: count(31_536_000).default(86_400),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

export type Config = z.infer<typeof schema>;
export type ConfigInput = Partial<Record<keyof Config, unknown>>;

export const DEFAULT_PARTITIONS = 16;
export const defaultLanes = (): number => Math.min(MAXIMUM_LANES, availableParallelism());

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** The name of the environment variable of a key: TALLYSTICK_DATA_DIR for dataDir. */
export function environmentName(key: string): string {
  return `TALLYSTICK_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/**
 * Merges and checks the sources. Undefined values do not count.
 *
 * @throws TallystickError CONFIG_INVALID naming each key that is wrong and why
 */
export function loadConfig(flags: ConfigInput, environment: NodeJS.ProcessEnv = {}, file?: string): Config {
  const fromEnvironment: Record<string, unknown> = {};
  for (const key of Object.keys(schema.shape)) {
    const value = environment[environmentName(key)];
    if (value !== undefined) fromEnvironment[key] = value;
  }
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
  const parsed = schema.safeParse({
    ...(file === undefined ? {} : readConfigFile(file)),
    ...fromEnvironment,
    ...given,
  });
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'configuration'}: ${message}`);
    throw new TallystickError('CONFIG_INVALID', `${issues.join('; ')}.`);
  }
  check(parsed.data);
  return parsed.data;
}

function check(config: Config): void {
  const partitions = config.partitions ?? DEFAULT_PARTITIONS;
  if ((config.lanes ?? 1) > partitions) {
    throw new TallystickError('CONFIG_INVALID', `lanes: ${config.lanes} lanes cannot share ${partitions} partitions.`);
  }
  if (config.memory < partitions * SMALLEST_PARTITION_BYTES) {
    throw new TallystickError(
      'CONFIG_INVALID',
      `memory: ${partitions} partitions need at least ${partitions * SMALLEST_PARTITION_BYTES} bytes.`,
    );
  }
  if (!LOOPBACK.test(config.listen) && !config.allowOpen) {
    throw new TallystickError(
      'CONFIG_INVALID',
      `listen: ${config.listen} is not loopback, and there are no tokens and no TLS yet. --allow-open serves anyone who can reach it.`,
    );
  }
}

function readConfigFile(path: string): Record<string, unknown> {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new TallystickError('CONFIG_INVALID', `The file ${path} cannot be read as a JSON object.`, { cause });
  }
}
