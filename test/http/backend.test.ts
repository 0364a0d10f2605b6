import { describe, expect, it } from 'vitest';
import type { BatchOperation, Client, Reading } from '../../src/client/index.js';
import { TallystickError } from '../../src/errors.js';
import { Backend } from '../../src/http/backend.js';
import type { Ending } from '../../src/http/route.js';
import { ManualClock } from '../support/manual-clock.js';

/** A client that notes what it is asked, and answers when the test says. */
class FakeClient {
  readonly asked: { readonly what: readonly unknown[]; readonly options: unknown }[] = [];
  readonly settle: { resolve: (value: never) => void; reject: (error: TallystickError) => void }[] = [];
  isClosed = false;

  read(names: readonly string[], options: unknown): Promise<Reading<bigint>[]> {
    return this.#ask(names, options);
  }

  batch(operations: readonly BatchOperation[], options: unknown): Promise<never> {
    return this.#ask(operations, options);
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  #ask<T>(what: readonly unknown[], options: unknown): Promise<T> {
    this.asked.push({ what, options });
    return new Promise<T>((resolve, reject) => {
      this.settle.push({ resolve: resolve as never, reject });
    });
  }
}

async function opened() {
  const clock = new ManualClock();
  const clients: FakeClient[] = [];
  const connect = async () => clients[clients.push(new FakeClient()) - 1] as unknown as Client;
  const backend = await Backend.open(connect, clock);
  return { clock, clients, backend };
}
/** How a request ends of which is told what was found. */
const ended = <T>(ask: (tell: (found: T) => T, ending: Ending) => void): Promise<T> =>
  new Promise((resolve, reject) => {
    ask((found) => found, { answered: (told) => resolve(told as T), failed: reject });
  });
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('what is asked in one turn', () => {
  it('goes to the client as one call of its kind, and each gets its own answer', async () => {
    const { clock, clients, backend } = await opened();
    const { gatherer } = backend;
    const asked = [
      ended<bigint>((tell, ending) => gatherer.increment({ name: 'a', delta: 1 }, 'durable', tell, ending)),
      ended<bigint>((tell, ending) => gatherer.increment({ name: 'b', delta: 2 }, 'applied', tell, ending)),
      ended<bigint>((tell, ending) => gatherer.increment({ name: 'c', delta: 3 }, 'durable', tell, ending)),
      ended<Reading<bigint>>((tell, ending) => gatherer.read('a', 'durable', tell, ending)),
      ended<Reading<bigint>>((tell, ending) => gatherer.read('b', 'durable', tell, ending)),
    ];
    const [client] = clients as [FakeClient];
    expect(client.asked).toEqual([]);
    clock.settle();
    expect(client.asked).toEqual([
      {
        what: [
          { name: 'a', delta: 1 },
          { name: 'c', delta: 3 },
        ],
        options: { ack: 'durable' },
      },
      { what: [{ name: 'b', delta: 2 }], options: { ack: 'applied' } },
      { what: ['a', 'b'], options: { read: 'durable' } },
    ]);
    const error = new TallystickError('OVERFLOW');
    client.settle[0]?.resolve([
      { name: 'a', value: 5n },
      { name: 'c', error },
    ] as never);
    client.settle[1]?.resolve([{ name: 'b', value: 2n }] as never);
    client.settle[2]?.resolve([{ value: 1n }, { value: 2n }] as never);
    const settled = await Promise.allSettled(asked);
    expect(settled.map((each) => ('value' in each ? each.value : each.reason))).toEqual([
      5n,
      2n,
      error,
      { value: 1n },
      { value: 2n },
    ]);
  });

  it('is asked one by one where it was refused as a whole, and not where it may have happened', async () => {
    const { clock, clients, backend } = await opened();
    const { gatherer } = backend;
    const read = (name: string) =>
      ended<Reading<bigint>>((tell, ending) => gatherer.read(name, 'latest', tell, ending));
    const settled = Promise.allSettled(['a', 'bad'].map(read));
    clock.settle();
    const [client] = clients as [FakeClient];
    client.settle[0]?.reject(new TallystickError('NAME_INVALID'));
    await turn();
    expect(client.asked.slice(1).map(({ what }) => what)).toEqual([['a'], ['bad']]);
    client.settle[1]?.resolve([{ value: 1n }] as never);
    client.settle[2]?.reject(new TallystickError('NAME_INVALID'));
    expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);

    const lost = Promise.allSettled(['a', 'b'].map(read));
    clock.settle();
    client.settle[3]?.reject(new TallystickError('TIMEOUT'));
    expect((await lost).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(client.asked).toHaveLength(4);
  });

  it('fails alone where what was found cannot be told', async () => {
    const { clock, clients, backend } = await opened();
    const unsafe = new TallystickError('VALUE_UNSAFE');
    const refuse = () => {
      throw unsafe;
    };
    const asked = ['a', 'b'].map((name) =>
      ended<Reading<bigint>>((tell, ending) =>
        backend.gatherer.read(name, 'latest', name === 'a' ? refuse : tell, ending),
      ),
    );
    clock.settle();
    clients[0]?.settle[0]?.resolve([{ value: 1n }, { value: 2n }] as never);
    expect(await Promise.allSettled(asked)).toEqual([
      { status: 'rejected', reason: unsafe },
      { status: 'fulfilled', value: { value: 2n } },
    ]);
  });
});

describe('a client that is over', () => {
  it('is replaced once, and callers are told that the same call may succeed later', async () => {
    const { clients, backend } = await opened();
    const over = new TallystickError('CLOSED', 'PRODUCER_UNKNOWN', { outcome: 'unknown' });
    for (let i = 0; i < 3; i++) {
      expect(backend.failed(over)).toMatchObject({ code: 'CONNECTION_LOST', outcome: 'unknown', retryable: true });
    }
    await turn();
    expect(clients).toHaveLength(2);
    expect(backend.client).toBe(clients[1]);
    expect(backend.failed(new TallystickError('OVERLOADED')).code).toBe('OVERLOADED');
    await turn();
    expect(clients).toHaveLength(2);
  });

  it('is not replaced by one that nobody ends', async () => {
    const { clients, backend } = await opened();
    backend.failed(new TallystickError('CLOSED'));
    await backend.close();
    await turn();
    expect(clients.map(({ isClosed }) => isClosed)).toEqual([true, true]);
    backend.failed(new TallystickError('CLOSED'));
    expect(clients).toHaveLength(2);
  });
});
