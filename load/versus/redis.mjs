import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { spawnChild } from '../child.mjs';
import { freePorts } from '../ports.mjs';
import { RespClient } from './resp.mjs';

const execute = promisify(execFile);

/** How Redis is durable. `always`: flushed before it answers. `everysec`: at most a second is lost. `none`: no log. */
export const MODES = {
  always: ['--appendonly', 'yes', '--appendfsync', 'always'],
  everysec: ['--appendonly', 'yes', '--appendfsync', 'everysec'],
  none: ['--appendonly', 'no'],
};

/** Adds 1 to each of its keys. */
const SCRIPT = "for i = 1, #KEYS do redis.call('INCR', KEYS[i]) end return #KEYS";
export const SCRIPT_KEYS = 1_000;

/** The version on the PATH; undefined where there is none. */
export function redisVersion() {
  const found = ['redis-server', 'redis-benchmark'].map((name) => spawnSync(name, ['--version'], { encoding: 'utf8' }));
  if (found.some(({ status }) => status !== 0)) return undefined;
  return /v=(\S+)/.exec(found[0].stdout)?.[1];
}

export const HOW_TO_INSTALL =
  'The comparison needs redis-server and redis-benchmark, which the PATH does not have. On Debian or Ubuntu: apt-get update && apt-get install redis-server';

/** A Redis of its own, on the loopback, with its data beside ours. */
export class Redis {
  mode;
  dataDir = mkdtempSync(join(tmpdir(), 'tallystick-redis-'));
  port;
  #child;
  #exited;

  static async start(mode) {
    const redis = new Redis(mode);
    await redis.launch();
    return redis;
  }

  constructor(mode) {
    this.mode = mode;
  }

  get pid() {
    return this.#child.pid;
  }

  /** Starts the process, also again after `kill`; resolves with the seconds until it answered about the key. */
  async launch(key = 'nothing') {
    this.port = await freePorts(1);
    const start = performance.now();
    const settings = [
      '--port',
      this.port,
      '--bind',
      '127.0.0.1',
      '--dir',
      this.dataDir,
      '--save',
      '',
      '--daemonize',
      'no',
    ];
    const args = [...settings, '--loglevel', 'warning', ...MODES[this.mode]].map(String);
    this.#child = spawnChild('redis-server', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#exited = new Promise((resolve) => this.#child.once('exit', resolve));
    await RespClient.answerTo(this.port, key, this.#exited);
    return (performance.now() - start) / 1_000;
  }

  async kill() {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async stop() {
    await this.kill();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  /**
   * redis-benchmark with a command whose `__rand_int__` it replaces by a number below `keys`, in twelve digits; commands a second.
   */
  async benchmark(command, { connections, depth, requests, keys }) {
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      this.port,
      '-c',
      connections,
      '-P',
      depth,
      '-n',
      requests,
      '-r',
      keys,
      '--csv',
    ];
    const { stdout } = await execute('redis-benchmark', [...args, ...command].map(String), { maxBuffer: 1 << 26 });
    const line = stdout.trim().split('\n').at(-1);
    return Number(/,"([\d.]+)","[\d.]+"/.exec(line)[1]);
  }

  /** The command that adds 1 to so many random keys in one call. */
  async scriptCommand(key) {
    const client = await RespClient.connect(this.port);
    const sha = await client.command('SCRIPT', 'LOAD', SCRIPT);
    client.close();
    return ['EVALSHA', sha, SCRIPT_KEYS, ...Array(SCRIPT_KEYS).fill(key)];
  }
}
