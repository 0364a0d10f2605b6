import { createServer } from 'node:net';

const FIRST = 15_000;
const LAST = 30_000;
/** Processes that look for ports at a time look in different places: one that only tries a port is in the way of a server on it. */
const SHARE = 100;

/**
 * The first of `count` consecutive ports of the loopback that are free now. They lie below the range from which the system takes
 * the ports of connections, so that a server can come back to them after a crash.
 */
export async function freePorts(count) {
  for (;;) {
    const share = FIRST + (process.pid % ((LAST - FIRST) / SHARE)) * SHARE;
    const first = share + Math.floor(Math.random() * (SHARE - count));
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)));
    if (free.every(Boolean)) return first;
  }
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(true)));
  });
}
