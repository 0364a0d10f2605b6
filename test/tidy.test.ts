import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** Style is a test: docs/STYLE.md names the rules, this file holds those that a linter can't. */

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MAX_FILE_LINES = 500;
const MAX_FUNCTION_LINES = 70;

function filesUnder(directory: string, endings: readonly string[]): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

const sources = filesUnder('src', ['.ts']);
const text = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const linesOf = (file: string): string[] => text(file).split('\n');

/** The code of a file, its comments and strings blanked. */
function code(file: string): string {
  return text(file)
    .replace(/\/\*[\s\S]*?\*\//g, ' ')
    .replace(/(^|\s)\/\/.*$/gm, ' ')
    .replace(/'(?:[^'\\\n]|\\.)*'/g, "''");
}

/** Relative imports of a file, as files below the root. */
function importsOf(file: string): string[] {
  const found = text(file).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g);
  return [...found].map(([, target = '']) => {
    const path = relative(ROOT, resolve(ROOT, dirname(file), target));
    return /\.js$/.test(path) ? path.replace(/\.js$/, '.ts') : `${path}.ts`;
  });
}

/** Those of them that are loaded with it: types are not, nor what it imports as it runs. */
function loadedWith(file: string): string[] {
  const found = text(file).matchAll(/^(?:import|export) (?!type\b)[^;]*?'(\.[^']+)\.js'/gm);
  return [...found].map(([, target = '']) => `${relative(ROOT, resolve(ROOT, dirname(file), target))}.ts`);
}

/** The files, and all that they import. */
function reachedFrom(files: readonly string[], follow = importsOf): Set<string> {
  const reached = new Set<string>();
  const pending = [...files];
  for (let file = pending.pop(); file; file = pending.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    pending.push(...follow(file));
  }
  return reached;
}

/** The room of a source file: its folder below src, or the file itself. */
const roomOf = (file: string): string => relative('src', file).split('/')[0] as string;

/** What each room may import besides itself. Files at the top of src are named with their ending. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  kernel: [],
  protocol: ['errors.ts'],
  partition: ['copy.ts', 'errors.ts', 'kernel', 'protocol'],
  log: ['clock.ts', 'copy.ts', 'errors.ts', 'wasm.ts'],
  series: ['errors.ts'],
  history: ['errors.ts', 'log', 'series', 'thread-priority.ts'],
  transport: ['clock.ts', 'errors.ts', 'protocol'],
  pubsub: ['clock.ts', 'errors.ts', 'partition', 'protocol'],
  lane: [
    'clock.ts',
    'copy.ts',
    'errors.ts',
    'history',
    'log',
    'partition',
    'protocol',
    'pubsub',
    'series',
    'thread-priority.ts',
    'transport',
    'wasm.ts',
  ],
  client: ['clock.ts', 'errors.ts', 'protocol', 'series'],
  cli: ['clock.ts', 'errors.ts', 'client', 'protocol'],
  http: ['clock.ts', 'errors.ts', 'client', 'protocol', 'transport'],
  backup: [
    'cli',
    'clock.ts',
    'config.ts',
    'directory.ts',
    'errors.ts',
    'history',
    'lane',
    'log',
    'partition',
    'protocol',
    'wasm.ts',
  ],
  'child-job.ts': ['errors.ts'],
  repartition: [
    'backup',
    'cli',
    'clock.ts',
    'config.ts',
    'directory.ts',
    'errors.ts',
    'log',
    'partition',
    'protocol',
    'wasm.ts',
  ],
  repair: [
    'backup',
    'child-job.ts',
    'cli',
    'clock.ts',
    'config.ts',
    'directory.ts',
    'errors.ts',
    'lane',
    'log',
    'partition',
    'protocol',
    'verify',
    'wasm.ts',
  ],
  verify: [
    'child-job.ts',
    'cli',
    'clock.ts',
    'config.ts',
    'directory.ts',
    'errors.ts',
    'history',
    'lane',
    'log',
    'partition',
    'wasm.ts',
  ],
  'config.ts': ['errors.ts', 'partition', 'protocol'],
  'directory.ts': ['errors.ts'],
  'server.ts': ['config.ts', 'directory.ts', 'errors.ts', 'http', 'lane', 'log', 'partition', 'protocol', 'version.ts'],
  'serve.ts': ['config.ts', 'server.ts', 'version.ts'],
  'config-command.ts': ['config.ts', 'directory.ts', 'serve.ts'],
  'audit.ts': ['config.ts', 'directory.ts', 'lane', 'log', 'partition'],
};

describe('imports', () => {
  it('point in the direction that docs/ARCHITECTURE.md draws', () => {
    const wrong = sources
      .filter((file) => roomOf(file) !== 'main.ts')
      .flatMap((file) => {
        const room = roomOf(file);
        const allowed = [room, ...(MAY_IMPORT[room] ?? [])];
        const rooms = importsOf(file).map(roomOf);
        return rooms.filter((target) => !allowed.includes(target)).map((target) => `${file} imports ${target}`);
      });
    expect(wrong).toEqual([]);
  });

  it('reach every file from the entry points: there are no dead ones', () => {
    const entries = [
      'src/main.ts',
      'src/server.ts',
      'src/client/index.ts',
      'src/client/browser.ts',
      'src/client/opentelemetry.ts',
      'src/lane/lane-thread.ts',
      'src/lane/checkpoint-thread.ts',
      'src/http/http-thread.ts',
    ];
    const others = [
      'src/verify/job-main.ts',
      'src/repair/salvage-main.ts',
      'src/history/roll-up-thread.ts',
      'src/kernel/kernel.ts',
      'src/kernel/checksum.ts',
      'src/webassembly.d.ts',
    ];
    const reached = reachedFrom([...entries, ...others]);
    expect(sources.filter((file) => !reached.has(file))).toEqual([]);
    expect([...reached].filter((file) => !sources.includes(file))).toEqual([]);
  });

  it('lead from the client for browsers to nothing but this package', () => {
    const reached = [...reachedFrom(['src/client/browser.ts'])];
    expect(reached.filter((file) => /from '[^.]/.test(text(file)))).toEqual([]);
  });

  it('lead threads of which there are many to no schemas and no WebSocket, which take megabytes in each', () => {
    const threads = ['src/lane/lane-thread.ts', 'src/lane/checkpoint-thread.ts', 'src/lane/replay-thread.ts'];
    const reached = [...reachedFrom(threads, loadedWith)];
    expect(reached).toContain('src/log/lmdb.ts');
    expect(reached.filter((file) => /^import (?!type\b).*'(zod|ws)'/m.test(text(file)))).toEqual([]);
  });

  it('name lmdb, the network and the console only where they belong', () => {
    const only = (pattern: RegExp, where: readonly string[]) =>
      sources.filter((file) => pattern.test(text(file)) && !where.includes(file));
    expect(only(/from 'lmdb'/, ['src/log/lmdb-log.ts', 'src/log/lmdb.ts'])).toEqual([]);
    expect(
      only(/from 'node:net'/, [
        'src/transport/tcp.ts',
        'src/transport/listening.ts',
        'src/transport/reading-into.ts',
        'src/client/tcp.ts',
        'src/http/fast-connection.ts',
        'src/http/listener.ts',
      ]),
    ).toEqual([]);
    expect(
      only(/from '(node:http|ws)'/, [
        'src/transport/websocket.ts',
        'src/client/ws.ts',
        'src/http/fast-connection.ts',
        'src/http/listener.ts',
      ]),
    ).toEqual([]);
    expect(
      only(/\bAtomics\./, [
        'src/lane/append-watch.ts',
        'src/lane/lane-thread.ts',
        'src/lane/quota.ts',
        'src/lane/ring.ts',
        'src/lane/supervisor.ts',
      ]),
    ).toEqual([]);
  });
});

describe('pure rooms', () => {
  const pure = sources.filter((file) => ['protocol', 'kernel', 'partition'].includes(roomOf(file)));
  const forbidden = /\b(Date\.now|new Date|Math\.random|performance\.|process\.|setTimeout|setImmediate|await|async)\b/;

  it('know no time, no chance and nothing asynchronous', () => {
    expect(pure.filter((file) => forbidden.test(code(file)))).toEqual([]);
  });

  it('have no state outside of objects', () => {
    expect(pure.filter((file) => /^(export )?let /m.test(code(file)))).toEqual([]);
  });
});

describe('time', () => {
  it('is read in clock.ts alone', () => {
    const readers = sources.filter((file) => /\b(Date\.now|performance\.now)\(/.test(code(file)));
    expect(readers).toEqual(['src/clock.ts']);
  });
});

describe('sizes', () => {
  it(`keep files within ${MAX_FILE_LINES} lines`, () => {
    const all = [
      ...sources,
      ...filesUnder('test', ['.ts']),
      ...filesUnder('load', ['.mjs']),
      ...filesUnder('native-bench', ['.mjs', '.c', '.h']),
    ];
    expect(all.filter((file) => linesOf(file).length > MAX_FILE_LINES)).toEqual([]);
  });

  it(`keep functions within ${MAX_FUNCTION_LINES} lines`, () => {
    expect(sources.flatMap(longFunctions)).toEqual([]);
  });

  it('keep the pages of docs to one page each', () => {
    for (const page of ['docs/ARCHITECTURE.md', 'docs/STYLE.md']) expect(linesOf(page).length).toBeLessThan(150);
  });
});

/** Functions and methods by their indentation, which the formatter guarantees. */
function longFunctions(file: string): string[] {
  const lines = linesOf(file);
  const header =
    /^(\s*)(?:export )?(?:default )?(?:static )?(?:async )?(?:function\b|(?:get |set )?#?\w+\(|constructor\().*\{$/;
  return lines.flatMap((line, start) => {
    const indent = header.exec(line)?.[1];
    if (indent === undefined || /^\s*(if|for|while|switch|catch)\b/.test(line)) return [];
    const length = lines.slice(start).findIndex((other) => other.startsWith(`${indent}}`)) + 1;
    return length > MAX_FUNCTION_LINES ? [`${file}:${start + 1} has ${length} lines`] : [];
  });
}

describe('names', () => {
  it('leave out rooms for everything', () => {
    expect(sources.filter((file) => /(^|\/)(utils?|helpers?|common|misc)\.ts$/.test(file))).toEqual([]);
  });

  it('leave no work undone in the sources', () => {
    const marks = new RegExp(`\\b(${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')}|XXX)\\b`);
    expect([...sources, 'protocol.md', 'README.md'].filter((file) => marks.test(text(file)))).toEqual([]);
  });
});
