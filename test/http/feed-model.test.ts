import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Position } from '../../src/client/position.js';
import { systemClock } from '../../src/clock.js';
import { ManualClock } from '../support/manual-clock.js';
import { EventSourceOfTests, type ServerEvent } from './event-source.js';
import { openHttp, sharedHttp } from './http-harness.js';

/** Clients of server-sent events that lose their connection, stop reading and come back: what they make of what they are told. */

const shared = sharedHttp();

/** What a client knows: of each counter its value as it was told last; and what of that comes again when it comes back. */
class Reader {
  readonly source: EventSourceOfTests;
  values = new Map<string, bigint>();
  changes = 0;
  resets = 0;
  cutOff = 0;
  /** Of each counter its partition. */
  readonly #partitions = new Map<string, number>();
  /** For each partition, how far the id goes, and the values as of there. */
  readonly #known = new Map<number, { sequence: number | undefined; values: ReadonlyMap<string, bigint> }>();
  #id = '';

  constructor(query: string, port = shared().http.port) {
    this.source = new EventSourceOfTests(`http://127.0.0.1:${port}/v1/feed?${query}`);
    onTestFinished(() => this.source.close());
  }

  /** Comes back: what was told behind the id is told again. */
  async reconnect(): Promise<void> {
    this.takeAll();
    this.source.close();
    for (const [name, partition] of this.#partitions) {
      const known = this.#known.get(partition)?.values.get(name);
      if (known === undefined) this.values.delete(name);
      else this.values.set(name, known);
    }
    const { statusCode } = await this.source.open();
    expect(statusCode).toBe(200);
  }

  takeAll(): void {
    for (const event of this.source.events.splice(0)) this.#take(event);
  }

  /** Reads until its values are these. */
  async until(values: ReadonlyMap<string, bigint>): Promise<void> {
    const isThere = () => values.size === this.values.size && [...values].every(([k, v]) => this.values.get(k) === v);
    this.takeAll();
    while (!isThere()) {
      const event = await this.source.next();
      if (event) this.#take(event);
      else await this.reconnect();
    }
  }

  #take({ event, data, id }: ServerEvent): void {
    // Of one that did not read for 10 s, as on a machine that has much else to do: it comes back then
    if (event === 'problem') {
      expect(data.code).toBe('TOO_SLOW');
      this.cutOff++;
      return;
    }
    if (event === 'reset') {
      this.resets++;
      for (const [name, partition] of this.#partitions) if (partition === data.partition) this.values.delete(name);
    } else {
      const { name, partition, exists } = data;
      const before = this.values.get(name) ?? 0n;
      this.#partitions.set(name, partition);
      if (event === 'change') {
        this.changes++;
        expect([name, before + BigInt(data.delta)]).toEqual([name, BigInt(data.value)]);
      }
      if (exists) this.values.set(name, BigInt(data.value));
      else this.values.delete(name);
    }
    if (id !== this.#id) this.#moved(id);
  }

  #moved(id: string): void {
    this.#id = id;
    const position = Position.parse(id);
    for (const partition of new Set(this.#partitions.values())) {
      const sequence = position.sequenceOf(partition);
      if (this.#known.get(partition)?.sequence === sequence) continue;
      const names = [...this.values].filter(([name]) => this.#partitions.get(name) === partition);
      this.#known.set(partition, { sequence, values: new Map(sequence === undefined ? [] : names) });
    }
  }
}

const step = (names: number) =>
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ name: fc.nat(names - 1), delta: fc.integer({ min: -9, max: 9 }) }) },
    { weight: 1, arbitrary: fc.record({ gone: fc.nat(names - 1) }) },
    { weight: 2, arbitrary: fc.record({ back: fc.nat(1) }) },
    { weight: 1, arbitrary: fc.record({ stop: fc.nat(1) }) },
  );

let run = 0;

it('What a client was told last is what is, and each change leads from what it knew to what it is told, whenever it came back', async () => {
  let changes = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step(5), { maxLength: 40 }), async (steps) => {
      const { http } = shared();
      const prefix = `model:${run++}:`;
      const truth = new Map<string, bigint>();
      const readers = [new Reader(`prefix=${prefix}&interval=0`), new Reader(`prefix=${prefix}&interval=10`)];
      for (const reader of readers) await reader.reconnect();
      for (const each of steps) {
        if ('delta' in each) {
          const name = `${prefix}${each.name}`;
          const { json } = await http.post('/v1/increment', { name, delta: each.delta });
          truth.set(name, BigInt(json.value));
        } else if ('gone' in each) {
          const name = `${prefix}${each.gone}`;
          await http.ask('DELETE', `/v1/counters/${name}?reason=gone`);
          truth.delete(name);
        } else if ('back' in each) await readers[each.back]?.reconnect();
        else readers[each.stop]?.source.response?.pause();
      }
      for (const reader of readers) {
        reader.source.response?.resume();
        await reader.until(truth);
        reader.source.close();
        // It goes on where it was: of what is kept nothing comes anew
        changes += reader.changes;
      }
    }),
    { numRuns: 20, seed: 11 },
  );
  expect(changes).toBeGreaterThan(100);
});

describe('A client that stops reading', () => {
  it('is told less, and what is in the end; the others are not kept waiting', async () => {
    const { http } = shared();
    const [counters, rounds] = [1_000, 60];
    const names = Array.from({ length: counters }, (_, i) => `stop:${i}:${'x'.repeat(200)}`);
    const operations = names.map((name) => ({ name }));
    const [slow, quick] = [new Reader('prefix=stop:&interval=0'), new Reader(`name=${names[0]}&interval=0`)];
    for (const reader of [slow, quick]) await reader.reconnect();
    slow.source.response?.pause();
    for (let round = 1; round <= rounds; round++) {
      expect((await http.post('/v1/increment', { operations, ack: 'applied' })).json.failed).toBe(0);
      await quick.until(new Map([[names[0] as string, BigInt(round)]]));
    }
    slow.source.response?.resume();
    await slow.until(new Map(names.map((name) => [name, BigInt(rounds)])));
    expect(slow.changes).toBeLessThan(0.8 * counters * rounds);
    expect(quick.resets).toBe(0);
  });

  it('for 10 s is cut off, told so when it reads again, and goes on from where it was', async () => {
    const timers = new ManualClock();
    const clock = { ...systemClock, setTimer: timers.setTimer.bind(timers) };
    const { http, listener, service } = await openHttp(shared().server, { clock });
    onTestFinished(() => listener.close());
    const names = Array.from({ length: 1_000 }, (_, i) => `cut:${i}:${'x'.repeat(200)}`);
    const operations = names.map((name) => ({ name }));
    const reader = new Reader('prefix=cut:&interval=0', http.port);
    await reader.reconnect();
    reader.source.response?.pause();
    let rounds = 0;
    // A beat waits always, and patience where there is no room
    while (timers.pendingTimers < 2) {
      expect((await http.post('/v1/increment', { operations })).json.failed).toBe(0);
      rounds++;
    }
    timers.advance(9_999);
    expect(service.streams.count).toBe(1);
    timers.advance(1);
    expect([service.streams.count, timers.pendingTimers]).toEqual([0, 0]);
    reader.source.response?.resume();
    await reader.until(new Map(names.map((name) => [name, BigInt(rounds)])));
    expect(reader.cutOff).toBe(1);
  });
});
