import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import type { Connect } from '../../src/cli/cli.js';
import { TallystickError } from '../../src/errors.js';
import { cli, type Setting } from './command-line.js';
import { fakeConnect } from './fake-client.js';
import { FakeServer } from './fake-target.js';

const directory = mkdtempSync(join(tmpdir(), 'tallystick-cli-'));
afterAll(() => rmSync(directory, { recursive: true }));

describe('incr and decr', () => {
  it('step by 1 or by N, also a negative one, and print the new value', async () => {
    const server = new FakeServer(4);
    const steps: [string[], string][] = [
      [['incr', 'x'], '1'],
      [['incr', 'x', '-5'], '-4'],
      [['incr', '--timeout', '3', 'x', '-5'], '-9'],
      [['incr', 'x', '-5', '--server', 'tallystick://a:1'], '-14'],
      [['decr', 'x'], '-15'],
      [['decr', 'x', '-20'], '5'],
      [['incr', 'y', '9223372036854775807'], '9223372036854775807'],
      [['incr', 'z', '-9223372036854775808'], '-9223372036854775808'],
      [['incr', '--', '-name', '+2'], '2'],
    ];
    for (const [args, printed] of steps)
      expect(await cli(args, { server })).toMatchObject({ status: 0, out: `${printed}\n`, err: '' });
  });

  it.each([['9223372036854775808'], ['-9223372036854775809'], ['1.5'], ['ten'], ['0x10'], ['']])(
    'refuse %j as wrong usage, before anything is sent',
    async (n) => {
      const { status, err, out, connections } = await cli(['incr', 'x', n]);
      expect(status).toBe(2);
      expect(err).toMatch(/It must (be a decimal integer|lie between)/);
      expect(err).toContain("See 'tallystick incr --help'.");
      expect(out).toBe('');
      expect(connections).toEqual([]);
    },
  );

  it('fail with the code and what to do', async () => {
    const server = new FakeServer(1);
    server.values.set('x', 2n ** 63n - 1n);
    const { status, err, connections } = await cli(['incr', 'x'], { server });
    expect(status).toBe(1);
    expect(err).toBe('OVERFLOW: The step would leave the signed 64-bit range.\n');
    expect(connections[0]?.client.closed).toBe(true);
  });

  it('say so when nobody knows whether they were applied', async () => {
    const connect: Connect = async (url, options) => {
      const client = await fakeConnect(new FakeServer(1)).connect(url, options);
      client.increment = async () => Promise.reject(new TallystickError('TIMEOUT'));
      return client;
    };
    expect(await cli(['incr', 'x'], { connect })).toMatchObject({
      status: 1,
      err: 'TIMEOUT: No answer within the timeout.\nIt may have been applied or not. Read the counter before you run the command again.\n',
    });
  });
});

describe('set', () => {
  it('asks for a reason, and prints the value before', async () => {
    const server = new FakeServer(4);
    expect(await cli(['set', 'x', '-7'], { server })).toMatchObject({ status: 2 });
    expect(await cli(['set', 'x', '-7', '--reason', 'count'], { server })).toMatchObject({ status: 0, out: '0\n' });
    expect(await cli(['set', 'x', '8', '--reason', 'r', '--expect', '-7'], { server })).toMatchObject({ out: '-7\n' });
    const failed = await cli(['set', 'x', '9', '--reason', 'r', '--expect', '-7'], { server });
    expect(failed.status).toBe(1);
    expect(failed.err).toMatch(/^EXPECTATION_FAILED: /);
    expect(server.values.get('x')).toBe(8n);
    expect(server.reasons).toEqual(['count', 'r']);
  });
});

describe('get', () => {
  const server = new FakeServer(4);
  server.values.set('a', -5n);
  server.values.set('long', 2n ** 63n - 1n);
  server.values.set('__proto__', 3n);
  server.values.set('7', 4n);
  server.values.set('x\u001b[31m', 1n);

  it('prints one bare value, or a table', async () => {
    expect((await cli(['get', 'a'], { server })).out).toBe('-5\n');
    expect((await cli(['get', 'none'], { server })).out).toBe('0\n');
    expect((await cli(['get', 'a', 'long', 'a'], { server })).out).toBe(
      'a                      -5\nlong  9223372036854775807\n',
    );
  });

  it('prints one JSON object of decimal strings, names as they are and in their order', async () => {
    const { out } = await cli(['get', '--json', 'long', '__proto__', '7', 'none', 'x\u001b[31m'], { server });
    expect(out).toBe('{"long":"9223372036854775807","__proto__":"3","7":"4","none":"0","x\\u001b[31m":"1"}\n');
    expect((await cli(['get', 'a', '--json'], { server })).out).toBe('{"a":"-5"}\n');
  });

  it('escapes what could move the cursor of a terminal', async () => {
    const { out } = await cli(['get', 'a', 'x\u001b[31m', 'b\nc', '\u202e'], { server, tty: true });
    expect(out.split('\n').map((line) => line.split(' ')[0])).toEqual([
      'a',
      'x\\u{1b}[31m',
      'b\\u{a}c',
      '\\u{202e}',
      '',
    ]);
  });

  it('reads names from stdin, one a line', async () => {
    expect((await cli(['get', '-', '--json'], { server, stdin: 'a\r\nname with space\n\n7' })).out).toBe(
      '{"a":"-5","name with space":"0","7":"4"}\n',
    );
    expect((await cli(['get', '-'], { server, stdin: 'a\n' })).out).toBe('a  -5\n');
    expect((await cli(['get', '-', '--json'], { server })).out).toBe('{}\n');
    const many = Array.from({ length: 25_000 }, (_, index) => `n${index}`);
    const { out } = await cli(['get', '-', '--json'], { server, stdin: many.join('\n') });
    expect(Object.keys(JSON.parse(out) as object)).toEqual(many);
  });

  it('reads what is durable unless told otherwise', async () => {
    server.reads.length = 0;
    await cli(['get', 'a'], { server });
    await cli(['get', 'a', '--latest'], { server });
    expect(server.reads).toEqual(['durable', 'latest']);
  });
});

describe('every command', () => {
  it('takes the server from --server, then from the environment, then the default', async () => {
    const env = { TALLYSTICK_SERVER: 'tallystick://env:1' };
    const urlOf = async (args: string[], setting: Setting): Promise<string | undefined> =>
      (await cli(args, setting)).connections[0]?.url;
    expect(await urlOf(['get', 'a', '--server', 'tallystick://flag:1'], { env })).toBe('tallystick://flag:1');
    expect(await urlOf(['get', 'a'], { env })).toBe('tallystick://env:1');
    expect(await urlOf(['get', 'a'], { env: { TALLYSTICK_SERVER: '' } })).toBe('tallystick://127.0.0.1:7070');
  });

  it('takes a timeout in seconds', async () => {
    expect((await cli(['stats', '--timeout', '2.5'])).connections[0]?.options).toEqual({
      producer: false,
      timeout: 2_500,
    });
    expect((await cli(['incr', 'x'])).connections[0]?.options).toEqual({ timeout: 10_000 });
    for (const bad of ['0', '-1', 'x', '1e3', '90000'])
      expect(await cli(['stats', '--timeout', bad])).toMatchObject({ status: 2, connections: [] });
  });

  it('keeps to the one address with --no-direct', async () => {
    const optionsOf = async (...args: string[]) => (await cli(args)).connections[0]?.options;
    expect(await optionsOf('incr', 'x', '--no-direct')).toEqual({ direct: false, timeout: 10_000 });
    expect(await optionsOf('ping', '--no-direct')).toEqual({ producer: false, direct: false, timeout: 5_000 });
  });

  it('says what to do where no server answers', async () => {
    const connect: Connect = async () => Promise.reject(new TallystickError('CONNECTION_LOST', 'ECONNREFUSED.'));
    const { status, err } = await cli(['get', 'a'], { connect });
    expect(status).toBe(1);
    expect(err).toMatch(
      /^CONNECTION_LOST: ECONNREFUSED\. .*\nIs a server running at tallystick:\/\/127\.0\.0\.1:7070\? /,
    );
  });

  it('is content when the reader of its output leaves, and fails when the output breaks', async () => {
    for (const args of [['get', 'a'], ['--help'], ['ingest', '-', '--format', 'ndjson', '--count', '{a}']]) {
      expect(await cli(args, { breaksWith: 'EPIPE' })).toMatchObject({ status: 0, err: '' });
      const { status, err } = await cli(args, { breaksWith: 'ENOSPC' });
      expect(status).toBe(1);
      expect(err).toMatch(/^OUTPUT_FAILED: ENOSPC\. /);
    }
  });

  it('shows a defect as one, with where it happened', async () => {
    const connect: Connect = async () => Promise.reject(new TypeError('x is not a function'));
    const { status, err } = await cli(['get', 'a'], { connect });
    expect(status).toBe(1);
    expect(err).toMatch(/^INTERNAL: .*TypeError: x is not a function\n {4}at /);
  });

  it.each([
    [[], 2],
    [['nonsense'], 2],
    [['get'], 2],
    [['get', 'a', '--nonsense'], 2],
    [['incr', 'a', '1', '2'], 2],
    [['--help'], 0],
    [['ingest', '--help'], 0],
    [['--version'], 0],
  ])('exits with the right status: %j %i', async (args, status) => {
    expect(await cli(args)).toMatchObject({ status });
  });

  it('has help with every option that it takes', async () => {
    const { out } = await cli(['ingest', '--help']);
    for (const option of ['--format', '--count', '--sum', '--where', '--producer', '--json', '--server', '--timeout'])
      expect(out).toContain(option);
    expect((await cli(['--version'])).out).toBe('1.2.3\n');
  });

  it('leaves serve to the composition root', async () => {
    const seen: unknown[] = [];
    const serve = new Command('serve').option('--port <port>').action((options: unknown) => {
      seen.push(options);
      throw new TallystickError('DIRECTORY_IN_USE');
    });
    const local = new Map([['serve', async () => serve]]);
    expect(await cli(['serve', '--port', '0'], { local })).toMatchObject({
      status: 1,
      err: expect.stringMatching(/^DIRECTORY_IN_USE/),
    });
    expect(seen).toEqual([{ port: '0' }]);
  });

  it.each([
    [['serve'], ['serve']],
    [['get', 'a'], []],
    [['--help'], ['serve', 'verify']],
    [['serv'], ['serve', 'verify']],
    [['toString'], ['serve', 'verify']],
    [[], ['serve', 'verify']],
  ])('loads of those that the composition root makes what the line may mean: %j %j', async (args, expected) => {
    const loaded: string[] = [];
    const load = (name: string) => async () => {
      loaded.push(name);
      return new Command(name).action(() => undefined);
    };
    await cli(args, { local: new Map(['serve', 'verify'].map((name) => [name, load(name)])) });
    expect(loaded).toEqual(expected);
  });
});

describe('stats', () => {
  it('prints a table or JSON', async () => {
    expect((await cli(['stats'])).out).toBe(
      'server              fake\nlanes.0.increments    12\nlanes.1.increments     3\n',
    );
    expect((await cli(['stats', '--json'])).out).toBe(
      '{"server":"fake","lanes":[{"increments":"12"},{"increments":3}]}\n',
    );
  });

  it('prints the percentiles of a distribution, and its buckets as JSON alone', async () => {
    const server = new FakeServer(1);
    server.stats = [{ ackMicroseconds: { durable: { p50: 700, upTo: { 500: 1, 1000: 9 } } } }];
    expect((await cli(['stats'], { server })).out).toBe('0.ackMicroseconds.durable.p50  700\n');
    expect((await cli(['stats', '--json'], { server })).out).toContain('"upTo":{"500":1,"1000":9}');
  });
});

describe('ping', () => {
  it('hears from the lanes and prints how long that took', async () => {
    const { connections, ...outcome } = await cli(['ping']);
    expect(outcome).toEqual({ status: 0, out: '0.0 ms\n', err: '' });
    expect(connections[0]?.options).toEqual({ producer: false, timeout: 5_000 });
    expect(connections[0]?.client.closed).toBe(true);
    expect((await cli(['ping', '--json'])).out).toBe('{"milliseconds":0.0}\n');
  });

  it('fails where a lane does not answer', async () => {
    const connect: Connect = async (url, options) => {
      const client = await fakeConnect(new FakeServer(1)).connect(url, options);
      client.stats = async () => Promise.reject(new TallystickError('TIMEOUT'));
      return client;
    };
    expect(await cli(['ping'], { connect })).toMatchObject({
      status: 1,
      out: '',
      err: expect.stringMatching(/^TIMEOUT: /),
    });
  });
});

describe('the exit status', () => {
  it.each([
    ['DIRECTORY_IN_USE', 1],
    ['STORAGE_FULL', 1],
    ['CONFIG_INVALID', 2],
    ['LOG_CORRUPT', 3],
    ['DIRECTORY_INVALID', 3],
  ] as const)('of %s tells whether the same again may help: %i', async (code, status) => {
    const serve = new Command('serve').action(() => {
      throw new TallystickError(code);
    });
    expect(await cli(['serve'], { local: new Map([['serve', async () => serve]]) })).toMatchObject({ status });
  });
});

describe('ingest', () => {
  const csv = 'shop,cents\nUlm,5\nBonn,x\nUlm,7\n';
  const options = ['--format', 'csv', '--count', 'n:{shop}', '--sum', 'cents:{shop}=cents'];
  const file = (text: string): string => {
    const path = join(directory, 'input');
    writeFileSync(path, text);
    return path;
  };

  it('counts a file and prints a summary with the lines that it could not use', async () => {
    const server = new FakeServer(4);
    const { status, out, err, connections } = await cli(['ingest', file(csv), ...options], { server });
    expect(status).toBe(0);
    expect(err).toBe('');
    expect(Object.fromEntries(server.values)).toEqual({ 'n:Ulm': 2n, 'cents:Ulm': 12n });
    expect(out).toMatch(/^lines +3\nused +2\nfiltered out +0\nunusable +1\nnames +2\nincrements +4\n/);
    expect(out).toContain('  line 3: cents is not a 64-bit integer\n');
    expect(connections[0]?.options).toEqual({ timeout: 120_000 });
    expect(connections[0]?.client.closed).toBe(true);
  });

  it('reads stdin, and prints JSON when asked', async () => {
    const { status, out } = await cli(['ingest', '-', ...options, '--json', '--where', 'shop=Ulm'], { stdin: csv });
    expect(status).toBe(0);
    expect(JSON.parse(out)).toEqual({
      finished: true,
      error: null,
      lines: 3,
      used: 2,
      filtered: 1,
      unusable: 0,
      unusableLines: [],
      names: 2,
      namesExact: true,
      increments: 4,
      sightings: 0,
      batches: expect.any(Number) as number,
      refused: 0,
      refusedBy: {},
      refusals: [],
      answersLost: 0,
      resumedFrom: null,
      reread: 0,
      seconds: 0,
      linesPerSecond: expect.any(Number) as number,
    });
  });

  it('shows at most ten unusable lines to people, and how many more there are', async () => {
    const { out } = await cli(['ingest', '-', '--format', 'ndjson', '--count', '{a}'], { stdin: 'x\n'.repeat(25) });
    expect(out.match(/ {2}line [0-9]+: not valid JSON\n/g)).toHaveLength(10);
    expect(out).toContain('  and 15 more\n');
  });

  it('resumes under a producer after a failure, and says so', async () => {
    const server = new FakeServer(4);
    const producer = [...options, '--producer', 'shops'];
    const failed = await cli(['ingest', file(csv), ...producer], { server, crash: { at: 2, applied: true } });
    expect(failed.status).toBe(1);
    expect(failed.err).toMatch(/^TIMEOUT: .*\nThe server knows how far the input is counted: the same command goes on/);
    expect(failed.connections[0]?.options).toMatchObject({ producer: 'shops' });
    expect(await cli(['ingest', file(csv), ...producer], { server })).toMatchObject({ status: 0 });
    const again = await cli(['ingest', file(csv), ...producer], { server });
    expect(again.out).toContain('Resumed behind line 4, at byte 30;');
    expect(Object.fromEntries(server.values)).toEqual({ 'n:Ulm': 2n, 'cents:Ulm': 12n });

    const other = await cli(['ingest', file(csv), ...producer, '--where', 'shop=Ulm'], { server });
    expect(other).toMatchObject({ status: 1, out: '' });
    expect(other.err).toMatch(/^INPUT_CHANGED: .*what differs: --where\. .*--producer\.\n$/);
  });

  it('warns of a second run where there is no producer', async () => {
    const { status, out, err } = await cli(['ingest', '-', ...options, '--json'], {
      stdin: csv,
      crash: { at: 1, applied: true },
    });
    expect(status).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ finished: false, error: { code: 'TIMEOUT' }, batches: 1 });
    expect(err).toMatch(/^TIMEOUT: .*\nA part of the input is counted\. A second run would count it again\.\n$/);
  });

  it('fails when steps were refused, and lists them', async () => {
    const server = new FakeServer(4);
    server.values.set('cents:Ulm', 2n ** 63n - 1n);
    const { status, out, err } = await cli(['ingest', file(csv), ...options], { server });
    expect(status).toBe(1);
    expect(out).toContain('Refused by the server and not counted:\n  cents:Ulm  12  OVERFLOW\n');
    expect(err).toMatch(/^OVERFLOW: The server refused 1 steps/);
  });

  it.each([
    [['--format', 'xml', '--count', 'x'], 'Allowed choices are combined, csv, ndjson'],
    [['--count', 'x'], "required option '--format <format>' not specified"],
    [['--format', 'csv'], 'Give 1 to 100 --count, --sum and --unique'],
    [['--format', 'csv', '--count', '{shop'], 'stray brace at 1'],
    [['--format', 'csv', '--sum', 'x'], 'TEMPLATE=FIELD'],
    [['--format', 'csv', '--count', 'x', '--where', 'x'], 'FIELD=VALUE'],
    [['--format', 'csv', '--count', '{town}'], "There is no field 'town'. The fields are: shop, cents."],
    [['--format', 'combined', '--count', '{town}'], 'The fields are: ip, time, method, path, status'],
    [['--format', 'csv', '--count', 'x', 'another-file'], 'too many arguments'],
  ])('refuses %j as wrong usage', async (args, message) => {
    const { status, out, err } = await cli(['ingest', file(csv), ...args]);
    expect(status).toBe(2);
    expect(err).toContain(message);
    expect(err).toContain("See 'tallystick ingest --help'.");
    expect(out).toBe('');
  });

  it('says which file it can not read', async () => {
    const { status, err } = await cli(['ingest', join(directory, 'none'), ...options]);
    expect(status).toBe(1);
    expect(err).toMatch(/^INPUT_FAILED: .*ENOENT/);
  });

  it('shows progress on a terminal only', async () => {
    expect((await cli(['ingest', file(csv), ...options])).err).toBe('');
    expect((await cli(['ingest', file(csv), ...options], { tty: true })).err).toContain('lines/s');
  });
});
