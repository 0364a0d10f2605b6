import { setTimeout as delay } from 'node:timers/promises';
import { flagsOf, timeOf } from './fast-clock.mjs';
import { spawnServerProcess, startServerUnder } from './server.mjs';

/** A server that is killed and started again on the same ports and directory. */
export class KilledServer {
  url;
  #dataDir;
  #flags;
  /** Those of Node: with a clock that runs as fast as `clock` says. */
  #nodeFlags;
  #clock;
  #running;

  /** @param clock undefined, or that of fast-clock.mjs */
  constructor(dataDir, flags, clock) {
    this.#dataDir = dataDir;
    this.#flags = flags;
    this.#clock = clock;
    this.#nodeFlags = clock ? flagsOf(clock) : [];
  }

  /** The server's time. */
  now = () => (this.#clock ? timeOf(this.#clock) : Date.now());

  get child() {
    return this.#running.child;
  }

  get exited() {
    return this.#running.exited;
  }

  /** Milliseconds that it took. */
  async start() {
    const before = performance.now();
    this.#running = await startServerUnder(this.#nodeFlags, this.#dataDir, ...this.#flags);
    this.url = this.#running.url;
    return performance.now() - before;
  }

  /** @param signal SIGTERM lets it end in order */
  async kill(signal = 'SIGKILL') {
    this.#running?.child.kill(signal);
    await this.#running?.exited;
  }

  /** Starts it and kills it within a while: whether that was before it served. */
  async killRecovery(longest) {
    const { child, exited } = spawnServerProcess(this.#dataDir, this.#flags, this.#nodeFlags);
    let isReady = false;
    child.stdout.once('data', () => {
      isReady = true;
    });
    await delay(Math.random() * longest);
    const wasReady = isReady;
    child.kill('SIGKILL');
    await exited;
    return !wasReady;
  }
}
