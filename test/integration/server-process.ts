import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, onTestFailed, onTestFinished } from 'vitest';
import { spawnChild } from '../../load/child.mjs';
import { freePorts } from '../../load/ports.mjs';

/** The real server as a process of its own. */

export const PROGRAM = fileURLToPath(new URL('../../bin/tallystick.cjs', import.meta.url));

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ServerOptions {
  /** Made and taken away by the test itself where it is given. */
  readonly dataDir?: string;
  readonly lanes?: number;
  readonly partitions?: number;
  /** Whether it speaks WebSocket too, on ports of their own. */
  readonly webSocket?: boolean;
  readonly flags?: readonly string[];
  /** Another `bin/tallystick.cjs`. */
  readonly program?: string;
  /** A command that runs the server as its only child. */
  readonly within?: readonly string[];
  /** Variables beside those of the test. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** A process that was told to serve; it may end without ever being ready. */
export class ServeRun {
  readonly child: ChildProcess;
  /** The line that it prints once it accepts; undefined where it ended before. */
  readonly ready: Promise<string | undefined>;
  readonly exited: Promise<Exit>;
  stderr = '';
  readonly #watchers = new Set<() => void>();

  constructor(flags: readonly string[], options: Pick<ServerOptions, 'program' | 'within' | 'environment'> = {}) {
    const { program = PROGRAM, within = [], environment } = options;
    const [command = '', ...args] = [...within, process.execPath, program, 'serve', ...flags];
    const child = spawnChild(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    this.child = child;
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    let stdout = '';
    this.ready = new Promise((resolve) => {
      child.stdout.on('data', (text) => {
        stdout += text;
        if (stdout.includes('\n')) resolve(stdout.slice(0, stdout.indexOf('\n')));
      });
      child.once('close', () => resolve(undefined));
    });
    child.stderr.on('data', (text) => {
      this.stderr += text;
      for (const watcher of this.#watchers) watcher();
    });
  }

  /** Resolves when stderr holds the text. */
  async logged(text: string): Promise<void> {
    if (this.stderr.includes(text)) return;
    await new Promise<void>((resolve) => {
      const watcher = () => {
        if (!this.stderr.includes(text)) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
    });
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.child.kill(signal);
    return this.exited;
  }
}

/** A server that serves, dies and comes back on the same ports with the same data. */
export class ServerProcess {
  readonly dataDir: string;
  readonly url: string;
  readonly port: number;
  readonly #options: ServerOptions;
  readonly #isOwnDirectory: boolean;
  #run: ServeRun | undefined;
  #stderr = '';

  private constructor(options: ServerOptions, port: number) {
    this.#options = options;
    this.#isOwnDirectory = options.dataDir === undefined;
    this.dataDir = options.dataDir ?? temporaryDirectory();
    this.port = port;
    this.url = `tallystick://127.0.0.1:${port}`;
  }

  static async start(options: ServerOptions = {}): Promise<ServerProcess> {
    const { lanes = 1, webSocket } = options;
    const server = new ServerProcess(options, await freePorts(webSocket ? 2 * lanes : lanes));
    await server.start();
    return server;
  }

  get run(): ServeRun {
    if (!this.#run) throw new Error('The server has not been started.');
    return this.#run;
  }

  /** Of the server itself. */
  get pid(): number {
    const pid = this.run.child.pid as number;
    return this.#options.within ? Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')) : pid;
  }

  /** What all of its processes wrote. */
  get stderr(): string {
    return this.#stderr + (this.#run?.stderr ?? '');
  }

  /** Of the first lane, where it speaks WebSocket. */
  get wsPort(): number {
    return this.port + (this.#options.lanes ?? 1);
  }

  /** The flags with which it is started. */
  get flags(): string[] {
    const { lanes = 1, partitions = 4, webSocket, flags = [] } = this.#options;
    const shape = ['--lanes', String(lanes), '--partitions', String(partitions)];
    const ports = ['--port', String(this.port), ...(webSocket ? ['--ws-port', String(this.wsPort)] : [])];
    return ['--data-dir', this.dataDir, ...ports, ...shape, ...flags];
  }

  async start(): Promise<void> {
    this.#stderr = this.stderr;
    this.#run = new ServeRun(this.flags, this.#options);
    if (await this.#run.ready) return;
    const { code, signal } = await this.#run.exited;
    throw new Error(`The server ended with ${code ?? signal} before it was ready:\n${this.#run.stderr}`);
  }

  kill(signal?: NodeJS.Signals): Promise<Exit> {
    return this.run.kill(signal);
  }

  /** The death of the process and its return. */
  async crash(): Promise<void> {
    await this.kill('SIGKILL');
    await this.start();
  }

  async dispose(): Promise<void> {
    await this.#run?.kill('SIGKILL');
    if (this.#isOwnDirectory) rmSync(this.dataDir, { recursive: true, force: true });
  }
}

/** A server for the test that runs; what it wrote to stderr is shown if the test fails. */
export async function serverOfTest(options: ServerOptions = {}): Promise<ServerProcess> {
  const server = await ServerProcess.start(options);
  onTestFailed(() => console.error(server.stderr));
  onTestFinished(() => server.dispose());
  return server;
}

/** One server for all tests of a file or a `describe`. Call the result within a test. */
export function sharedServer(options: ServerOptions = {}): () => ServerProcess {
  let server: ServerProcess | undefined;
  beforeAll(async () => {
    server = await ServerProcess.start(options);
  });
  afterAll(() => server?.dispose());
  return () => {
    const started = server as ServerProcess;
    onTestFailed(() => console.error(started.stderr));
    return started;
  };
}

/** A process for the test that runs which is expected not to come up; killed if it does. */
export async function refusedStart(flags: readonly string[]): Promise<{ exit: Exit; stderr: string }> {
  const run = new ServeRun(flags);
  onTestFinished(async () => {
    await run.kill('SIGKILL');
  });
  const ready = await run.ready;
  if (ready) throw new Error(`The server serves: ${ready}`);
  return { exit: await run.exited, stderr: run.stderr };
}

/** A directory for the test, or the file of tests, that takes it away. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'tallystick-test-'));
}

/** A directory that goes with the test that runs. */
export function directoryOfTest(): string {
  const directory = temporaryDirectory();
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
