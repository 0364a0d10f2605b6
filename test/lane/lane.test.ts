import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { decodeAudit } from '../../src/lane/audit-record.js';
import { replayEntry } from '../../src/lane/recovery.js';
import { decodeStatsAnswer, encodeStatsRequest } from '../../src/protocol/control.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { decodeSyncAnswer } from '../../src/protocol/response.js';
import { Kernel } from '../kernel/fixture.js';
import { FLUSH_MILLISECONDS } from '../log/lane-bench.js';
import { EPOCH, LaneHarness, NAME } from './lane-harness.js';

const PRODUCER = { producer: { name: 'p' } };

describe('A durable write', () => {
  test('is answered when its group is on the disk, and not before', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const before = harness.disk.records.size;
    const id = client.add(0, {}, Flag.VALUES);
    await harness.pass(FLUSH_MILLISECONDS - 1);
    expect(client.isAnswered(id)).toBe(false);
    expect(harness.disk.records.size).toBe(before);
    await harness.pass(2);
    expect(client.added(id).values).toEqual([1n]);
    expect(harness.disk.records.size).toBe(before + 1);
    expect(client.added(id).flushed).toBe(client.added(id).position);
  });

  test('that the crash came before is not there; one that was answered is', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, {});
    await harness.flush();
    const lost = client.add(0, {});
    await harness.pass(1);
    harness.crash(false);
    expect(client.isAnswered(lost)).toBe(false);
    await harness.recover();
    const reader = await harness.client();
    const read = reader.get(0, [NAME[0]]);
    await harness.flush();
    expect(reader.got(read)).toEqual([1n]);
  });
});

describe('An applied write', () => {
  test('is answered at once and says how far the partition is flushed', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const id = client.add(0, {}, Flag.APPLIED);
    await harness.pass(0);
    const { position, flushed } = client.added(id);
    expect(flushed).toBe(position - 1);
  });
});

describe('A read', () => {
  test('that is durable waits until what it shows is flushed; LATEST does not', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, {}, Flag.APPLIED);
    const durable = client.get(0, [NAME[0]]);
    const latest = client.get(0, [NAME[0]], Flag.LATEST);
    await harness.pass(0);
    expect(client.got(latest)).toEqual([1n]);
    expect(client.isAnswered(durable)).toBe(false);
    await harness.flush();
    expect(client.got(durable)).toEqual([1n]);
  });

  test('after a position waits for it, also for another client\u2019s, and gives up in time', async () => {
    const harness = await LaneHarness.start();
    const writer = await harness.client();
    const reader = await harness.client();
    const sequence = (harness.partitions.get(0)?.sequence ?? 0) + 1;
    const read = reader.get(0, [NAME[0]], Flag.LATEST, { epoch: EPOCH, sequence });
    const never = reader.get(1, [NAME[1]], 0, { epoch: EPOCH, sequence: 1_000_000 });
    const elsewhere = reader.get(0, [NAME[0]], 0, { epoch: EPOCH + 1, sequence: 1 });
    await harness.pass(100);
    expect(reader.isAnswered(read)).toBe(false);
    expect(reader.refusal(elsewhere)).toBe('EPOCH_MISMATCH refused');
    writer.add(0, {});
    await harness.flush();
    expect(reader.got(read)).toEqual([1n]);
    await harness.pass(5_000);
    expect(reader.refusal(never)).toBe('POSITION_UNAVAILABLE refused');
  });
});

describe('A sequence', () => {
  test('that is repeated gets the first answer, also after a crash, and changes nothing', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client(PRODUCER);
    client.numbered(0, 1, 5n);
    await harness.flush();
    const incarnation = client.hello.producer?.partitions.map(({ partition, incarnation }) => ({
      partition,
      incarnation,
    }));
    client.numbered(0, 2, 7n);
    await harness.pass(1);
    harness.crash(true); // it was written, but nobody was told
    await harness.recover();
    const again = await harness.client({ ...PRODUCER, resume: incarnation ?? [] });
    expect(again.hello.producer?.partitions[0]?.next).toBe(3);
    const state = harness.stateHashes();
    const repeat = again.numbered(0, 2, 7n);
    await harness.flush();
    expect(again.answerOf(repeat).flags & Flag.REPEATED).toBe(Flag.REPEATED);
    expect(again.added(repeat).values).toEqual([12n]);
    expect(harness.stateHashes()).toEqual(state);
  });

  test('that is repeated while its first flush is under way waits for that flush', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client(PRODUCER);
    client.numbered(0, 1);
    await harness.pass(1);
    const repeat = client.numbered(0, 1);
    await harness.pass(0);
    expect(client.isAnswered(repeat)).toBe(false);
    await harness.flush();
    expect(client.added(repeat).values).toEqual([1n]);
  });

  test('whose answer is too long to be kept is told to be applied, and that too waits for its flush', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client(PRODUCER);
    const operations = Array.from({ length: 6_000 }, () => ({ key: { name: NAME[0] }, delta: 2n ** 49n }));
    const send = () => client.add(0, { sequence: { sequence: 1, unanswered: 0 }, operations }, Flag.VALUES);
    send();
    await harness.pass(1);
    const repeat = send();
    await harness.pass(1);
    expect(client.isAnswered(repeat)).toBe(false);
    await harness.flush();
    expect(client.refusal(repeat)).toBe('ALREADY_APPLIED applied');
  });

  test('with a gap, and one with another payload, is refused and changes nothing', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client(PRODUCER);
    client.numbered(0, 1);
    await harness.flush();
    const state = harness.stateHashes();
    const gap = client.numbered(0, 3);
    const conflict = client.numbered(0, 1, 2n);
    const unknown = (await harness.client()).numbered(0, 1);
    await harness.flush();
    expect(client.refusal(gap)).toBe('SEQUENCE_GAP refused');
    expect(client.refusal(conflict)).toBe('SEQUENCE_CONFLICT refused');
    expect(unknown).toBeGreaterThan(0);
    expect(harness.stateHashes()).toEqual(state);
  });

  test('of a session that was fenced is refused, also after a crash', async () => {
    const harness = await LaneHarness.start();
    const old = await harness.client(PRODUCER);
    const first = await harness.client(PRODUCER);
    const fenced = old.numbered(0, 1);
    const allowed = first.numbered(0, 1);
    await harness.flush();
    expect(old.refusal(fenced)).toBe('PRODUCER_FENCED refused');
    expect(first.added(allowed).values).toEqual([1n]);
    harness.crash(false);
    await harness.recover();
    const resume =
      old.hello.producer?.partitions.map(({ partition, incarnation }) => ({ partition, incarnation })) ?? [];
    await expect(harness.client({ ...PRODUCER, resume })).rejects.toMatchObject({ code: 'PRODUCER_FENCED' });
  });

  test('of a connection without a producer is refused', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const id = client.numbered(0, 1);
    await harness.flush();
    expect(client.refusal(id)).toBe('PRODUCER_UNKNOWN refused');
  });
});

describe('HELLO', () => {
  test('is answered when the new incarnation is on the disk', async () => {
    const harness = await LaneHarness.start();
    harness.log.script.push({ kind: 'silent', stored: false });
    await expect(harness.client(PRODUCER)).rejects.toThrow('not answered');
    await expect(harness.client()).resolves.toBeDefined();
  });

  test('gives back the cursor that the last batch carried', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client(PRODUCER);
    const cursor = Uint8Array.of(1, 2, 3);
    client.add(0, { sequence: { sequence: 1, unanswered: 0, cursor } });
    await harness.flush();
    harness.crash(false);
    await harness.recover();
    const next = await harness.client(PRODUCER);
    expect(next.hello.producer?.partitions.map((partition) => partition.cursor)).toEqual([cursor, undefined]);
  });
});

describe('SET', () => {
  test('answers the value before, minds what is expected, and is in the audit log', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const first = client.set(0, { value: 10n, reason: 'opening' });
    const missed = client.set(0, { value: 99n, expect: 9n, reason: 'wrong' });
    const second = client.set(0, { value: 11n, expect: 10n, reason: 'right' });
    await harness.flush();
    expect(client.wasSet(first)).toMatchObject({ status: 0, previous: 0n });
    expect(client.wasSet(missed)).toMatchObject({ status: 15, previous: 10n });
    expect(client.wasSet(second)).toMatchObject({ status: 0, previous: 10n });
    harness.crash(false);
    await harness.recover();
    const records: unknown[] = [];
    await harness.log.audit(({ value }) => records.push(decodeAudit(value)));
    expect(records).toMatchObject([
      { counter: NAME[0], value: '10', previous: '0', result: 'OK', reason: 'opening', client: 'test' },
      { counter: NAME[0], value: '99', previous: '10', expect: '9', result: 'EXPECTATION_FAILED', reason: 'wrong' },
      { counter: NAME[0], value: '11', previous: '10', expect: '10', result: 'OK', reason: 'right' },
    ]);
  });
});

describe('DELETE', () => {
  test('is answered when flushed, kept for its repeat, audited, and replayed to the same memory', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client(PRODUCER);
    client.numbered(0, 1, 7n);
    const request = { sequence: { sequence: 2, unanswered: 0 }, reason: 'closed' };
    const first = client.delete(0, request);
    await harness.pass(0);
    expect(client.isAnswered(first)).toBe(false);
    await harness.flush();
    expect(client.wasSet(first)).toMatchObject({ status: OK, previous: 7n });
    const none = client.delete(0, { reason: 'again', expect: 0n });
    const failed = client.delete(0, { reason: 'wrong', expect: 5n });
    await harness.flush();
    expect(client.wasSet(none)).toMatchObject({ status: ABSENT, previous: 0n });
    expect(client.wasSet(failed)).toMatchObject({ status: ERRORS.EXPECTATION_FAILED.status, previous: 0n });
    const records: ReturnType<typeof decodeAudit>[] = [];
    await harness.log.audit(({ value }) => records.push(decodeAudit(value)));
    const { time, remote, ...record } = records[0] as ReturnType<typeof decodeAudit>;
    const audited = { operation: 'delete', counter: NAME[0], previous: '7', result: 'OK' };
    expect(record).toEqual({ ...audited, reason: 'closed', client: 'test' });
    expect(records.slice(1)).toMatchObject([
      { result: 'ABSENT', previous: '0', expect: '0' },
      { result: 'EXPECTATION_FAILED', expect: '5' },
    ]);

    const operations = [{ key: { name: NAME[0] }, delta: 2n }];
    client.add(0, { sequence: { sequence: 3, unanswered: 1 }, operations });
    await harness.flush();
    const state = harness.stateHashes();
    harness.crash(false);
    await harness.recover();
    expect(harness.stateHashes()).toEqual(state);
    const resume = client.hello.producer?.partitions.map(({ partition, incarnation }) => ({ partition, incarnation }));
    const again = await harness.client({ ...PRODUCER, ...(resume && { resume }) });
    const repeat = again.delete(0, { ...request, sequence: { sequence: 2, unanswered: 1 } });
    const read = again.get(0, [NAME[0]]);
    await harness.flush();
    expect(again.answerOf(repeat).flags).toBe(Flag.REPEATED);
    expect(again.wasSet(repeat)).toMatchObject({ status: OK, previous: 7n });
    expect(again.got(read)).toEqual([2n]);
  });

  test('whose delta is another than it was stops the replay', () => {
    const partitions = new Map([[0, new Kernel().partition]]);
    const entry = (kind: number, sequence: number, body: Uint8Array) => ({
      kind,
      flags: 0,
      producer: 0,
      incarnation: 0,
      milliseconds: 0,
      partition: 0,
      sequence,
      body,
    });
    const gone = (effect: number) => Uint8Array.of(4, 97, 1, 114, effect, ...new Array(7).fill(effect && 0xff));
    replayEntry(partitions, entry(Opcode.ADD, 2, Uint8Array.of(1, 4, 97, 2)));
    replayEntry(partitions, entry(Opcode.DELETE, 3, gone(0xff)));
    replayEntry(partitions, entry(Opcode.ADD, 4, Uint8Array.of(1, 4, 97, 2)));
    expect(() => replayEntry(partitions, entry(Opcode.DELETE, 5, gone(0)))).toThrow('changes the counter by -1');
  });
});

describe('LIST', () => {
  test('shows what is applied at once, or what is flushed when it is', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, {});
    const [latest, durable] = [client.list(0, Flag.LATEST), client.list(0)];
    await harness.pass(0);
    expect([latest, durable].map((id) => client.isAnswered(id))).toEqual([true, false]);
    client.delete(0, { reason: 'meanwhile' });
    await harness.flush();
    const shown = { cursor: 0, counters: [{ name: NAME[0], value: 1n }] };
    const [now, then] = [client.listed(latest), client.listed(durable)];
    expect([now, then]).toMatchObject([shown, shown]);
    expect(now.flushed).toBeLessThan(now.position);
    expect(then.flushed).toBeGreaterThanOrEqual(then.position);
  });

  test('of a partition of another lane, or of nothing, is refused', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const bodyless = client.send(Opcode.LIST, 0, 0, () => {});
    const foreign = client.send(Opcode.LIST, 0, 5, () => {});
    await harness.flush();
    expect([bodyless, foreign].map((id) => client.refusal(id))).toEqual([
      'BAD_REQUEST refused',
      'WRONG_PARTITION refused',
    ]);
  });
});

describe('SYNC', () => {
  test('answers when all before it is flushed, with the positions', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, {}, Flag.APPLIED);
    const sync = client.send(Opcode.SYNC, 0, LANE, () => {});
    await harness.pass(0);
    expect(client.isAnswered(sync)).toBe(false);
    await harness.flush();
    expect(decodeSyncAnswer(client.answerOf(sync).body).positions).toEqual(
      [...harness.partitions].map(([partition, { sequence }]) => ({ partition, position: sequence })),
    );
  });
});

describe('STATS', () => {
  test('tells of each partition, and hashes its memory where it is asked to', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    client.add(0, {});
    await harness.flush();
    const plain = client.send(Opcode.STATS, 0, LANE, (writer) => encodeStatsRequest(writer));
    const hashed = client.send(Opcode.STATS, 0, LANE, (writer) => encodeStatsRequest(writer, { stateHash: true }));
    await harness.flush();
    const told = (id: number) => decodeStatsAnswer(client.answerOf(id).body).partitions;
    expect(told(plain).map(({ counters, stateHash }) => [counters, stateHash])).toEqual([
      [1, undefined],
      [0, undefined],
    ]);
    const hashes = harness.stateHashes().map((hash) => hash.toString(16).padStart(16, '0'));
    expect(told(hashed).map(({ stateHash }) => stateHash)).toEqual(hashes);
  });
});

describe('When the quota is spent', () => {
  test('what is new is refused before it is applied, a repeat is answered, reads go on, and time pays for it', async () => {
    const harness = await LaneHarness.start({ quotaPerSecond: 10 });
    const client = await harness.client(PRODUCER);
    // A second's worth is kept, and the batch that meets the end of it still goes
    const operations = Array.from({ length: 10 }, () => ({ key: { name: NAME[0] }, delta: 1n }));
    const first = client.add(0, { sequence: { sequence: 1, unanswered: 0 }, operations }, Flag.VALUES);
    const last = client.numbered(1, 1);
    await harness.flush();
    expect(client.added(first).values?.at(-1)).toBe(10n);
    expect(client.added(last).values).toEqual([1n]);

    const state = harness.stateHashes();
    const fresh = client.numbered(1, 2);
    const repeat = client.numbered(1, 1);
    const read = client.get(0, [NAME[0]]);
    await harness.flush();
    expect(client.refusal(fresh)).toBe('QUOTA_EXCEEDED refused');
    expect(client.added(repeat).values).toEqual([1n]);
    expect(client.got(read)).toEqual([10n]);
    expect(harness.stateHashes()).toEqual(state);

    await harness.pass(100);
    const later = client.numbered(1, 2);
    await harness.flush();
    expect(client.added(later).values).toEqual([2n]);
  });
});

describe('On a full disk', () => {
  test('writes are refused before they are applied, what met it is unknown, reads go on, and service resumes', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client(PRODUCER);
    client.numbered(1, 1);
    await harness.flush();
    harness.log.script.push({ kind: 'full' }, { kind: 'full' });
    const met = client.numbered(0, 1, 5n);
    await harness.flush();
    expect(client.refusal(met)).toBe('STORAGE_FULL unknown');

    const state = harness.stateHashes();
    const fresh = client.numbered(0, 2);
    const repeat = client.numbered(0, 1, 5n);
    const latest = client.get(0, [NAME[0]], Flag.LATEST);
    const flushed = client.get(1, [NAME[1]]);
    const unflushed = client.get(0, [NAME[0]]);
    const greeting = harness.client();
    await harness.flush();
    expect(client.refusal(fresh)).toBe('STORAGE_FULL refused');
    expect(client.refusal(repeat)).toBe('STORAGE_FULL unknown');
    expect(client.got(latest)).toEqual([5n]);
    expect(client.got(flushed)).toEqual([1n]);
    expect(client.refusal(unflushed)).toBe('STORAGE_FULL refused');
    await expect(greeting).resolves.toBeDefined();
    expect(harness.stateHashes()).toEqual(state);

    await harness.pass(1_100);
    const again = client.numbered(0, 1, 5n);
    await harness.flush();
    expect(client.added(again).values).toEqual([5n]);
    expect(harness.failures).toEqual([]);
    harness.crash(false);
    await harness.recover();
    const reader = await harness.client();
    const read = reader.get(0, [NAME[0]]);
    await harness.flush();
    expect(reader.got(read)).toEqual([5n]);
  });
});

describe('When storage fails', () => {
  test.each([true, false])('nobody is acknowledged any more (written: %s)', async (stored) => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    harness.log.script.push({ kind: 'failed', stored });
    const met = client.add(0, {});
    await harness.flush();
    const later = client.add(0, {}, Flag.APPLIED);
    await harness.flush();
    expect(client.refusal(met)).toBe('STORAGE_FAILED unknown');
    expect(client.refusal(later)).toBe('STORAGE_FAILED refused');
    expect(harness.failures.map(({ code }) => code)).toEqual(['STORAGE_FAILED']);
  });

  test('of another lane, this one acknowledges nothing either', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const durable = client.add(0, {});
    await harness.pass(1);
    harness.poisoned = true;
    const applied = client.add(1, {}, Flag.APPLIED);
    await harness.flush();
    expect(client.refusal(durable)).toBe('STORAGE_FAILED unknown');
    expect(client.refusal(applied)).toBe('STORAGE_FAILED unknown');
  });
});

describe('A group that is full', () => {
  test('holds the reading, and loses and reorders nothing', async () => {
    const harness = await LaneHarness.start({ groupBytes: 0 });
    const client = await harness.client(PRODUCER);
    const name = NAME[0];
    const operations = Array.from({ length: 10_000 }, () => ({ key: { name }, delta: 1n }));
    const batches = 60;
    for (let sequence = 1; sequence <= batches; sequence++) {
      client.add(0, { sequence: { sequence, unanswered: Math.min(sequence - 1, 900) }, operations });
    }
    expect(client.transport.isPaused).toBe(true);
    for (let i = 0; i < batches; i++) {
      await harness.flush();
      client.transport.deliver();
    }
    const read = client.get(0, [name]);
    await harness.flush();
    expect(client.got(read)).toEqual([BigInt(batches * 10_000)]);
    expect(client.answers.filter(({ opcode }) => opcode === Opcode.ERROR)).toEqual([]);
  });
});

describe('A lane that drains', () => {
  test('answers what it has, and refuses what comes', async () => {
    const harness = await LaneHarness.start();
    const client = await harness.client();
    const before = client.add(0, {});
    const drained = harness.lane.drain();
    const after = client.add(0, {});
    await harness.flush();
    await drained;
    expect(client.added(before).refused).toEqual([]);
    expect(client.refusal(after)).toBe('SHUTTING_DOWN refused');
  });
});

describe('Time', () => {
  test('passes in the log once a minute where something can expire, and replays the same', async () => {
    const harness = await LaneHarness.start();
    await harness.client({ producer: { id: new Uint8Array(16).fill(1) } });
    const before = harness.partitions.get(0)?.sequence ?? 0;
    harness.clock.advance(60_000);
    await harness.flush();
    expect(harness.partitions.get(0)?.sequence).toBe(before + 1);
    const state = harness.stateHashes();
    harness.crash(false);
    await harness.recover();
    expect(harness.stateHashes()).toEqual(state);
  });
});
