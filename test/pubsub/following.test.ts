import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FollowEvent, Following } from '../../src/client/following.js';
import type { WindowReading } from '../../src/client/windows.js';
import { namesOf } from '../lane/lane-harness.js';
import { Bench } from './sdk-bench.js';

/** Windows, rates and unique items that are followed, with the SDK over whole lanes in memory. */

const MINUTE = 60_000;
const CLASSES = [{ pattern: '*', windows: '1h', uniques: 100, uniquesWindows: 7 }] as const;
const NAMES = [...namesOf(0, 2), ...namesOf(1, 2)];
const [A, B] = NAMES as [string, string];

const start = () => Bench.start({}, CLASSES);

describe('A window that is followed', () => {
  it('is told first, and as it changes by what is written', async () => {
    const bench = await start();
    const { client } = bench;
    await bench.until(client.increment(A, 5));
    const windows = client.subscribe({ names: [A, B, A], window: '5m', interval: 100 });
    const next = async () => (await bench.until(windows.next())).value;
    expect(await next()).toMatchObject({ kind: 'value', name: A, value: 5n, error: 0n, durable: true });
    expect(await next()).toMatchObject({ kind: 'value', name: B, value: 0n });
    await bench.until(client.increment(B, -2));
    const told = await next();
    expect(told).toMatchObject({ kind: 'change', name: B, value: -2n, from: expect.any(Number) });
    expect((told?.to ?? 0) - (told?.from ?? 0)).toBe(5 * MINUTE);
    expect(await bench.until(client.window(B, '5m'))).toMatchObject({ value: -2n });
  });

  it('is told as it changes by time alone, down to nothing', async () => {
    const bench = await start();
    const { client, world } = bench;
    await bench.until(client.increment(A, 1_000));
    const windows = client.subscribe({ names: [A], window: '2m', interval: 10_000 });
    const told: bigint[] = [];
    const numbers: string[] = [];
    const reading = (async () => {
      for await (const { value, error } of windows) {
        told.push(value);
        numbers.push(`${value} ±${error}`);
      }
    })();
    await world.idle(5 * MINUTE, 1_000);
    windows.close();
    await reading;
    expect([told[0], told.at(-1)]).toEqual([1_000n, 0n]);
    expect(told.length).toBeGreaterThan(4);
    expect(told).toEqual([...told].sort((a, b) => Number(b - a)));
    expect(new Set(numbers).size).toBe(told.length);
  });

  it('goes on over a crash of the server, and longer than its calls wait', async () => {
    const bench = await start();
    const { client, world } = bench;
    await bench.until(client.increment(A, 1));
    const windows = client.subscribe({ names: [A], window: '1h', interval: 100 });
    await bench.until(windows.next());
    const next = windows.next();
    world.crash(() => true);
    await world.idle(25_000);
    await world.recover();
    const added = client.increment(A, 2);
    await world.idle(25_000);
    expect((await bench.until(next)).value).toMatchObject({ kind: 'change', value: 3n });
    await bench.until(added);
  });

  it('of a name that is not tracked, or for a time that is not known, ends with NOT_TRACKED', async () => {
    const bench = await start();
    const failure = (follow: { next(): Promise<unknown> }) =>
      bench.until(follow.next().catch(({ code }: { code: string }) => code));
    expect(await failure(bench.client.subscribe({ names: [A, B], window: '1d' }))).toBe('NOT_TRACKED');
    expect(await failure(bench.client.subscribe({ names: [A], uniques: '8d' }))).toBe('NOT_TRACKED');
    const plain = await Bench.start();
    for (const what of [{ window: '5m' }, { rate: '5m' }] as const) {
      const told = plain.client.subscribe({ names: [A], ...what }).next();
      expect(await plain.until(told.catch(({ code }: { code: string }) => code))).toBe('NOT_TRACKED');
    }
    const uniques = plain.client.subscribe({ names: [A], uniques: true }).next();
    expect(await plain.until(uniques.catch(({ code }: { code: string }) => code))).toBe('NOT_TRACKED');
  });

  it('ends with its client at once', async () => {
    const bench = await start();
    const windows = bench.client.subscribe({ names: [A], window: '5m', interval: 60_000 });
    await bench.until(windows.next());
    const next = windows.next().catch(({ code }: { code: string }) => code);
    await bench.until(bench.client.close());
    await bench.world.pass(0);
    expect(await next).toBe('CLOSED');
    expect(() => bench.client.subscribe({ names: [A], window: '5m' })).toThrow(/^CLOSED/);
  });

  it('refuses what is none', async () => {
    const { client } = await start();
    const refused = (options: object) => () => client.subscribe(options as { names: string[]; window: string });
    for (const options of [
      { names: [A], window: '5m', rate: '5m' },
      { names: [A], window: '5m', interval: 0 },
      { names: [], window: '5m' },
      { prefix: 'a', rate: '1m' },
      { all: true, uniques: true },
      { names: [A], window: 'long' },
      { names: [A], rate: 0 },
      { names: [A], uniques: '5m' },
    ]) {
      expect(refused(options)).toThrow(/^INVALID_ARGUMENT/);
    }
    expect(refused({ names: [''], window: '5m' })).toThrow(/^NAME_INVALID/);
  });
});

it('A rate that is followed is told where it is another one', async () => {
  const bench = await start();
  const { client } = bench;
  const rates = client.subscribe({ names: [A], rate: '1m', mode: 'sliding', interval: 50 });
  const next = async () => (await bench.until(rates.next())).value;
  expect(await next()).toMatchObject({ kind: 'value', rate: 0 });
  await bench.until(client.increment(A, 30));
  expect(await next()).toMatchObject({ kind: 'change', rate: 0.5 });
});

it('Numbers of unique items that are followed are told where they are others, of all time or lately', async () => {
  const bench = await start();
  const { client } = bench;
  const all = client.subscribe({ names: [A, B], uniques: true, interval: 50 });
  const today = client.subscribe({ names: [B], uniques: '7d', interval: 50 });
  const next = async (of: typeof all) => (await bench.until(of.next())).value;
  expect(await next(all)).toMatchObject({ kind: 'value', name: A, names: [A], count: 0, exact: true });
  expect(await next(all)).toMatchObject({ kind: 'value', name: B, count: 0 });
  expect(await next(today)).toMatchObject({ kind: 'value', name: B, count: 0 });
  await bench.until(client.see(A, ['x', 'y']));
  expect(await next(all)).toMatchObject({ kind: 'change', name: A, count: 2, exact: true, standardError: 0 });
  await bench.until(client.see(B, ['x']));
  expect(await next(today)).toMatchObject({ kind: 'change', name: B, count: 1 });
});

/** What happens to a reader, and what it reads. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ add: fc.integer({ min: -50, max: 50 }), name: fc.constantFrom(...NAMES) }) },
  { weight: 2, arbitrary: fc.record({ idle: fc.integer({ min: 1, max: 90_000 }) }) },
  { weight: 2, arbitrary: fc.record({ reads: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ crash: true as const }) },
);

/** Reads where it may, and keeps of each name what it was told last. */
class Reader {
  readonly values = new Map<string, bigint>();
  /** What it should not have been told. */
  readonly wrong: string[] = [];
  isReading = true;
  #isWaiting = false;
  readonly #windows: Following<WindowReading<bigint>>;

  constructor(windows: Following<WindowReading<bigint>>) {
    this.#windows = windows;
    this.#next();
  }

  go(isReading: boolean): void {
    this.isReading = isReading;
    if (isReading && !this.#isWaiting) this.#next();
  }

  #next(): void {
    this.#isWaiting = true;
    this.#windows.next().then(
      ({ value }) => {
        this.#isWaiting = false;
        if (value) this.#take(value);
        if (value && this.isReading) this.#next();
      },
      (error: Error) => this.wrong.push(error.message),
    );
  }

  #take({ kind, name, value }: FollowEvent<WindowReading<bigint>>): void {
    const told = this.values.get(name);
    if (kind !== (told === undefined ? 'value' : 'change') || value === told) this.wrong.push(`${kind} ${value}`);
    this.values.set(name, value);
  }
}

it('What a reader of windows was told last is what it would be told if it asked, whatever happened meanwhile', async () => {
  const steps = fc.array(step, { maxLength: 16 });
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const bench = await start();
      const { client, world } = bench;
      const follow = { window: '3m', mode: 'aligned', interval: 1_000 } as const;
      const windows = client.subscribe({ names: NAMES, ...follow });
      const reader = new Reader(windows);
      for (const each of steps) {
        if ('add' in each) await bench.until(client.increment(each.name, each.add));
        else if ('idle' in each) await world.idle(each.idle, Math.min(each.idle, 500));
        else if ('crash' in each) await bench.crash();
        else reader.go(each.reads);
      }
      reader.go(true);
      const ask = async () => {
        const readings = await bench.until(client.window(NAMES, '3m', { mode: 'aligned' }));
        return new Map(readings.map(({ name, value }) => [name, value]));
      };
      let asked = await ask();
      // A minute may begin between what was told and what is asked
      for (let i = 0; i < 3 && !NAMES.every((name) => asked.get(name) === reader.values.get(name)); i++) {
        await world.idle(2_000, 500);
        asked = await ask();
      }
      expect(new Map([...reader.values].sort())).toEqual(new Map([...asked].sort()));
      expect(reader.wrong).toEqual([]);
      windows.close();
    }),
    { numRuns: 40, seed: 7 },
  );
});
