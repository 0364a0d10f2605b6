/** What listeners of every kind do: bind to a port, and end after the last connection. */

import type { AddressInfo, Server } from 'node:net';
import type { Listener } from './transport.js';

/** How many connections of a listener there are. */
export class OpenConnections {
  #count = 0;
  #lastEnded: () => void = () => {};

  get count(): number {
    return this.#count;
  }

  began(): void {
    this.#count++;
  }

  ended(): void {
    this.#count--;
    if (this.#count === 0) this.#lastEnded();
  }

  /** Resolves when there is none; call it once. */
  whenNone(): Promise<void> {
    return new Promise((resolve) => {
      this.#lastEnded = resolve;
      if (this.#count === 0) resolve();
    });
  }
}

/** Settles when it listens. Rejects with the system's error, as EADDRINUSE; an error later on is thrown. */
export async function listen(server: Server, open: OpenConnections, host: string, port: number): Promise<Listener> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = server.address() as AddressInfo;
  return {
    host: address.address,
    port: address.port,
    close: async () => {
      const ended = open.whenNone();
      const stopped = new Promise<void>((resolve, reject) => {
        server.close((error) => (error ? reject(error) : resolve()));
      });
      await Promise.all([ended, stopped]);
    },
  };
}
