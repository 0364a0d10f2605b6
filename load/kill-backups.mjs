import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect } from '../dist/client/index.js';
import { spawnChild } from './child.mjs';
import { historiesUnlikeValues } from './compare-histories.mjs';
import { flagsOf } from './fast-clock.mjs';
import { startServerUnder } from './server.mjs';

/** Backups beside a server that is killed, some of them killed themselves. */

/** Of what is compared, on a machine that does much else. */
const TIMEOUT_MILLISECONDS = 120_000;
const PROGRAM = fileURLToPath(new URL('../bin/tallystick.cjs', import.meta.url));

export class Backups {
  /** Those that ended well, or had their name already when they were killed. */
  complete = 0;
  /** Those that did not end well although nobody killed them. */
  failed = 0;
  /** Those that were running when the server was killed, and when they were killed with it. */
  interrupted = 0;
  killed = 0;
  /** Files that a killed one left without their name, and that `restore` took: they must be whole like the others. */
  acceptedParts = 0;
  /** Counters of restored directories whose history does not add up to their value. */
  wrongHistories = 0;
  #directory;
  #files = [];
  #running;
  #nodeFlags;
  #number = 0;

  /** @param clock of the servers: undefined, or that of fast-clock.mjs */
  constructor(directory, clock) {
    this.#directory = directory;
    this.#nodeFlags = clock ? flagsOf(clock) : [];
  }

  /** Starts one, and resolves when it has begun to write. */
  async begin(dataDir) {
    const path = join(this.#directory, `${this.#number++}.backup`);
    const child = spawnChild(process.execPath, [PROGRAM, 'backup', path, '--data-dir', dataDir], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
    let hasEnded = false;
    void ended.then(() => {
      hasEnded = true;
    });
    this.#running = { path, child, ended, isOver: () => hasEnded };
    while (!hasEnded && !existsSync(`${path}.part`)) await delay(1);
  }

  /** To be called when the server was killed. @param isKilled whether the backup is killed too */
  async end(isKilled) {
    const { path, child, ended, isOver } = this.#running;
    const wasRunning = !isOver();
    if (wasRunning) this.interrupted++;
    if (isKilled) child.kill('SIGKILL');
    const code = await ended;
    const isInterrupted = isKilled && wasRunning && code !== 0;
    if (isInterrupted) this.killed++;
    // The name comes last: a kill between it and the end leaves a whole file
    if (code === 0 || (isInterrupted && existsSync(path))) this.#files.push({ path, hasName: true });
    else if (!isInterrupted) this.failed++;
    else if (existsSync(`${path}.part`)) this.#files.push({ path: `${path}.part`, hasName: false });
  }

  /** What servers on restored directories say of themselves: one entry for each file that `restore` took. */
  async restoreAll(flags) {
    const stats = [];
    for (const { path, hasName } of this.#files) {
      const dataDir = `${path}.restored`;
      const isRestored = await restore(path, dataDir);
      if (hasName && isRestored) this.complete++;
      else if (hasName) this.failed++;
      else if (isRestored) this.acceptedParts++;
      if (!isRestored) continue;
      const server = await startServerUnder(this.#nodeFlags, dataDir, ...flags);
      const client = await connect(server.url, { producer: false, timeout: TIMEOUT_MILLISECONDS });
      stats.push(await client.stats({ stateHash: true }));
      this.wrongHistories += await historiesUnlikeValues(client);
      await client.close();
      server.child.kill('SIGKILL');
      await server.exited;
    }
    return stats;
  }
}

function restore(path, dataDir) {
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, 'restore', path, '--data-dir', dataDir, '--lanes', '2'], (error) =>
      resolve(!error),
    );
  });
}
