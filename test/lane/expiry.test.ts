import { describe, expect, test } from 'vitest';
import { ABSENT, OK } from '../../src/errors.js';
import { decodeExpireAnswer, decodeExpiryAnswer } from '../../src/protocol/expiry.js';
import { Flag } from '../../src/protocol/opcode.js';
import { FLUSH_MILLISECONDS } from '../log/lane-bench.js';
import { LaneHarness, NAME, namesOf } from './lane-harness.js';

const MINUTE = 60_000;
const ONE_MINUTE = { expiry: { in: MINUTE, ifNone: true } } as const;
/** A minute to live for counters of partition 0. */
const expiring = (names: readonly string[]) => ({
  operations: names.map((name) => ({ key: { name }, delta: 1n, ...ONE_MINUTE })),
});

describe('A counter that is past its time', () => {
  test('is met by no read and no write, and its end is in the log before them', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const end = harness.clock.wallMilliseconds() + MINUTE;
    client.add(0, expiring([NAME[0]]));
    await harness.flush();
    harness.clock.stepWall(end - 1 - harness.clock.wallMilliseconds());
    const before = client.get(0, [NAME[0]], Flag.LATEST);
    harness.clock.stepWall(1);
    const after = client.get(0, [NAME[0]], Flag.LATEST);
    const listed = client.list(0, Flag.LATEST);
    const added = client.add(0, {}, Flag.VALUES);
    await harness.flush();
    expect(client.got(before)).toEqual([1n]);
    expect(client.got(after)).toEqual([undefined]);
    expect(client.listed(listed).counters).toEqual([]);
    expect(client.added(added).values).toEqual([1n]);
    const sequence = harness.partitions.get(0)?.sequence;
    harness.crash(false);
    await harness.recover();
    expect(harness.partitions.get(0)?.sequence).toBe(sequence);
    const reader = await harness.client();
    const read = reader.get(0, [NAME[0]]);
    await harness.flush();
    expect(reader.got(read)).toEqual([1n]);
  });

  test('refuses nothing that comes as it ends, whenever the clock is read, nor a producer that is opened', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    // Each reading is a millisecond later.
    const { clock } = harness;
    const first = clock.wallMilliseconds();
    let readings = 0;
    clock.wallMilliseconds = () => first + readings++;
    for (let life = 1; life < 40; life++) {
      const expiry = { in: life } as const;
      client.add(0, { operations: namesOf(0, 8).map((name) => ({ key: { name }, delta: 1n, expiry })) });
      const ids = Array.from({ length: 10 }, () => client.add(0, {}, Flag.VALUES));
      const opened = await harness.client({ producer: { name: `late ${life}` } });
      const added = opened.add(0, {}, Flag.VALUES);
      await harness.flush();
      expect(ids.map((id) => client.added(id).values.length)).toEqual(ids.map(() => 1));
      expect(opened.added(added).values).toHaveLength(1);
    }
  });

  test('does not keep a producer from being opened', async () => {
    const harness = await LaneHarness.start();
    (await harness.client()).add(0, expiring([NAME[0]]));
    await harness.flush();
    harness.clock.stepWall(MINUTE);
    const client = await harness.client({ producer: { name: 'late' } });
    const id = client.add(0, {}, Flag.VALUES);
    await harness.flush();
    expect(client.added(id).values).toEqual([1n]);
  });

  test('is not read where its end cannot be written: the reason is told; of other partitions all goes on', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, expiring([NAME[0]]));
    await harness.flush();
    harness.log.script.push(...Array.from({ length: 50 }, () => ({ kind: 'full' }) as const));
    client.add(1, {});
    await harness.flush();
    harness.clock.stepWall(MINUTE);
    const read = client.get(0, [NAME[0]], Flag.LATEST);
    const other = client.get(1, [NAME[1]], Flag.LATEST);
    await harness.pass(FLUSH_MILLISECONDS);
    expect(client.refusal(read)).toBe('STORAGE_FULL refused');
    expect(client.got(other)).toEqual([1n]);
  });

  test('one of very many holds up no request for long: they are OVERLOADED until all have ended, which goes on without them', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const names = namesOf(0, 40_000);
    for (let at = 0; at < names.length; at += 5_000) {
      client.add(0, expiring(names.slice(at, at + 5_000)));
      await harness.flush();
    }
    harness.clock.stepWall(MINUTE);
    const refused = client.get(0, [NAME[0]], Flag.LATEST);
    const later = client.get(0, [NAME[0]], Flag.LATEST);
    await harness.pass(0);
    expect(client.refusal(refused)).toBe('OVERLOADED refused');
    expect(client.got(later)).toEqual([undefined]);
    expect(harness.partitions.get(0)?.statistics.counters).toBe(0);
  });

  test('goes without any request, with the tick of the minute and those behind it', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, expiring(namesOf(0, 9_000)));
    await harness.flush();
    harness.clock.stepWall(MINUTE);
    harness.clock.advance(MINUTE - 100);
    await harness.pass(200);
    expect(harness.partitions.get(0)?.statistics.counters).toBe(0);
  });
});

describe('EXPIRE', () => {
  test('answers when a counter ends now, EXPIRY the same, from memory and when it is flushed', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, {});
    const now = harness.clock.wallMilliseconds();
    const set = client.expire(0, { in: 5_000 });
    const absent = client.expire(1, { in: 5_000 });
    const read = client.expiry(0, namesOf(0, 2), Flag.LATEST);
    await harness.flush();
    expect(decodeExpireAnswer(client.answerOf(set).body)).toMatchObject({ status: OK, expires: now + 5_000 });
    expect(decodeExpireAnswer(client.answerOf(absent).body)).toMatchObject({ status: ABSENT, expires: 0 });
    expect(decodeExpiryAnswer(client.answerOf(read).body).found).toEqual([
      { status: OK, expires: now + 5_000 },
      { status: ABSENT },
    ]);
  });
});
