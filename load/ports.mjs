import { createServer } from 'node:net';

/** Below the range from which the system takes the ports of connections, so that a server can come back to its own after a crash. */
const FIRST = 15_000;
const LAST = 30_000;
/** The ports of one process: it listens on the first one as long as it lives, so that nobody else takes the others, even while a server is down. */
const SHARE = 100;
const SHARES = (LAST - FIRST) / SHARE;

/** The next port that was not given, and the end of the share that it is of. */
let next = 0;
let end = 0;
let last = Promise.resolve(0);

/** The first of `count` consecutive ports of the loopback that nobody uses. None is given twice. */
export function freePorts(count) {
  last = last.then(() => take(count));
  return last;
}

async function take(count) {
  for (;;) {
    if (next + count > end) await takeShare();
    const first = next;
    next += count;
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)));
    if (free.every(Boolean)) return first;
  }
}

async function takeShare() {
  for (let i = 0; i < SHARES; i++) {
    const lock = FIRST + ((process.pid + i) % SHARES) * SHARE;
    const server = await listening(lock);
    if (!server) continue;
    server.unref();
    next = lock + 1;
    end = lock + SHARE;
    return;
  }
  throw new Error(`All ports from ${FIRST} to ${LAST} are taken.`);
}

async function isFree(port) {
  const server = await listening(port);
  if (server) await new Promise((resolve) => server.close(resolve));
  return server !== undefined;
}

/** Undefined where another one listens there. */
function listening(port) {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', () => resolve(undefined));
    server.listen({ host: '127.0.0.1', port }, () => resolve(server));
  });
}
