import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { runCli } from '../src/cli/cli.js';
import {
  CONFIG_KEYS,
  defaultText,
  environmentName,
  loadConfig,
  optionOf,
  resolveConfig,
  SETTINGS,
} from '../src/config.js';
import { configCommand } from '../src/config-command.js';
import { DataDirectory } from '../src/directory.js';
import { TallystickError } from '../src/errors.js';
import { serveCommand } from '../src/serve.js';
import { directoryOfTest } from './integration/server-process.js';
import { ManualClock } from './support/manual-clock.js';

function fileWith(content: unknown): string {
  const path = join(directoryOfTest(), 'tallystick.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

/** Why a configuration is refused. */
function refusal(...sources: Parameters<typeof loadConfig>): string {
  try {
    loadConfig(...sources);
  } catch (error) {
    if (error instanceof TallystickError && error.code === 'CONFIG_INVALID') return error.detail;
    throw error;
  }
  throw new Error('It was taken.');
}

describe('a key', () => {
  it('comes from the flag, else the environment, else the file, else the default; and it is told which', () => {
    const file = fileWith({ port: 3, connections: 3, producers: 3, operationIds: 3 });
    const environment = { TALLYSTICK_PORT: '2', TALLYSTICK_CONNECTIONS: '2', TALLYSTICK_OPERATION_IDS: '2' };
    const { config, sources } = resolveConfig({ port: '1', operationIds: 1, lanes: undefined }, environment, file);
    expect(config).toMatchObject({ port: 1, operationIds: 1, connections: 2, producers: 3, operationIdSeconds: 600 });
    expect(sources).toMatchObject({
      port: 'flag',
      operationIds: 'flag',
      connections: 'environment',
      producers: 'file',
      operationIdSeconds: 'default',
      lanes: 'default',
    });
  });

  it('that is unknown is refused in a file', () => {
    expect(refusal({}, {}, fileWith({ ports: 1 }))).toContain('"ports"');
  });

  it('is not given by an empty variable, as compose files leave them', () => {
    const { config, sources } = resolveConfig({}, { TALLYSTICK_PORT: '', TALLYSTICK_DATA_DIR: '' });
    expect([config.port, config.dataDir, sources.port]).toEqual([7070, 'tallystick-data', 'default']);
  });

  it.each([['x'], ['-1'], ['1e3'], ['0x10'], ['1.5'], [' 1'], ['65536'], [''], [true], [null], [[7]], [{}]])(
    'of a number is refused as %j, by its name',
    (port) => {
      expect(refusal({ port })).toMatch(/^port: /);
      expect(refusal({}, {}, fileWith({ port }))).toMatch(/^port: /);
    },
  );

  it.each([
    ['true', true],
    ['1', true],
    [true, true],
    ['false', false],
    ['0', false],
  ])('that is a switch is %j as %j', (allowOpen, value) => {
    expect(loadConfig({ allowOpen }).allowOpen).toBe(value);
  });

  it('that is a switch is refused as anything else', () => {
    for (const allowOpen of ['yes', 'FALSE', '2', 1, null]) expect(refusal({ allowOpen })).toMatch(/^allowOpen: /);
    expect(refusal({ listen: '0.0.0.0' }, { TALLYSTICK_ALLOW_OPEN: 'false' })).toContain('is not loopback');
  });

  it('is named where several are wrong', () => {
    expect(refusal({ port: 'x', lanes: 0 }, { TALLYSTICK_LOG_LEVEL: 'loud' })).toMatch(/port: .*lanes: .*logLevel: /);
  });
});

describe('a file', () => {
  it.each([['no JSON'], ['[1]'], ['7'], ['null']])('of %j is refused by its name', (content) => {
    const file = fileWith(content);
    expect(refusal({}, {}, file)).toBe(`The file ${file} cannot be read as a JSON object.`);
  });

  it('that is missing is refused by its name', () => {
    expect(refusal({}, {}, '/none.json')).toContain('/none.json');
  });
});

const asText = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));

describe('the one table', () => {
  it('is the one of README.md', () => {
    const rows = CONFIG_KEYS.map((key) => {
      const option = optionOf(key)?.split(' ')[0];
      const about = SETTINGS[key].about.replace(/--[a-z-]+/g, '`$&`');
      const names = [option ? `\`${option}\`` : '', `\`${environmentName(key)}\``, `\`${key}\``];
      return `| ${[...names, defaultText(key), SETTINGS[key].unit, about].join(' | ')} |`.replaceAll('|  |', '| |');
    });
    const table = ['| flag | environment | file | default | unit | |', '|---|---|---|---|---|---|', ...rows].join('\n');
    const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
    const found = readme.slice(readme.indexOf('| flag | environment |')).split('\n\n')[0];
    expect(found).toBe(table);
  });

  it('is the help of serve', () => {
    const help = serveCommand({}).helpInformation().replace(/\s+/g, ' ');
    for (const key of CONFIG_KEYS.filter((key) => optionOf(key) !== undefined)) {
      const about = `${SETTINGS[key].unit} ${SETTINGS[key].about}`.trimStart();
      expect(help).toContain(`${optionOf(key)} ${about} (default: ${defaultText(key)})`);
    }
    expect(help).toContain('--config <file>');
  });

  it('gives defaults that it says', () => {
    const { memory: _, ...defaults } = loadConfig({});
    const texts = Object.entries(defaults).map(([key, value]) => [key, asText(value)]);
    for (const [key, text] of texts) expect(defaultText(key as 'port').replaceAll(',', '')).toBe(text);
  });
});

async function print(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const io = { stdin: Readable.from([]), stdout, stderr, env: environment, clock: new ManualClock(), version: '1.2.3' };
  const connect = () => Promise.reject(new Error('It needs no server.'));
  const local = new Map([['config', async () => configCommand(environment, stdout)]]);
  const status = await runCli(['config', 'print', ...args], { ...io, connect }, local);
  return { status, out: String(stdout.read() ?? ''), err: String(stderr.read() ?? '') };
}

describe('config print', () => {
  it('prints every key with its value, its unit and its source', async () => {
    const file = fileWith({ producerIdleSeconds: 60 });
    const args = ['--config', file, '--port', '1', '--data-dir', '/none/\u001b[31m', '--memory', '268435456'];
    const { status, out } = await print(args, { TALLYSTICK_LANES: '2' });
    expect(status).toBe(0);
    const lines = out.split('\n').map((line) => line.replace(/ {2,}/g, ' | '));
    expect(lines).toEqual([
      'dataDir | /none/\\u001b[31m | flag',
      'port | 1 | flag',
      'wsPort | undefined | default',
      'wsOrigins | [] | default',
      'httpPort | undefined | default',
      'httpHosts | [] | default',
      'metricsNames | [] | default',
      'lanes | 2 | threads | environment TALLYSTICK_LANES',
      'partitions | 16 | slices of the names | default',
      'memory | 268435456 | bytes | flag',
      'windowMemory | 1073741824 | bytes | default',
      'classes | [] | default',
      'historyMinuteHours | 48 | hours | default',
      'historyHourDays | 30 | days | default',
      'historyDayDays | undefined | days | default',
      'listen | 127.0.0.1 | default',
      'allowOpen | false | default',
      'logLevel | info | default',
      'connections | 10000 | connections | default',
      'log | lmdb | default',
      'checkpointTailBytes | 268435456 | bytes | default',
      'hotPerSecond | 10000 | operations/s | default',
      'quotaPerSecond | 0 | operations/s | default',
      'producers | 65536 | producers | default',
      'producerIdleSeconds | 60 | seconds | file',
      'operationIds | 262144 | operation ids | default',
      'operationIdSeconds | 600 | seconds | default',
      'logSegmentBytes | 67108864 | bytes | default',
      'logRetentionSeconds | 604800 | seconds | default',
      'logRetentionBytes | 10737418240 | bytes | default',
      '',
    ]);
  });

  it('prints JSON for machines', async () => {
    const { out } = await print(['--json', '--data-dir', '/none'], { TALLYSTICK_PORT: '7' });
    const printed = JSON.parse(out) as Record<string, unknown>;
    expect(Object.keys(printed)).toEqual(CONFIG_KEYS);
    expect(printed.port).toEqual({ value: 7, unit: null, source: 'environment' });
    expect(printed.memory).toEqual({ value: loadConfig({}).memory, unit: 'bytes', source: 'default' });
  });

  it('shows what a data directory that is there was made with, and refuses another wish as serve does', async () => {
    const dataDir = join(directoryOfTest(), 'data');
    DataDirectory.open(dataDir, { lanes: 3, partitions: 5 }, { lanes: 1, partitions: 1 }).close();
    const { out } = await print(['--json', '--data-dir', dataDir], { TALLYSTICK_PARTITIONS: '5' });
    expect(JSON.parse(out)).toMatchObject({
      lanes: { value: 3, source: 'directory' },
      partitions: { value: 5, source: 'environment' },
    });
    const refused = await print(['--data-dir', dataDir, '--lanes', '2']);
    expect(refused).toMatchObject({ status: 2, out: '' });
    expect(refused.err).toContain(`CONFIG_INVALID: lanes: ${dataDir} was made with 3, not 2.`);
  });

  it('never shows the secret of a data directory', async () => {
    const dataDir = join(directoryOfTest(), 'data');
    DataDirectory.open(dataDir, {}, { lanes: 1, partitions: 1 }).close();
    const { secret } = JSON.parse(readFileSync(join(dataDir, 'tallystick.json'), 'utf8')) as { secret: string };
    for (const json of [[], ['--json']]) {
      const { out, err } = await print(['--data-dir', dataDir, ...json]);
      expect(out).toContain(dataDir);
      expect(out + err).not.toContain(secret);
    }
  });

  it('refuses what serve refuses, as wrong usage', async () => {
    expect(await print(['--listen', '0.0.0.0'])).toMatchObject({ status: 2, out: '' });
    expect(await print(['--nonsense'])).toMatchObject({ status: 2, out: '' });
    expect((await print(['--nonsense'])).err).toContain("See 'tallystick config print --help'.");
  });
});

describe('the origins of pages', () => {
  const origins = ['https://app.example', 'http://intranet:8080', 'chrome-extension://abcdef'];

  it('are read from a list, with commas between them, and from what was read before', () => {
    expect(loadConfig({}, {}, fileWith({ wsOrigins: origins })).wsOrigins).toEqual(origins);
    expect(loadConfig({}, { TALLYSTICK_WS_ORIGINS: origins.join(', ') }).wsOrigins).toEqual(origins);
    expect(loadConfig(loadConfig({ wsOrigins: origins })).wsOrigins).toEqual(origins);
    expect(loadConfig({})).toMatchObject({ wsOrigins: [] });
    expect(loadConfig({}).wsPort).toBeUndefined();
  });

  it.each([
    'app.example',
    'https://app.example/',
    'https://app.example/path',
    'https://app.example:443',
    'https://App.example',
    'https://user@app.example',
    'https://',
    'https://a.example,,https://b.example',
    'null',
    '*',
    ' ',
    7,
    [7],
  ])('are refused as %j, in which no browser says them', (wsOrigins) => {
    expect(refusal({ wsOrigins })).toMatch(/^wsOrigins/);
  });
});

describe('the hosts of HTTP', () => {
  it('are read from a list, and with commas between them', () => {
    const httpHosts = ['counters.example', 'counters'];
    expect(loadConfig({ httpHosts }).httpHosts).toEqual(httpHosts);
    expect(loadConfig({}, { TALLYSTICK_HTTP_HOSTS: httpHosts.join(', ') }).httpHosts).toEqual(httpHosts);
    expect(loadConfig({}).httpPort).toBeUndefined();
  });

  it.each(['Counters.example', 'counters.example:80', 'http://counters.example', '*', '', 'a,,b', 7])(
    'are refused as %j, which no Host names',
    (httpHosts) => {
      expect(refusal({ httpHosts })).toMatch(/^httpHosts/);
    },
  );
});

describe('the counters that /metrics tells', () => {
  it('are few, and each is told once', () => {
    const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
    expect(loadConfig({ metricsNames: 'likes,views:/' }).metricsNames).toEqual(['likes', 'views:/']);
    expect(loadConfig({ metricsNames: names }).metricsNames).toEqual(names);
    expect(refusal({ metricsNames: [...names, 'n'] })).toMatch(/^metricsNames.*no more than 100/);
    expect(refusal({ metricsNames: 'a,b,a' })).toMatch(/^metricsNames.*twice/);
    for (const name of ['é'.repeat(513), '', 'a\ud800'])
      expect(refusal({ metricsNames: [name] })).toMatch(/^metricsNames.*no name/);
  });
});

describe('the classes', () => {
  const classes = [
    { pattern: 'views:*', windows: '1d', seconds: true, gross: true, lateness: '90m', late: 'total' },
    { pattern: 'calls:*', history: { minutes: '7d', hours: '90d', days: '2y' } },
    { pattern: '*', lateness: 'any', uniques: 0, uniquesWindows: '7d', once: '24h', onceItems: 5 },
  ];
  const read = [
    { pattern: 'views:*', windows: '1d', seconds: true, gross: true, lateness: 5_400_000, late: 'total' },
    { pattern: 'calls:*', history: { minutes: 7 * 86_400_000, hours: 90 * 86_400_000, days: 730 * 86_400_000 } },
    { pattern: '*', lateness: 'any', uniques: 0, uniquesWindows: 7, once: 86_400_000, onceItems: 5 },
  ];

  it('are read from a file, from JSON in the environment, and from what was read before', () => {
    expect(loadConfig({}, {}, fileWith({ classes })).classes).toEqual(read);
    expect(loadConfig({}, { TALLYSTICK_CLASSES: JSON.stringify(classes) }).classes).toEqual(read);
    expect(loadConfig({ classes: read }).classes).toEqual(read);
  });

  it.each([
    ['[', 'classes: '],
    [[{ windows: '1h' }], 'classes.0.pattern: '],
    [[{ pattern: '' }], 'classes.0.pattern: 1 to 64 bytes'],
    [[{ pattern: 'é'.repeat(33) }], 'classes.0.pattern: 1 to 64 bytes'],
    [[{ pattern: '*', windows: '2h' }], 'classes.0.windows: '],
    [[{ pattern: '*', seconds: 60 }], 'classes.0.seconds: '],
    [[{ pattern: '*', gross: 'yes' }], 'classes.0.gross: '],
    [[{ pattern: '*', history: { minutes: 'long' } }], 'classes.0.history'],
    [[{ pattern: '*', history: { weeks: '1d' } }], 'classes.0.history: Unrecognized key: "weeks"'],
    [[{ pattern: '*', history: '7d' }], 'classes.0.history: neither a boolean nor'],
    [[{ pattern: '*', lateness: '1w' }], 'classes.0.lateness: neither "any" nor a duration'],
    [[{ pattern: '*', uniques: 10_000_001 }], 'classes.0.uniques: '],
    [[{ pattern: '*', late: 'never' }], 'classes.0.late: '],
    [[{ pattern: '*', uniques: 9, uniquesWindows: '91d' }], 'classes.0.uniquesWindows: "91d" is not "1d" to "90d"'],
    [[{ pattern: '*', uniques: 9, uniquesWindows: '12h' }], 'classes.0.uniquesWindows: '],
    [[{ pattern: '*', uniquesWindows: '7d' }], 'classes.0.uniquesWindows: goes with "uniques"'],
    [[{ pattern: '*', once: '1 day' }], 'classes.0.once: "1 day" is no duration'],
    [[{ pattern: '*', once: '24h', onceItems: 0 }], 'classes.0.onceItems: '],
    [[{ pattern: '*', once: '24h', onceItems: 1_000_001 }], 'classes.0.onceItems: '],
    [[{ pattern: '*', onceItems: 10 }], 'classes.0.onceItems: goes with "once"'],
    [[{ pattern: '*', wnidows: '1h' }], 'wnidows'],
    [Array.from({ length: 64 }, () => ({ pattern: '*' })), 'classes: '],
  ])('are refused as %j, by what is wrong with them', (classes, why) => {
    expect(refusal({ classes })).toContain(why);
  });
});
