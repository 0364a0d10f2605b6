import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '../../dist/client/index.js';
import { startServerProcess } from '../server.mjs';

/** Our server as the comparison drives it: what Redis in redis.mjs is. */
export class Tallystick {
  dataDir = mkdtempSync(join(tmpdir(), 'tallystick-versus-'));
  url;
  #server;
  #flags;

  constructor(flags) {
    this.#flags = flags;
  }

  static async start(...flags) {
    const tallystick = new Tallystick(flags);
    await tallystick.launch();
    return tallystick;
  }

  get pid() {
    return this.#server.child.pid;
  }

  /** Starts the process, also again after `kill`; resolves with the seconds until it answered about the name. */
  async launch(name = 'nothing') {
    const start = performance.now();
    this.#server = await startServerProcess(this.dataDir, ...this.#flags);
    this.url = this.#server.url;
    const client = await connect(this.url, { producer: false, timeout: 600_000 });
    await client.get(name);
    const seconds = (performance.now() - start) / 1_000;
    await client.close();
    return seconds;
  }

  async kill() {
    this.#server.child.kill('SIGKILL');
    await this.#server.exited;
  }

  async stop() {
    this.#server.child.kill('SIGTERM');
    await this.#server.exited;
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
