import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { z } from 'zod';
import { TallystickError } from './errors.js';
import { classSettings } from './partition/class-settings.js';
import { DEFAULT_LIMITS, LANE } from './protocol/opcode.js';

/**
 * The configuration: flags over environment (TALLYSTICK_DATA_DIR …) over file (--config, JSON) over defaults. SETTINGS is
 * the one table: the schema, the options and help of `serve`, `config print` and the table in README.md come from it.
 */

const MiB = 1_048_576;
const MAXIMUM_LANES = 64;
const MOST_EXPORTED = 100;
const DEFAULT_PARTITIONS = 16;
/** What the kernels' fixed areas take in any partition, however empty. */
const SMALLEST_PARTITION_BYTES = 12 * MiB;

export interface Setting {
  readonly schema: z.ZodType;
  /** What a number counts; empty where the value says it by itself. */
  readonly unit: string;
  /** The argument of its option of `serve`; empty for a switch, absent where it has no option. */
  readonly flag?: string;
  /** For people, where the schema's default is none or is found out at start. */
  readonly defaultText?: string;
  readonly about: string;
}

/** A decimal number as a number or as text, in which environment and flags come. Nothing else counts as one. */
const whole = (min: number, max: number) =>
  z.preprocess(
    (value) => (typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value),
    z.number().int().min(min).max(max),
  );
const SWITCH: ReadonlyMap<unknown, boolean> = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false],
]);
const onOrOff = z.preprocess((value) => SWITCH.get(value) ?? value, z.boolean());

/** A list, or with commas between its items, as environment and flags have it. */
const listOf = (item: z.ZodType<string>) =>
  z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((text) => text.trim()) : value),
    z.array(item),
  );
/** Origins as browsers write them. */
const webOrigins = listOf(z.string().refine(isOrigin, 'no origin like https://app.example, without a path'));
/** Names of counters: each a series for whoever scrapes, so few. */
const exportedNames = listOf(z.string().refine(isCounterName, 'no name of a counter')).pipe(
  z
    .array(z.string())
    .max(MOST_EXPORTED, `no more than ${MOST_EXPORTED} names`)
    .refine((names) => new Set(names).size === names.length, 'a name is there twice'),
);
const hostNames = listOf(z.string().regex(/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/, 'no name in small letters, without a port'));

export const SETTINGS = {
  dataDir: {
    schema: z.string().min(1).default('tallystick-data'),
    unit: '',
    flag: '<dir>',
    about: 'where everything is kept; made if absent',
  },
  port: {
    schema: whole(0, 65_535).default(7070),
    unit: '',
    flag: '<port>',
    about: 'of the first lane; lane n listens on port + n; 0 = any free ones',
  },
  wsPort: {
    schema: whole(0, 65_535).optional(),
    unit: '',
    flag: '<port>',
    defaultText: 'off',
    about: 'of the first lane for WebSocket; lane n listens on port + n; 0 = any free ones',
  },
  wsOrigins: {
    schema: webOrigins.default([]),
    unit: '',
    defaultText: '[]',
    about:
      "origins of the pages that may connect by WebSocket, as `https://app.example`; besides them those of the server's own IP address or localhost",
  },
  httpPort: {
    schema: whole(0, 65_535).optional(),
    unit: '',
    flag: '<port>',
    defaultText: 'off',
    about: 'for HTTP and JSON; 0 = any free one',
  },
  httpHosts: {
    schema: hostNames.default([]),
    unit: '',
    defaultText: '[]',
    about: 'names by which HTTP may be asked for, as `counters.example`; besides them IP addresses and localhost',
  },
  metricsNames: {
    schema: exportedNames.default([]),
    unit: '',
    flag: '<names>',
    defaultText: '[]',
    about: `counters whose names and values \`/metrics\` tells, at most ${MOST_EXPORTED}; no other name is ever in it`,
  },
  lanes: {
    schema: whole(1, MAXIMUM_LANES).optional(),
    unit: 'threads',
    flag: '<n>',
    defaultText: 'one a core',
    about: 'fixed when the directory is made; repartition makes another one',
  },
  partitions: {
    schema: whole(1, LANE - 1).optional(),
    unit: 'slices of the names',
    flag: '<n>',
    defaultText: String(DEFAULT_PARTITIONS),
    about: 'fixed when the directory is made; repartition makes another one',
  },
  memory: {
    schema: whole(1, Number.MAX_SAFE_INTEGER).default(() => Math.floor(availableBytes() / 2)),
    unit: 'bytes',
    flag: '<bytes>',
    defaultText: "half of the machine's or container's",
    about: 'that all counters may take',
  },
  windowMemory: {
    schema: whole(0, Number.MAX_SAFE_INTEGER).default(1_024 * MiB),
    unit: 'bytes',
    about: 'of the memory that windows may take; counters beyond them have a total and no window',
  },
  classes: {
    schema: classSettings.default([]),
    unit: '',
    defaultText: '[]',
    about: 'what is kept of which counters besides totals: rules by pattern, of which the first that matches counts',
  },
  historyMinuteHours: {
    schema: whole(1, 8_760).default(48),
    unit: 'hours',
    about: 'for which a history keeps minutes; then it keeps hours',
  },
  historyHourDays: {
    schema: whole(1, 36_500).default(30),
    unit: 'days',
    about: 'for which a history keeps hours; then it keeps days',
  },
  historyDayDays: {
    schema: whole(1, 36_500).optional(),
    unit: 'days',
    defaultText: 'for ever',
    about:
      'for which a history keeps days; then a counter has no history of them, and what is asked of them is `NOT_TRACKED`',
  },
  listen: {
    schema: z.string().min(1).default('127.0.0.1'),
    unit: '',
    flag: '<address>',
    about: 'to listen on; anything but loopback needs --allow-open',
  },
  allowOpen: {
    schema: onOrOff.default(false),
    unit: '',
    flag: '',
    about: 'serve anyone who can reach the address, as there are no tokens and no TLS yet',
  },
  logLevel: {
    schema: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
    unit: '',
    flag: '<level>',
    about: 'debug, info, warn or error',
  },
  connections: {
    schema: whole(1, 1_000_000).default(10_000),
    unit: 'connections',
    about: 'of each port',
  },
  log: {
    schema: z.enum(['lmdb', 'files']).default('lmdb'),
    unit: '',
    flag: '<kind>',
    about:
      'what new segments of the log are kept in: lmdb, or plain files, which are flushed once a group instead of twice',
  },
  checkpointTailBytes: {
    schema: whole(65_536, Number.MAX_SAFE_INTEGER).default(256 * MiB),
    unit: 'bytes',
    about: "of a lane's log that a start may have to replay; beyond them writes wait for a checkpoint",
  },
  hotPerSecond: {
    schema: whole(0, Number.MAX_SAFE_INTEGER).default(10_000),
    unit: 'operations/s',
    about: 'on one counter of which the server warns; 0 = never',
  },
  quotaPerSecond: {
    schema: whole(0, Number.MAX_SAFE_INTEGER).default(0),
    unit: 'operations/s',
    about: 'that clients may write, all together until there are tokens; 0 = any',
  },
  producers: {
    schema: whole(1, 1_000_000).default(65_536),
    unit: 'producers',
    about: 'of a partition',
  },
  producerIdleSeconds: {
    schema: whole(1, 31_536_000).default(86_400),
    unit: 'seconds',
    about: 'after which an idle anonymous producer is forgotten',
  },
  operationIds: {
    schema: whole(1, 4_000_000).default(262_144),
    unit: 'operation ids',
    about: 'that a partition remembers at a time',
  },
  operationIdSeconds: {
    schema: whole(1, 86_400).default(600),
    unit: 'seconds',
    about: 'for which it remembers them',
  },
  logSegmentBytes: {
    schema: whole(4_096, 1_024 * MiB).default(64 * MiB),
    unit: 'bytes',
    about: 'of records, after which a lane begins a new file of its log',
  },
  logRetentionSeconds: {
    schema: whole(0, 3_153_600_000).default(604_800),
    unit: 'seconds',
    about: 'for which the log is kept that recovery does not need, with its part of the audit log',
  },
  logRetentionBytes: {
    schema: whole(0, Number.MAX_SAFE_INTEGER).default(10_240 * MiB),
    unit: 'bytes',
    about: 'of log, of all lanes together, beyond which it is dropped earlier',
  },
} as const satisfies Record<string, Setting>;

type Settings = typeof SETTINGS;
export type ConfigKey = keyof Settings;
export const CONFIG_KEYS = Object.keys(SETTINGS) as readonly ConfigKey[];

const schema = z.strictObject(
  Object.fromEntries(Object.entries(SETTINGS).map(([key, { schema }]) => [key, schema])) as {
    [K in ConfigKey]: Settings[K]['schema'];
  },
);

export type Config = z.infer<typeof schema>;
export type ConfigInput = Partial<Record<ConfigKey, unknown>>;

/** Where a value came from. */
export type Source = 'flag' | 'environment' | 'file' | 'default';

/** Lanes and partitions of a new directory where nothing was asked for: no more lanes than partitions, then. */
export const defaultShape = () => ({
  lanes: Math.min(MAXIMUM_LANES, availableParallelism()),
  partitions: DEFAULT_PARTITIONS,
});

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** The name of the environment variable of a key: TALLYSTICK_DATA_DIR for dataDir. */
export function environmentName(key: ConfigKey): string {
  return `TALLYSTICK_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** The option of a key, as commander takes it: `--data-dir <dir>`; undefined where it has none. */
export function optionOf(key: ConfigKey): string | undefined {
  const { flag }: Setting = SETTINGS[key];
  if (flag === undefined) return undefined;
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} ${flag}`.trimEnd();
}

/** The default of a key, for people. */
export function defaultText(key: ConfigKey): string {
  const { defaultText, schema }: Setting = SETTINGS[key];
  if (defaultText !== undefined) return defaultText;
  const value = schema.parse(undefined);
  return typeof value === 'number' && value > 9_999 ? value.toLocaleString('en-US') : String(value);
}

/**
 * Merges and checks the sources. Undefined values do not count, nor do empty ones of the environment.
 *
 * @throws TallystickError CONFIG_INVALID naming each key that is wrong and why
 */
export function loadConfig(flags: ConfigInput, environment: NodeJS.ProcessEnv = {}, file?: string): Config {
  return resolveConfig(flags, environment, file).config;
}

/** The same, and where the value of each key came from. */
export function resolveConfig(
  flags: ConfigInput,
  environment: NodeJS.ProcessEnv,
  file?: string,
): { readonly config: Config; readonly sources: Readonly<Record<ConfigKey, Source>> } {
  const given = {
    file: file === undefined ? {} : readConfigFile(file),
    environment: fromEnvironment(environment),
    flag: Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)),
  };
  const parsed = schema.safeParse({ ...given.file, ...given.environment, ...given.flag });
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'configuration'}: ${message}`);
    throw new TallystickError('CONFIG_INVALID', `${issues.join('; ')}.`);
  }
  check(parsed.data);
  const order = ['flag', 'environment', 'file'] as const;
  const sourceOf = (key: ConfigKey): Source => order.find((source) => Object.hasOwn(given[source], key)) ?? 'default';
  const sources = Object.fromEntries(CONFIG_KEYS.map((key) => [key, sourceOf(key)])) as Record<ConfigKey, Source>;
  return { config: parsed.data, sources };
}

function isCounterName(name: string): boolean {
  const isText = !/\p{Surrogate}/u.test(name); // half of a pair has no UTF-8
  return isText && name.length > 0 && Buffer.byteLength(name) <= DEFAULT_LIMITS.name;
}

/** Whether a browser could say that a page is from there. An origin in another form than a browser's would never match. */
function isOrigin(text: string): boolean {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/.test(text) || !URL.canParse(text)) return false;
  return !/^https?:/.test(text) || new URL(text).origin === text;
}

function fromEnvironment(environment: NodeJS.ProcessEnv): Record<string, unknown> {
  const named = CONFIG_KEYS.map((key) => [key, environment[environmentName(key)]] as const);
  return Object.fromEntries(named.filter(([, value]) => value !== undefined && value !== ''));
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

/** Of the machine, or what a container (cgroup) may take of it. */
function availableBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(totalmem(), constrained) : totalmem();
}

function readConfigFile(path: string): Record<string, unknown> {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new TallystickError('CONFIG_INVALID', `The file ${path} cannot be read as a JSON object.`, { cause });
  }
}
