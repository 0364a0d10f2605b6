import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseCopy, parseDockerfile, parseEnv, parseExec, type Stage, valuesOf } from '../scripts/dockerfile.mjs';
import { EXIT_DATA, EXIT_USAGE } from '../src/cli/failure.js';
import { CONFIG_KEYS, environmentName, loadConfig } from '../src/config.js';
import { DRAIN_MILLISECONDS } from '../src/serve.js';
import { clientOfTest } from './integration/clients.js';
import { directoryOfTest, serverOfTest } from './integration/server-process.js';
import { straceMissing } from './integration/tracer.js';

/**
 * The Dockerfile and the unit of systemd against the tree and the configuration. `npm run check:image` builds and runs the
 * image.
 */

const ROOT = join(import.meta.dirname, '..');
const text = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const variables = CONFIG_KEYS.map(environmentName);

describe('the image', () => {
  const stages = parseDockerfile(text('Dockerfile'));
  const last = stages.at(-1) as Stage;
  const only = (keyword: string): string => {
    const values = valuesOf(last, keyword);
    expect(values, keyword).toHaveLength(1);
    return values[0] as string;
  };
  const environment = Object.assign({}, ...valuesOf(last, 'ENV').map(parseEnv)) as Record<string, string>;

  test('is of one pinned version of Node, one that the suite runs on', () => {
    const bases = stages.map(({ base }) => /^node:(\d+)-slim$/.exec(base)?.[1]);
    expect(new Set(bases).size).toBe(1);
    expect(/for major in ([\d ]+);/.exec(text('.ci/run'))?.[1]?.split(' ')).toContain(bases[0]);
  });

  test('copies what is there, and what .dockerignore lets through', () => {
    const ignored = text('.dockerignore').split('\n');
    const fromTree = stages.flatMap((stage) => valuesOf(stage, 'COPY').map(parseCopy)).filter(({ from }) => !from);
    const sources = new Set(fromTree.flatMap(({ sources }) => sources));
    for (const source of sources) expect(existsSync(join(ROOT, source)), source).toBe(true);
    const letThrough = ignored.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
    expect(ignored.filter((line) => line !== '' && !/^[#!]/.test(line))).toEqual(['*']);
    expect(letThrough.sort()).toEqual([...sources].sort());
  });

  test('copies from stages that come before', () => {
    for (const [index, stage] of stages.entries()) {
      const before = stages.slice(0, index).map(({ name }) => name);
      const from = valuesOf(stage, 'COPY').flatMap((rest) => parseCopy(rest).from ?? []);
      for (const name of from) expect(before).toContain(name);
    }
  });

  test('installs what the lock file says, and of the final stage only what runs', () => {
    const installs = stages
      .flatMap((stage) => valuesOf(stage, 'RUN'))
      .filter((rest) => /\bnpm (ci|i|install)\b/.test(rest));
    expect(installs.every((rest) => /\bnpm ci\b/.test(rest))).toBe(true);
    expect(installs.at(-1)).toContain('--omit=dev');
  });

  test('runs as a user that is not root, after everything that needs root', () => {
    expect(only('USER')).toBe('node');
    const keywords = last.instructions.map(({ keyword }) => keyword);
    const behind = keywords.slice(keywords.indexOf('USER') + 1);
    expect(behind.filter((keyword) => ['RUN', 'COPY', 'ADD'].includes(keyword))).toEqual([]);
  });

  test('keeps its data in its volume', () => {
    expect(environment.TALLYSTICK_DATA_DIR).toBe(only('VOLUME'));
    expect(valuesOf(last, 'RUN').some((rest) => rest.includes(`--owner=${only('USER')}`))).toBe(true);
  });

  test('sets variables that exist, and serves nobody until it is told to', () => {
    const ours = Object.keys(environment).filter((name) => name.startsWith('TALLYSTICK_'));
    for (const name of ours) expect(variables).toContain(name);
    expect(() => loadConfig({}, environment)).toThrow('--allow-open');
    expect(loadConfig({}, { ...environment, TALLYSTICK_ALLOW_OPEN: 'true' }).port).toBe(Number(only('EXPOSE')));
  });

  test('starts and checks itself with commands and options that exist', () => {
    const [program, ...args] = [...parseExec(only('ENTRYPOINT')), ...parseExec(only('CMD'))];
    expect([program, ...args]).toEqual(['tallystick', 'serve']);
    const [, command = '', rest = ''] = /\bCMD tallystick (\S+) (.*)$/.exec(only('HEALTHCHECK')) ?? [];
    const help = execFileSync(process.execPath, [join(ROOT, 'bin/tallystick.cjs'), command, '--help'], {
      encoding: 'utf8',
    });
    for (const option of rest.match(/--[a-z-]+/g) ?? []) expect(help).toContain(option);
    expect(rest).toContain(`\${TALLYSTICK_PORT:-${only('EXPOSE')}}`);
  });
});

describe('the unit of systemd', () => {
  const unit = text('ops/tallystick.service');
  const value = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1] ?? '';
  const analyze = (...args: string[]) => spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  const isMissing = analyze('--version').error !== undefined;

  test('does not start again what only a person can mend', () => {
    expect(value('Restart')).toBe('on-failure');
    expect(value('RestartPreventExitStatus').split(' ').map(Number)).toEqual([EXIT_USAGE, EXIT_DATA]);
  });

  test('gives it more time to end than it takes', () => {
    expect(value('KillSignal')).toBe('SIGTERM');
    expect(Number(value('TimeoutStopSec')) * 1_000).toBeGreaterThan(DRAIN_MILLISECONDS);
  });

  test('has the C library give back what is freed, as the image does, and servers under load', () => {
    const settings = { MALLOC_TRIM_THRESHOLD_: '131072', MALLOC_ARENA_MAX: '4' };
    const [dockerfile] = parseDockerfile(text('Dockerfile')).slice(-1) as [Stage];
    const environment = Object.assign({}, ...valuesOf(dockerfile, 'ENV').map(parseEnv)) as Record<string, string>;
    expect(environment).toMatchObject(settings);
    const ofUnit = [...unit.matchAll(/^Environment=(.*)$/gm)].map(([, rest = '']) => parseEnv(rest));
    expect(Object.assign({}, ...ofUnit)).toMatchObject(settings);
    for (const [name, value] of Object.entries(settings))
      expect(text('load/server.mjs')).toContain(`${name}: '${value}'`);
  });

  test('allows as many files as connections', () => {
    expect(Number(value('LimitNOFILE'))).toBeGreaterThanOrEqual(6 * loadConfig({}).connections);
  });

  test('keeps the data where systemd makes a directory for them', () => {
    const [, dataDir = ''] = /TALLYSTICK_DATA_DIR=(\S+)/.exec(value('Environment')) ?? [];
    expect(dataDir).toBe(`/var/lib/${value('StateDirectory')}`);
    for (const name of unit.match(/TALLYSTICK_[A-Z_]+/g) ?? []) expect(variables).toContain(name);
  });

  test.skipIf(isMissing)('is right for systemd, and keeps the server from most of what it does not need', () => {
    const path = join(directoryOfTest(), 'tallystick.service');
    writeFileSync(path, unit.replace(value('ExecStart').split(' ')[0] as string, process.execPath));
    const verified = analyze('verify', path);
    expect(verified.stdout + verified.stderr).toBe('');
    expect(verified.status).toBe(0);
    // Of 10; a unit without any protection has 9.6.
    expect(analyze('security', '--offline=true', '--threshold=20', path).status).toBe(0);
  });

  test.skipIf(isMissing || straceMissing)('forbids no system call that the server needs', async () => {
    const record = join(directoryOfTest(), 'calls');
    const server = await serverOfTest({ lanes: 2, within: ['strace', '-f', '-qq', '-o', record] });
    expect(await (await clientOfTest(server)).increment('x')).toBe(1n);
    process.kill(server.pid, 'SIGTERM');
    expect((await server.run.exited).code).toBe(0);
    const calls = readFileSync(record, 'utf8').matchAll(/^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)/gm);
    const used = new Set([...calls].map(([, name = '']) => name));
    expect(used).toContain('fdatasync');
    const allowed = new Set<string>();
    for (const [, denies, sets = ''] of unit.matchAll(/^SystemCallFilter=(~?)(.*)$/gm)) {
      for (const name of callsOf(sets.split(' '))) denies ? allowed.delete(name) : allowed.add(name);
    }
    // The engine asks for keys of memory protection, uses them where the processor has some, and does without them where it gets none.
    for (const name of ['pkey_alloc', 'pkey_mprotect']) allowed.add(name);
    expect([...used].filter((name) => !allowed.has(name))).toEqual([]);
  });

  /** System calls, and those of sets as systemd has them. */
  function callsOf(names: readonly string[]): Set<string> {
    const sets = names.filter((name) => name.startsWith('@'));
    const lines = sets.flatMap((set) => analyze('syscall-filter', set).stdout.split('\n').slice(1));
    const inner = lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
    const calls = names.filter((name) => !name.startsWith('@'));
    return new Set([...calls, ...(inner.length > 0 ? callsOf(inner) : [])]);
  }
});
