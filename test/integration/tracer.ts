import { type ChildProcess, spawn } from 'node:child_process';
import { onTestFinished } from 'vitest';
import { runBounded } from '../support/bounded.js';

/** strace, attached to a server that runs: it records system calls, delays them or makes them fail. */

/** Attaches to a process that it did not start, which may be forbidden where strace exists, and ends that as soon as it is attached. */
const ATTACHING = `sleep 600 & strace -e trace=none -o /dev/null -p $! 2>&1 | { read -r line; echo "$line"; kill $!; cat; }`;

/** Why there is no strace here; undefined where there is one. */
export const straceMissing = whyMissing();
if (straceMissing) console.warn(`Tests with strace are skipped: ${straceMissing}`);

function whyMissing(): string | undefined {
  const { error, stdout } = runBounded('sh', ['-c', ATTACHING], { seconds: 60 });
  if (error) return error.message;
  return stdout.includes(' attached') ? undefined : stdout.trim();
}

/** Options that make every flush of pages hang. */
export const HUNG_FLUSH = ['-e', 'trace=fdatasync', '-e', 'inject=fdatasync:delay_enter=600s'];

export class Tracer {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = new Promise((resolve) => child.once('close', () => resolve()));
  }

  /** Attaches to all threads of a process; ends with it, with `detach`, or with the test that runs. */
  static async attach(pid: number, ...options: string[]): Promise<Tracer> {
    const child = spawn('strace', ['-f', ...options, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
    const tracer = new Tracer(child);
    onTestFinished(() => tracer.detach());
    let stderr = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr.on('data', (text) => {
        stderr += text;
        if (stderr.includes(' attached')) resolve();
      });
      child.once('error', reject);
      child.once('close', (code) => reject(new Error(`strace ended with ${code}: ${stderr}`)));
    });
    return tracer;
  }

  /** Lets the process go on as if nothing had been; a call that is being delayed goes on too. */
  async detach(): Promise<void> {
    // Told in order, strace would wait for the delay.
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Resolves when the process that it traces has ended and all that it did is recorded. */
  get ended(): Promise<void> {
    return this.#exited;
  }
}
