import { describe, expect, it } from 'vitest';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { EPOCH, LaneHarness, NAME, namesOf } from '../lane/lane-harness.js';
import { FLUSH_MILLISECONDS } from '../log/lane-bench.js';
import { codeOfEnd, framesOfFeed, tail, tailNames, taken, told } from './follower.js';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** TAIL, over a whole lane in memory. */

const named = (name: string, delta: bigint) => ({ operations: [{ key: { name }, delta }] });

describe('A feed of names', () => {
  it('tells the values first, then every change with its delta, and how far it is', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const [a, b] = namesOf(0, 2) as [string, string];
    client.add(0, named(a, 5n));
    await harness.flush();
    const feed = tailNames(client, 0, [a, b]);
    await harness.flush();
    expect(told(client, feed)).toEqual([`[${a}=5 ${b} absent.`]);
    client.add(0, named(a, 2n));
    await harness.flush();
    client.add(0, named(b, -1n));
    client.add(0, named(a, -7n));
    const last = client.add(0, named(a, 1n));
    await harness.flush();
    expect(told(client, feed).slice(1)).toEqual([`${a}=7(2).`, `${a}=1(-6) ${b}=-1(-1).`]);
    expect(framesOfFeed(client, feed).at(-1)?.position).toBe(client.added(last).position);
  });

  it('is told nothing before it is flushed, though others read it', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, {});
    await harness.flush();
    const feed = tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    client.add(0, {}, Flag.APPLIED);
    await harness.pass(0);
    const read = client.get(0, [NAME[0]], Flag.LATEST);
    const second = tailNames(client, 0, [NAME[0]]);
    await harness.pass(0);
    expect(client.got(read)).toEqual([2n]);
    expect(told(client, feed)).toEqual([`[${NAME[0]}=1.`]);
    expect(told(client, second)).toEqual([]);
    await harness.flush();
    expect(told(client, feed)).toEqual([`[${NAME[0]}=1.`, `${NAME[0]}=2(1).`]);
    expect(told(client, second)).toEqual([`[${NAME[0]}=2.`]);
  });

  it('tells values as of the end of their group, whatever was applied since', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feed = tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    client.add(0, {});
    await harness.pass(0); // its group is in flight
    client.add(0, {});
    await harness.flush();
    expect(told(client, feed).slice(1)).toEqual([`${NAME[0]}=1(1).`, `${NAME[0]}=2(1).`]);
  });

  it('tells of a counter that is deleted, and of the new one under its name', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, named(NAME[0], 9n));
    const feed = tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    client.delete(0, { reason: 'r' });
    await harness.flush();
    client.set(0, { value: 4n, reason: 'r' });
    await harness.flush();
    client.delete(0, { reason: 'r' });
    client.add(0, {});
    await harness.flush();
    expect(told(client, feed)).toEqual([
      `[${NAME[0]}=9.`,
      `${NAME[0]} gone(-9).`,
      `${NAME[0]}=4(4).`,
      `${NAME[0]}=1(-3).`,
    ]);
  });

  it('says nothing of what others change, nor of a change that came to nothing', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const [a, b] = namesOf(0, 2) as [string, string];
    client.add(0, named(a, 1n));
    const feed = tailNames(client, 0, [a]);
    await harness.flush();
    client.add(0, named(b, 1n));
    client.add(0, named(a, 3n));
    client.add(0, named(a, -3n));
    await harness.flush();
    expect(told(client, feed)).toEqual([`[${a}=1.`]);
  });

  it('ends when its reader wants that, with an answer to both requests', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const feed = tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    const end = tail(client, 0, { kind: 'end', feed });
    await harness.pass(0);
    client.add(0, {});
    await harness.flush();
    expect(client.answerOf(end).flags).toBe(0);
    const flags = client.answers.filter(({ requestId }) => requestId === feed).map((answer) => answer.flags);
    expect(flags).toEqual([Flag.MORE, 0]);
    expect(client.connection.inFlight).toBe(0);
  });

  it('refuses what is none, and a name of another partition', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const wrong = tailNames(client, 0, [NAME[1]]);
    const short = tailNames(client, 0, [NAME[0]], { interval: 9 });
    const long = tailNames(client, 0, [NAME[0]], { interval: 60_001 });
    const nothing = tailNames(client, 0, []);
    const greedy = tailNames(client, 0, [NAME[0]], { credit: 65 });
    const twice = tailNames(client, 0, [NAME[0], NAME[0]]);
    await harness.flush();
    expect([wrong, short, long, nothing, greedy, twice].map((id) => client.refusal(id))).toEqual([
      'WRONG_PARTITION refused',
      ...new Array(5).fill('BAD_REQUEST refused'),
    ]);
    expect(client.connection.inFlight).toBe(0);
  });

  it('counts as no request in flight, and ends with its connection', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    for (let i = 0; i < 1_024; i++) tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    expect(client.connection.inFlight).toBe(0);
    const another = tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    expect(client.refusal(another)).toBe('OVERLOADED refused');
    client.connection.destroy();
    await harness.flush();
    const other = await harness.client();
    other.add(0, {});
    const feed = tailNames(other, 0, [NAME[0]]);
    await harness.flush();
    expect(told(other, feed)).toEqual([`[${NAME[0]}=1.`]);
  });
});

describe('A feed that is resumed', () => {
  it('tells what has changed since, as one change a counter', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const first = tailNames(client, 0, [NAME[0]]);
    client.add(0, {});
    await harness.flush();
    const position = framesOfFeed(client, first).at(-1)?.position as number;
    client.connection.destroy();
    const writer = await harness.client();
    for (let i = 0; i < 3; i++) {
      writer.add(0, {});
      await harness.flush();
    }
    const feed = tailNames(writer, 0, [NAME[0]], { after: { epoch: EPOCH, sequence: position } });
    await harness.flush();
    writer.add(0, {});
    await harness.flush();
    expect(told(writer, feed)).toEqual([`${NAME[0]}=4(3).`, `${NAME[0]}=5(1).`]);
  });

  it('begins anew where that is not known: another epoch, a position that never was', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const [a, b] = namesOf(0, 2) as [string, string];
    client.add(0, named(a, 1n));
    await harness.flush();
    const first = tailNames(client, 0, [a]);
    client.add(0, named(a, 1n));
    client.add(0, named(b, 1n));
    await harness.flush();
    const sequence = framesOfFeed(client, first).at(-1)?.position as number;
    client.add(0, named(b, 1n));
    await harness.flush();
    const otherEpoch = tailNames(client, 0, [a], { after: { epoch: EPOCH + 1, sequence } });
    const ahead = tailNames(client, 0, [a], { after: { epoch: EPOCH, sequence: sequence + 9 } });
    await harness.flush();
    const snapshots = [otherEpoch, ahead].map((feed) => told(client, feed));
    expect(snapshots).toEqual([[`[${a}=2.`], [`[${a}=2.`]]);
  });
});

it('An item that counts once is told, and again it is not', async () => {
  const harness = await LaneHarness.start({ classes: [{ pattern: 'name*', once: MINUTE, onceItems: 10 }] });
  const client = await harness.client();
  const feed = tailNames(client, 0, [NAME[0]]);
  await harness.flush();
  client.once(0, 1);
  client.once(0, 1);
  await harness.flush();
  client.once(0, 2);
  await harness.flush();
  expect(told(client, feed)).toEqual([`[${NAME[0]} absent.`, `${NAME[0]}=1(1).`, `${NAME[0]}=2(1).`]);
});

describe('What time brings', () => {
  it('is told of a counter that ends, whoever meets it first', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const [a, b] = namesOf(0, 2) as [string, string];
    const lives = (name: string, milliseconds: number) =>
      client.add(0, { operations: [{ key: { name }, delta: 3n, expiry: { in: milliseconds } }] });
    lives(a, 10_000);
    lives(b, 20_000);
    await harness.flush();
    const feed = tailNames(client, 0, [a, b]);
    await harness.flush();
    harness.clock.stepWall(10_000);
    client.get(0, [a], Flag.LATEST);
    await harness.flush();
    harness.clock.stepWall(10_000);
    await harness.pass(MINUTE);
    expect(told(client, feed).filter((each) => each !== '.')).toEqual([
      `[${a}=3 ${b}=3.`,
      `${a} gone(-3).`,
      `${b} gone(-3).`,
    ]);
  });

  it('keeps no feed from going on or ending where it cannot be written; none begins', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, { operations: [{ key: { name: NAME[0] }, delta: 3n, expiry: { in: MINUTE } }] });
    await harness.flush();
    const feed = tailNames(client, 0, [NAME[0]], { credit: 1 });
    await harness.flush();
    harness.log.script.push(...Array.from({ length: 50 }, () => ({ kind: 'full' }) as const));
    client.add(1, {});
    await harness.flush();
    harness.clock.stepWall(MINUTE);
    const begin = tailNames(client, 0, [NAME[0]]);
    const more = taken(client, 0, feed);
    const end = tail(client, 0, { kind: 'end', feed });
    await harness.pass(FLUSH_MILLISECONDS);
    expect(client.refusal(begin)).toBe('STORAGE_FULL refused');
    expect([more, end].map((id) => codeOfEnd(client, id))).toEqual([undefined, undefined]);
    expect([more, end].map((id) => client.isAnswered(id))).toEqual([true, true]);
  });

  it('is told of a counter that begins a new day', async () => {
    const harness = await LaneHarness.start({ classes: [{ pattern: 'name*', rollover: 'daily', zone: 'UTC' }] });
    const client = await harness.client();
    client.add(0, named(NAME[0], 4n));
    await harness.flush();
    const feed = tailNames(client, 0, [NAME[0]]);
    await harness.flush();
    const now = harness.clock.wallMilliseconds();
    harness.clock.stepWall(DAY - (now % DAY));
    client.add(0, named(NAME[0], 1n));
    await harness.flush();
    expect(told(client, feed)).toEqual([`[${NAME[0]}=4.`, `${NAME[0]}=1(-3).`]);
  });
});

it('TAIL has the opcode that protocol.md gives it', () => {
  expect(Opcode.TAIL).toBe(19);
});
