import type { CliClient, Connect } from '../../src/cli/cli.js';
import type { StepOptions, ToldExpiry, UniqueCount } from '../../src/cli/sdk.js';
import { TallystickError } from '../../src/errors.js';
import { type FakeServer, FakeTarget } from './fake-target.js';

/** The SDK's client over a fake server, as far as the commands use it. */
export class FakeClient extends FakeTarget implements CliClient {
  closed = false;

  async increment(name: string, delta: bigint, options?: StepOptions): Promise<bigint> {
    if (options && Object.keys(options).length > 0) this.server.asked.push({ name, ...options });
    const [entry] = this.server.apply(this.partitionOf(name), [{ name, delta }], undefined);
    if (entry?.error !== undefined) throw entry.error;
    return this.server.values.get(name) as bigint;
  }

  decrement(name: string, delta: bigint, options?: StepOptions): Promise<bigint> {
    return this.increment(name, -delta, options);
  }

  async expire(name: string, expiry: Parameters<CliClient['expire']>[1]): Promise<ToldExpiry> {
    this.server.asked.push({ name, expiry });
    return this.expiry(name);
  }

  async expiry(name: string): Promise<ToldExpiry> {
    return { existed: this.server.values.has(name), expires: this.server.expiries.get(name) };
  }

  async set(
    name: string,
    value: bigint,
    { reason, expect }: { reason: string; expect?: bigint },
  ): Promise<{ previous: bigint }> {
    const previous = this.server.values.get(name) ?? 0n;
    if (expect !== undefined && expect !== previous) throw new TallystickError('EXPECTATION_FAILED');
    this.server.values.set(name, value);
    this.server.reasons.push(reason);
    return { previous };
  }

  async delete(
    name: string,
    { reason, expect }: { reason: string; expect?: bigint },
  ): Promise<{ previous: bigint; existed: boolean }> {
    const previous = this.server.values.get(name) ?? 0n;
    if (expect !== undefined && expect !== previous) throw new TallystickError('EXPECTATION_FAILED');
    this.server.reasons.push(reason);
    return { previous, existed: this.server.values.delete(name) };
  }

  async *list(
    prefix: string,
    { limit = Number.POSITIVE_INFINITY, read }: { limit?: number; read: string },
  ): AsyncGenerator<{ name: string; value: bigint }> {
    this.server.reads.push(read);
    for (const [name, value] of this.server.values) {
      if (!name.startsWith(prefix) || limit-- <= 0) continue;
      this.server.listed++;
      yield { name, value };
    }
  }

  async read(names: readonly string[], { read }: { read: string }): Promise<{ name: string; value: bigint }[]> {
    this.server.reads.push(read);
    return names.map((name) => ({ name, value: this.server.values.get(name) ?? 0n }));
  }

  uniques(names: readonly string[], options: { read: string; window?: string; union: true }): Promise<UniqueCount>;
  uniques(names: readonly string[], options: { read: string; window?: string }): Promise<UniqueCount[]>;
  async uniques(
    names: readonly string[],
    { read, union, window }: { read: string; union?: true; window?: string },
  ): Promise<UniqueCount | UniqueCount[]> {
    this.server.reads.push(read);
    const countOf = (names: readonly string[]): UniqueCount => {
      // the last item of each is all that was seen lately
      const lately = window === undefined ? 0 : -1;
      const { size } = new Set(names.flatMap((name) => [...(this.server.uniques.get(name) ?? [])].slice(lately)));
      const exact = size <= this.server.exactUniques;
      return { names, count: size, exact, standardError: exact ? 0 : 0.008_123_4 };
    };
    return union ? countOf(names) : names.map((name) => countOf([name]));
  }

  async window(
    names: readonly string[],
    length: string,
    { mode, read, gross }: { mode: string; read: string; gross: boolean },
  ): ReturnType<CliClient['window']> {
    this.server.reads.push(read);
    const error = mode === 'sliding' ? 2n : 0n;
    return names.map((name) => {
      const value = this.server.values.get(name);
      if (value === undefined) throw new TallystickError('NOT_TRACKED', `The window of "${name}".`);
      const sums = gross && { increases: value + 30n, decreases: 30n, gross: value + 60n };
      const rate = Number(value + (gross ? 60n : 0n)) / 60;
      return { name, value, ...sums, error, rate, from: 0, to: length === '1m' ? 60_000 : 3_600_000 };
    });
  }

  async series(name: string, options: Parameters<CliClient['series']>[1]): ReturnType<CliClient['series']> {
    this.server.reads.push(options.read);
    this.server.asked.push({ name, ...options });
    return { points: this.server.points };
  }

  async valueAt(name: string, time: string, { read }: { read: string }): ReturnType<CliClient['valueAt']> {
    this.server.reads.push(read);
    const at = Date.parse(time);
    const known = Math.ceil(at / 3_600_000) * 3_600_000;
    return { value: this.server.values.get(name) ?? 0n, at: known, exact: at === known, resolution: 'hour' };
  }

  /** Of whatever kind the events are that the test has. */
  async *subscribe(options: { readonly interval: number; readonly from?: unknown }): AsyncGenerator<never> {
    this.server.subscribed.push({ ...options, ...(options.from !== undefined && { from: String(options.from) }) });
    yield* this.server.events as never[];
  }

  async stats({ hot }: { hot?: number } = {}): Promise<unknown> {
    if (hot !== undefined) return this.server.hot.map((lane) => ({ hot: lane.slice(0, hot) }));
    return this.server.stats;
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

export interface Connection {
  readonly url: string;
  readonly options: Parameters<Connect>[1];
  readonly client: FakeClient;
}

/** A `connect` that remembers how it was called. */
export function fakeConnect(
  server: FakeServer,
  options: ConstructorParameters<typeof FakeTarget>[1] = {},
): { connect: Connect; connections: Connection[] } {
  const connections: Connection[] = [];
  const connect: Connect = async (url, given) => {
    const client = new FakeClient(server, options);
    connections.push({ url, options: given, client });
    return client;
  };
  return { connect, connections };
}
