import { describe, expect, test } from 'vitest';
import type { CounterClass } from '../../src/partition/classes.js';
import { decodeHistoryAnswer, encodeHistory, type HistoryQuestion } from '../../src/protocol/history.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { HostHarness } from './host-harness.js';
import { NAME, namesOf, type TestClient } from './lane-harness.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** When the clock of a harness begins: 13 minutes after an hour. */
const START = 1_700_000_000_000;
const HOUR_OF_START = Math.floor(START / HOUR) * HOUR;
const DAY_BEFORE = Math.floor(START / MINUTE) * MINUTE - DAY;
const ALL: CounterClass = { pattern: '*', history: true, lateness: 'any' };
const [A] = NAME;

/** A lane, and a client that asks for the history of counters of its first partition. */
class Asking {
  readonly harness: HostHarness;
  client!: TestClient;

  private constructor(harness: HostHarness) {
    this.harness = harness;
  }

  static async start(classes: readonly CounterClass[] = [ALL]): Promise<Asking> {
    const asking = new Asking(await HostHarness.start(classes));
    asking.client = await asking.harness.client();
    return asking;
  }

  async restart(stored = true): Promise<void> {
    this.harness.crash(stored);
    await this.harness.open();
    this.client = await this.harness.client();
  }

  /** OK, or the code of what refuses a request. */
  codeOf(id: number): string {
    const [code = ''] = this.client.refusal(id).split(' ');
    return code === 'none' ? 'OK' : code;
  }

  /** Adds to counters at a time of its own, and waits for the answer; its code where it is refused. */
  async add(names: readonly string[], delta: bigint, time?: number): Promise<string> {
    const operations = names.map((name) => ({ key: { name }, delta, ...(time !== undefined && { time }) }));
    const id = this.client.add(0, { operations });
    await this.harness.pass(50);
    return this.codeOf(id);
  }

  /** Lets counters that have a newer minute emit an older one. */
  async emit(names: readonly string[] = [A]): Promise<void> {
    await this.add(names, 1n);
    this.client.add(0, { operations: names.map((name) => ({ key: { name }, delta: 5n, time: DAY_BEFORE })) });
    await this.harness.pass(0);
  }

  async ask(
    name: string,
    question: HistoryQuestion,
    flags = 0,
  ): Promise<string | ReturnType<typeof decodeHistoryAnswer>> {
    const id = this.client.send(Opcode.HISTORY, flags, 0, (writer) =>
      encodeHistory(writer, { question, key: { name } }),
    );
    await this.harness.pass(50);
    const code = this.codeOf(id);
    return code === 'OK' ? decodeHistoryAnswer(this.client.answerOf(id).body) : code;
  }

  /** Sums by the minute of the hour of the start. */
  async sums(name = A, from = HOUR_OF_START, to = HOUR_OF_START + HOUR): Promise<Record<number, bigint> | string> {
    const answer = await this.ask(name, { kind: 'buckets', from, to });
    if (typeof answer === 'string') return answer;
    if (answer.found.kind !== 'buckets') throw new Error('No buckets.');
    return Object.fromEntries(answer.found.buckets.map(({ start, sum }) => [(start - from) / MINUTE, sum]));
  }

  get feed(): { readonly pendingItems: number; readonly committed: number } {
    return this.harness.host.describe().history as never;
  }
}

describe('What happened in an hour is in its history', () => {
  test('while the hour is open, when it is over, when that is stored, and after a restart from each', async () => {
    const asking = await Asking.start();
    await asking.add([A], 5n);
    await asking.harness.pass(2 * MINUTE);
    await asking.add([A], 7n);
    const expected = { 13: 5n, 15: 7n };
    expect(await asking.sums()).toEqual(expected);
    await asking.restart();
    expect(await asking.sums()).toEqual(expected);

    asking.harness.clock.stepWall(HOUR);
    await asking.add([A], 100n);
    expect(asking.feed).toMatchObject({ pendingItems: 1, committed: 0 });
    expect(await asking.sums()).toEqual(expected);
    await asking.restart(false);
    expect(asking.feed).toMatchObject({ pendingItems: 1, committed: 0 });
    expect(await asking.sums()).toEqual(expected);

    await asking.harness.pass(SECOND);
    expect(asking.feed).toMatchObject({ pendingItems: 0, committed: 1 });
    expect(await asking.sums()).toEqual(expected);
    await asking.restart();
    expect(asking.feed).toMatchObject({ pendingItems: 0, committed: 0 });
    expect(await asking.sums()).toEqual(expected);
  });

  test('also when no one writes any more: ticks close it', async () => {
    const asking = await Asking.start();
    await asking.add([A], 5n);
    asking.harness.clock.stepWall(HOUR);
    await asking.harness.idle(2 * MINUTE);
    expect(asking.feed).toMatchObject({ pendingItems: 0, committed: 1 });
    expect(await asking.sums()).toEqual({ 13: 5n });
  });

  test('also when its class goes, and comes again, of which it tells from then on', async () => {
    const asking = await Asking.start();
    await asking.add([A], 5n);
    asking.harness.classes = [];
    await asking.restart();
    await asking.harness.pass(SECOND);
    expect(asking.feed).toMatchObject({ pendingItems: 0, committed: 1 });
    expect(await asking.sums()).toBe('NOT_TRACKED');
    asking.harness.classes = [ALL];
    await asking.restart();
    expect(await asking.sums()).toBe('NOT_TRACKED');
    const since = START + MINUTE;
    expect(await asking.ask(A, { kind: 'buckets', from: since + MINUTE, to: since + HOUR })).toMatchObject({
      found: { buckets: [] },
    });
  });

  test('and of a counter that is gone, nothing', async () => {
    const asking = await Asking.start();
    await asking.emit();
    await asking.harness.pass(2 * SECOND);
    expect(asking.harness.historyDisk.rows.minute.size).toBe(1);
    asking.client.delete(0, { reason: 'r' });
    await asking.harness.pass(2 * SECOND);
    expect(asking.harness.historyDisk.rows.minute.size).toBe(0);
    await asking.add([A], 1n);
    expect(await asking.sums(A, HOUR_OF_START - DAY, HOUR_OF_START + HOUR)).toEqual({ [1_440 + 13]: 1n });
  });
});

describe('The value of an instant', () => {
  test('is what was counted before it', async () => {
    const asking = await Asking.start();
    await asking.add([A], 5n, START - 2 * HOUR);
    await asking.add([A], 7n, START - HOUR);
    await asking.add([A], 20n);
    const valueAt = async (at: number) => (await asking.ask(A, { kind: 'value', at })) as never;
    const minute = (time: number) => Math.floor(time / MINUTE) * MINUTE;
    expect(await valueAt(minute(START) + MINUTE)).toMatchObject({ found: { value: 32n } });
    expect(await valueAt(minute(START))).toMatchObject({ found: { value: 12n, at: minute(START) } });
    expect(await valueAt(minute(START - HOUR))).toMatchObject({ found: { value: 5n } });
    expect(await valueAt(0)).toMatchObject({ found: { value: 0n, at: 0 } });
    // Within a minute in which something happened, it is that of its end.
    expect(await valueAt(minute(START - HOUR) + 1)).toMatchObject({
      found: { value: 12n, at: minute(START - HOUR) + MINUTE, resolution: 'minute' },
    });
  });
});

describe('A question of history', () => {
  test('is refused where nothing is kept, and where it is none', async () => {
    const asking = await Asking.start([{ pattern: A, windows: '1d' }, ALL]);
    const [, other = ''] = namesOf(0, 2);
    expect(await asking.sums()).toBe('NOT_TRACKED');
    expect(await asking.sums(other)).toEqual({});
    expect(await asking.ask(other, { kind: 'buckets', from: 0, to: 2 ** 50 })).toMatchObject({
      found: { buckets: [] },
    });
    const id = asking.client.send(Opcode.HISTORY, 0, 0, (writer) => writer.u8(7));
    await asking.harness.pass(50);
    expect(asking.codeOf(id)).toBe('BAD_REQUEST');
  });

  test('is answered at once where asked to, else when what it shows is flushed', async () => {
    const asking = await Asking.start();
    asking.client.add(0, { operations: [{ key: { name: A }, delta: 5n }] }, Flag.APPLIED);
    const ask = (flags: number) =>
      asking.client.send(Opcode.HISTORY, flags, 0, (writer) =>
        encodeHistory(writer, { question: { kind: 'value', at: START + HOUR }, key: { name: A } }),
      );
    const ids = [ask(0), ask(Flag.LATEST)];
    await asking.harness.pass(0);
    expect(ids.map((id) => asking.client.isAnswered(id))).toEqual([false, true]);
    await asking.harness.pass(50);
    const [durable, latest] = ids.map((id) => decodeHistoryAnswer(asking.client.answerOf(id).body));
    expect([durable?.found, latest?.found]).toEqual([
      expect.objectContaining({ value: 5n }),
      expect.objectContaining({ value: 5n }),
    ]);
    expect(durable?.flushed).toBeGreaterThanOrEqual(durable?.position ?? 0);
    expect(latest?.flushed).toBeLessThan(latest?.position ?? 0);
  });

  test('that has too much of an answer says so', async () => {
    const asking = await Asking.start();
    for (let hour = 1; hour <= 335; hour++) {
      const operations = Array.from({ length: 60 }, (_, minute) => ({
        ...{ key: { name: A }, delta: 1n, time: HOUR_OF_START - hour * HOUR + minute * MINUTE },
      }));
      asking.client.add(0, { operations });
    }
    await asking.harness.pass(2 * SECOND);
    expect(await asking.sums(A, 0, HOUR_OF_START)).toBe('BAD_REQUEST');
    expect(await asking.ask(A, { kind: 'value', at: 0 })).toMatchObject({ found: { value: 0n, at: 0 } });
  });
});

describe('Many rows of one body', () => {
  const names = namesOf(0, 1_000);

  test('come in by many commits, and whatever the process dies within, each of them once', async () => {
    for (let commits = 1; commits <= 8; commits++) {
      const asking = await Asking.start();
      await asking.emit(names);
      while (asking.harness.history.transactions < commits) await asking.harness.pass(1);
      await asking.restart(commits % 2 === 0);
      await asking.harness.pass(2 * SECOND);
      expect(asking.harness.historyDisk.rows.minute.size).toBe(1_000);
      for (const name of [names[0], names[500], names[999]] as string[])
        expect(await asking.sums(name, DAY_BEFORE, DAY_BEFORE + MINUTE)).toEqual({ 0: 5n });
    }
  });
});

describe('Storage of the history', () => {
  test('without room refuses what is new before it is applied, answers reads, and goes on when there is room', async () => {
    const asking = await Asking.start();
    await asking.emit();
    asking.harness.history.script.push({ kind: 'full' }, { kind: 'full' });
    await asking.harness.pass(1_100);
    expect(await asking.add([A], 1n)).toBe('STORAGE_FULL');
    expect(await asking.sums(A, DAY_BEFORE, DAY_BEFORE + HOUR)).toEqual({ 0: 5n });
    await asking.harness.pass(2 * SECOND);
    expect(asking.feed).toMatchObject({ pendingItems: 0, committed: 1 });
    expect(await asking.add([A], 1n)).toBe('OK');
    expect(asking.harness.failures).toEqual([]);
  });

  test.each([
    ['fails', { kind: 'failed', stored: true }],
    ['never answers', { kind: 'silent', stored: false }],
  ] as const)('that %s ends the server', async (_, fault) => {
    const asking = await Asking.start();
    asking.harness.history.script.push(fault);
    await asking.emit();
    await asking.harness.idle(12 * SECOND);
    expect(asking.harness.failures).toMatchObject([{ code: 'STORAGE_FAILED' }]);
    expect(await asking.add([A], 1n)).toBe('STORAGE_FAILED');
  });

  test('that is ahead of the log stops the start: the log has lost what it had flushed', async () => {
    const asking = await Asking.start();
    await asking.emit();
    await asking.harness.pass(2 * SECOND);
    const behind = await HostHarness.start([ALL]);
    behind.crash(false);
    for (const [partition, state] of asking.harness.historyDisk.states) behind.historyDisk.states.set(partition, state);
    await expect(behind.open()).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
  });
});
