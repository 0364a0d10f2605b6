import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { spawnChild } from './child.mjs';

const PROGRAM = fileURLToPath(new URL('../bin/tallystick.cjs', import.meta.url));

/** What the image and the unit of systemd set for the C library. */
const C_LIBRARY = { MALLOC_TRIM_THRESHOLD_: '131072', MALLOC_ARENA_MAX: '4' };

/** Starts `tallystick serve` as a process of its own; resolves with its process and url when it serves. */
export function startServerProcess(dataDir, ...flags) {
  return start([], dataDir, flags);
}

/** The same, with the flags of Node: --cpu-prof and such. */
export function startServerUnder(nodeFlags, dataDir, ...flags) {
  return start(nodeFlags, dataDir, flags);
}

/** Starts it and waits for nothing. */
export function spawnServerProcess(dataDir, flags, nodeFlags = []) {
  const own = ['--data-dir', dataDir, '--port', '0', '--log-level', 'warn'];
  const child = spawnChild(process.execPath, [...nodeFlags, PROGRAM, 'serve', ...own, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...C_LIBRARY, ...process.env },
  });
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  return { child, exited };
}

async function start(nodeFlags, dataDir, flags) {
  const { child, exited } = spawnServerProcess(dataDir, flags, nodeFlags);
  for await (const line of createInterface({ input: child.stdout })) {
    const ready = /^ready tcp=(\S+) http=(\S+)/.exec(line);
    // `http=-` where it speaks none
    if (ready) return { child, exited, url: `tallystick://${ready[1]}`, httpUrl: `http://${ready[2]}` };
  }
  throw new Error(`The server ended before it was ready: ${JSON.stringify(await exited)}`);
}

/** Runs `work(url, server)` against a server in a temporary directory, and takes both away afterwards; what `work` gives. */
export function withServer(work, ...flags) {
  return withServerUnder([], work, ...flags);
}

/** The same, with the flags of Node. */
export async function withServerUnder(nodeFlags, work, ...flags) {
  const dataDir = mkdtempSync(join(tmpdir(), 'tallystick-'));
  const server = await start(nodeFlags, dataDir, flags);
  try {
    return await work(server.url, { ...server, dataDir });
  } finally {
    server.child.kill('SIGTERM');
    await server.exited;
    rmSync(dataDir, { recursive: true, force: true });
  }
}
