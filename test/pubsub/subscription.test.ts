import { describe, expect, it } from 'vitest';
import type { Client } from '../../src/client/client.js';
import type { ConnectOptions } from '../../src/client/connect.js';
import { Position } from '../../src/client/position.js';
import { namesOf } from '../lane/lane-harness.js';
import { Bench, inShort } from './sdk-bench.js';

/** `client.subscribe`, with the SDK over whole lanes in memory. */

const [A, B] = [namesOf(0, 1)[0] as string, namesOf(1, 1)[0] as string];

describe('A subscription', () => {
  it('tells the values of names, wherever they are, and what becomes of them', async () => {
    const bench = await Bench.start();
    const { client } = bench;
    const until = <T>(promise: Promise<T>) => bench.until(promise);
    const read = (count: number) => bench.read(subscription, count);
    await until(client.increment(A, 3));
    const subscription = client.subscribe({ names: [A, B], interval: 0 });
    expect((await read(2)).sort()).toEqual([`${A}=3`, `${B} none 0`].sort());
    await until(client.increment(B, 2));
    await until(client.delete(A, { reason: 'r' }));
    expect(await read(2)).toEqual([`${B}=2(2)`, `${A} none -3`]);
    expect(subscription.position.sequenceOf(1)).toBeGreaterThan(0);
    subscription.close();
    expect(await read(1)).toEqual(['end']);
    await until(client.close());
  });

  it('goes through all counters, or those of a prefix, over one lane too', async () => {
    const bench = await Bench.start({ direct: false });
    const { client } = bench;
    const names = [...namesOf(0, 5), ...namesOf(1, 5)];
    await bench.until(client.batch(names.map((name) => ({ name, delta: 1 }))));
    const all = client.subscribe({ all: true });
    const some = client.subscribe({ prefix: 'name1' });
    expect((await bench.read(all, 10)).sort()).toEqual(names.map((name) => `${name}=1`).sort());
    const wanted = names.filter((name) => name.startsWith('name1'));
    expect((await bench.read(some, wanted.length)).sort()).toEqual(wanted.map((name) => `${name}=1`).sort());
    await bench.until(client.increment(wanted[0] as string));
    expect([await bench.read(all, 1), await bench.read(some, 1)]).toEqual([
      [`${wanted[0]}=2(1)`],
      [`${wanted[0]}=2(1)`],
    ]);
  });

  it('goes on over lost connections, and over a restart of the server', async () => {
    const bench = await Bench.start();
    const { client } = bench;
    const subscription = client.subscribe({ names: [A], interval: 0 });
    expect(await bench.read(subscription, 1)).toEqual([`${A} none 0`]);
    const other = await bench.connect();
    for (const pipe of bench.pipes.slice(0, 2)) pipe.destroy();
    await bench.until(other.increment(A, 2));
    await bench.until(other.increment(A, 3));
    expect(await bench.read(subscription, 1)).toEqual([`${A}=5(5)`]);
    for (const pipe of bench.pipes) pipe.isReading = false;
    const lost = other.increment(A, 10);
    await bench.world.pass(20);
    await bench.crash();
    await bench.until(lost);
    await bench.until(other.increment(A));
    expect(await bench.read(subscription, 2)).toEqual([`${A}=15(10)`, `${A}=16(1)`]);
  });

  it('says where a restart may have swallowed something that the log has no more', async () => {
    const bench = await Bench.start({}, [], false);
    const { client } = bench;
    const subscription = client.subscribe({ names: [A], interval: 0 });
    expect(await bench.read(subscription, 1)).toEqual([`${A} none 0`]);
    const other = await bench.connect();
    for (const pipe of bench.pipes) pipe.isReading = false;
    const lost = other.increment(A, 10);
    await bench.world.pass(20);
    await bench.crash();
    await bench.until(lost);
    expect(await bench.read(subscription, 2)).toEqual(['reset 0', `${A}=10`]);
    await bench.until(other.increment(A));
    expect(await bench.read(subscription, 1)).toEqual([`${A}=11(1)`]);
  });

  it('goes on from the position of another one, which may be written down', async () => {
    const bench = await Bench.start();
    const { client } = bench;
    const first = client.subscribe({ names: [A, B], interval: 0 });
    await bench.read(first, 2);
    const written = first.position.toString();
    first.close();
    await bench.until(client.increment(A, 4));
    const second = client.subscribe({ names: [A, B], interval: 0, from: Position.parse(written) });
    expect(await bench.read(second, 1)).toEqual([`${A}=4(4)`]);
    const tooOld = client.subscribe({
      names: [A],
      interval: 0,
      from: new Position(first.position.epoch, new Map([[0, 1]])),
    });
    expect(await bench.read(tooOld, 1)).toEqual([`${A}=4(4)`]);
    const elsewhere = client.subscribe({
      names: [A],
      interval: 0,
      from: new Position(first.position.epoch + 1, new Map([[0, 1]])),
    });
    expect(await bench.read(elsewhere, 2)).toEqual(['reset 0', `${A}=4`]);
  });

  it('gives one change for many where its reader is slow, and holds little meanwhile', async () => {
    const bench = await Bench.start();
    const { client } = bench;
    const subscription = client.subscribe({ names: [A], interval: 0 });
    await bench.read(subscription, 1);
    for (let i = 0; i < 100; i++) await bench.until(client.increment(A));
    const events = await bench.read(subscription, 17);
    expect(events.slice(0, 16)).toEqual(Array.from({ length: 16 }, (_, i) => `${A}=${i + 1}(1)`));
    expect(events.at(-1)).toBe(`${A}=100(84)`);
  });

  it('gathers changes for its interval', async () => {
    const bench = await Bench.start();
    const { client } = bench;
    const subscription = client.subscribe({ names: [A], interval: 1_000 });
    await bench.read(subscription, 1);
    for (let i = 0; i < 5; i++) await bench.until(client.increment(A));
    await bench.world.idle(1_000);
    await bench.until(client.increment(A));
    await bench.world.idle(1_000);
    expect(await bench.read(subscription, 2)).toEqual([`${A}=5(5)`, `${A}=6(1)`]);
  });

  it('calls a handler, one event at a time, and ends with what that throws', async () => {
    const bench = await Bench.start();
    const { client } = bench;
    const told: string[] = [];
    const subscription = client.subscribe({ names: [A], interval: 0 });
    const run = subscription.run({
      onChange: (update) => {
        told.push(inShort(update));
        if (update.value === 2n) throw new Error('enough');
      },
      onReset: (reset) => told.push(inShort(reset)),
    });
    const failed = run.catch((error: Error) => error.message);
    await bench.world.pass(20);
    const other = await bench.connect();
    for (const pipe of bench.pipes.slice(0, 2)) pipe.isReading = false;
    await bench.until(other.increment(A, 0));
    await bench.crash();
    await bench.world.idle(1_000);
    for (let i = 0; i < 3; i++) await bench.until(client.increment(A));
    expect(await bench.until(failed)).toBe('enough');
    expect(told).toEqual([`${A} none 0`, `${A}=0(0)`, `${A}=1(1)`, `${A}=2(1)`]);
    expect(await bench.read(subscription, 1)).toEqual(['end']);
  });

  it('refuses what is no subscription, and ends with its client', async () => {
    const bench = await Bench.start();
    const { client } = bench;
    const refused = (options: Parameters<Client['subscribe']>[0]) => () => client.subscribe(options);
    for (const options of [
      {},
      { names: [] },
      { names: [A], all: true as const },
      { all: true as const, interval: 5 },
    ]) {
      expect(refused(options)).toThrow(/^INVALID_ARGUMENT/);
    }
    expect(refused({ names: [''] })).toThrow(/^NAME_INVALID/);
    expect(refused({ prefix: 'x'.repeat(1_025) })).toThrow(/^NAME_INVALID/);
    const subscription = client.subscribe({ names: [A] });
    await bench.read(subscription, 1);
    const next = subscription.next().catch((error: Error) => error.message);
    await bench.until(client.close());
    expect(await bench.until(next)).toMatch(/^CLOSED/);
    expect(await bench.read(subscription, 1)).toEqual(['end']);
    expect(refused({ names: [A] })).toThrow(/^CLOSED/);
  });

  it('tells numbers where its client does, and ends at one that is unsafe', async () => {
    const bench = await Bench.start();
    const client = (await bench.connect({ values: 'number' } as ConnectOptions)) as unknown as Client<number>;
    const subscription = client.subscribe({ names: [A], interval: 0 });
    await bench.until(client.increment(A, 7));
    await bench.until(subscription.next());
    expect((await bench.until(subscription.next())).value).toMatchObject({ value: 7, delta: 7 });
    await bench.until(bench.client.set(A, 2n ** 60n, { reason: 'r' }));
    const failure = subscription.next().catch((error: Error) => error.message);
    expect(await bench.until(failure)).toMatch(/^VALUE_UNSAFE/);
  });
});
