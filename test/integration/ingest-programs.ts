import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { connect } from '../../src/client/index.js';
import { manifestText } from '../../src/directory.js';
import { TIMEOUT_MILLISECONDS } from './clients.js';
import { PROGRAM, ServerProcess, temporaryDirectory } from './server-process.js';

/** The installed program as a user's shell runs it, and a server for it. */

interface Outcome {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunningProgram {
  readonly stdin: Writable;
  readonly outcome: Promise<Outcome>;
}

export interface ScratchServer {
  /** For files of the test; goes away with the server. */
  readonly directory: string;
  /** Starts `tallystick ...args` against this server; its stdin stays open. */
  start(...args: string[]): RunningProgram;
  /** Runs `tallystick ...args` against this server to its end. */
  run(args: readonly string[], stdin?: string | Uint8Array): Promise<Outcome>;
  /** What the server shows as durable, by name. */
  values(names: readonly string[]): Promise<Record<string, string>>;
  /** How many counters there are. */
  counters(): Promise<number>;
  stop(): Promise<void>;
}

const LANES = [
  [0, 1, 2, 3, 4, 5, 6, 7],
  [8, 9, 10, 11, 12, 13, 14, 15],
];

/** A directory that is yet to be made to its end. Its secret, by which unique items are hashed, is always the same: what is estimated is no matter of chance. */
function directoryWithin(path: string): string {
  const dataDir = join(path, 'data');
  mkdirSync(dataDir);
  const manifest = { format: 2, state: 'creating', epoch: 1, lanes: LANES, secret: '5a'.repeat(16) } as const;
  writeFileSync(join(dataDir, 'tallystick.json'), manifestText(manifest));
  return dataDir;
}

export async function startScratchServer(config: object = {}): Promise<ScratchServer> {
  const directory = temporaryDirectory();
  const configFile = join(directory, 'tallystick.json');
  writeFileSync(configFile, JSON.stringify(config));
  const flags = ['--log-level', 'warn', '--config', configFile];
  const server = await ServerProcess.start({ dataDir: directoryWithin(directory), lanes: 2, partitions: 16, flags });
  const reader = await connect(server.url, { producer: false, timeout: TIMEOUT_MILLISECONDS });
  const start = (...args: string[]): RunningProgram => startProgram(args, { TALLYSTICK_SERVER: server.url });
  return {
    directory,
    start,
    run: (args, stdin = '') => {
      const program = start(...args);
      program.stdin.end(stdin);
      return program.outcome;
    },
    values: async (names) => {
      const readings = await reader.read(names);
      return Object.fromEntries(readings.map(({ name, value }) => [name, String(value)]));
    },
    counters: async () => {
      const lanes = await reader.stats();
      return lanes.flatMap(({ partitions }) => partitions).reduce((sum, { counters }) => sum + Number(counters), 0);
    },
    stop: async () => {
      await reader.close();
      await server.dispose();
      rmSync(directory, { recursive: true });
    },
  };
}

export function startProgram(
  args: readonly string[],
  env: Record<string, string> = {},
  program = PROGRAM,
): RunningProgram {
  const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, ...env } });
  // A program that has read enough ends, and what is written to it then fails: that is no concern of the writer.
  child.stdin.on('error', () => {});
  const status = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code));
  });
  const outcome = Promise.all([status, text(child.stdout), text(child.stderr)]);
  return { stdin: child.stdin, outcome: outcome.then(([status, out, err]) => ({ status, out, err })) };
}
