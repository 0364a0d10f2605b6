import { describe, expect, test } from 'vitest';
import {
  decodeAllStats,
  decodeStatsAnswer,
  encodeStatsRequest,
  type HelloAnswer,
  type StatsAnswer,
} from '../../src/protocol/control.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { encodeGet } from '../../src/protocol/request.js';
import { decodeSyncAnswer } from '../../src/protocol/response.js';
import { FLUSH_MILLISECONDS } from '../log/lane-bench.js';
import { NAME, type TestClient } from './lane-harness.js';
import { MeshHarness } from './mesh-harness.js';

const PRODUCER = { producer: { name: 'p' } };
const ALL = [0, 1];

const incarnations = ({ producer }: HelloAnswer) =>
  (producer?.partitions ?? []).map(({ partition, incarnation }) => ({ partition, incarnation }));

async function stats(client: TestClient, harness: MeshHarness): Promise<StatsAnswer[]> {
  const id = client.send(Opcode.STATS, 0, LANE, (writer) => encodeStatsRequest(writer, { stateHash: true }));
  await harness.pass(2);
  return decodeAllStats(client.answerOf(id).body);
}

const meshOf = (answer: StatsAnswer | undefined) =>
  answer?.['mesh'] as Record<'served' | 'held' | 'requesters', number>;

describe('HELLO of a client that reaches one lane', () => {
  test('opens the producer in all partitions, and is answered when all lanes have flushed that', async () => {
    const harness = await MeshHarness.start();
    const client = await harness.indirect(0, PRODUCER);
    expect(client.hello.lane).toBe(0);
    expect(client.hello.producer?.partitions.map(({ partition, next }) => [partition, next])).toEqual([
      [0, 1],
      [1, 1],
    ]);
    const ids = ALL.map((partition) => client.numbered(partition, 1));
    await harness.flush();
    for (const id of ids) expect(client.added(id).values).toEqual([1n]);

    harness.lane(1).log.script.push({ kind: 'silent', stored: false });
    await expect(harness.indirect(0, PRODUCER)).rejects.toThrow('not answered');
  });

  test('resumes it in all, and fences it in all', async () => {
    const harness = await MeshHarness.start();
    const first = await harness.indirect(0, PRODUCER);
    const cursor = Uint8Array.of(9);
    first.add(1, { sequence: { sequence: 1, unanswered: 0, cursor } });
    await harness.flush();
    const resumed = await harness.indirect(1, { ...PRODUCER, resume: incarnations(first.hello) });
    expect(resumed.hello.producer?.partitions.map(({ next, cursor }) => [next, cursor])).toEqual([
      [1, undefined],
      [2, cursor],
    ]);
    await harness.indirect(1, PRODUCER);
    const fenced = ALL.map((partition) => resumed.numbered(partition, 2));
    await harness.flush();
    for (const id of fenced) expect(resumed.refusal(id)).toBe('PRODUCER_FENCED refused');
  });

  test('is refused where one lane refuses, and may be said again', async () => {
    const harness = await MeshHarness.start();
    const first = await harness.indirect(0, PRODUCER);
    // a newer session, in lane 1 alone
    await harness.direct(1, PRODUCER);
    const client = harness.stranger(0);
    const fenced = client.sayHello({ ...PRODUCER, direct: false, resume: incarnations(first.hello) });
    await harness.flush();
    expect(client.refusal(fenced)).toBe('PRODUCER_FENCED refused');
    const lacking = client.sayHello({ ...PRODUCER, direct: false, resume: incarnations(first.hello).slice(0, 1) });
    await harness.flush();
    expect(client.refusal(lacking)).toBe('BAD_REQUEST refused');
    await harness.direct(0, PRODUCER);
    const twice = client.sayHello({ ...PRODUCER, direct: false, resume: incarnations(first.hello) });
    await harness.flush();
    expect(client.refusal(twice)).toBe('PRODUCER_FENCED refused');
    const opening = client.sayHello({ ...PRODUCER, direct: false });
    await harness.flush();
    expect(client.answerOf(opening).opcode).toBe(Opcode.HELLO | 128);
    const write = client.numbered(1, 1);
    await harness.flush();
    expect(client.added(write).values).toEqual([1n]);
  });
});

describe('SYNC of a client that reaches one lane', () => {
  test('is answered when all lanes have flushed what it sent before', async () => {
    const harness = await MeshHarness.start();
    const client = await harness.indirect(0);
    client.add(1, {}, Flag.APPLIED);
    const sync = client.send(Opcode.SYNC, 0, LANE, () => {});
    await harness.pass(FLUSH_MILLISECONDS - 1);
    expect(client.isAnswered(sync)).toBe(false);
    await harness.flush();
    const { positions } = decodeSyncAnswer(client.answerOf(sync).body);
    expect(positions.map(({ partition }) => partition)).toEqual(ALL);
    const told = (await stats(client, harness)).flatMap(({ partitions }) => partitions);
    expect(positions.map(({ position }) => position)).toEqual(told.map(({ sequence }) => sequence));
    expect(told.map(({ counters }) => counters)).toEqual([0, 1]);
  });
});

describe('STATS', () => {
  test('tells of one lane, or of all to a client that reaches all through one', async () => {
    const harness = await MeshHarness.start();
    const owners = [await harness.direct(0), await harness.direct(1)];
    const ask = async (client: TestClient) => {
      const id = client.send(Opcode.STATS, 0, LANE, (writer) => encodeStatsRequest(writer, { stateHash: true }));
      await harness.pass(2);
      return client.answerOf(id).body;
    };
    const own = [
      decodeStatsAnswer(await ask(owners[0] as TestClient)),
      decodeStatsAnswer(await ask(owners[1] as TestClient)),
    ];
    expect(own.map(({ lane }) => lane)).toEqual(ALL);
    const all = decodeAllStats(await ask(await harness.indirect(1)));
    expect(all.map(({ lane, partitions }) => [lane, partitions])).toEqual(
      own.map(({ lane, partitions }) => [lane, partitions]),
    );
  });
});

describe('What is forwarded', () => {
  test('wakes a lane that sleeps once, however much it is', async () => {
    const harness = await MeshHarness.start();
    const client = await harness.indirect(0);
    await harness.pass(5);
    const before = harness.lane(1).woken;
    const ids = Array.from({ length: 50 }, () => client.add(1, {}));
    expect(harness.lane(1).woken - before).toBe(1);
    await harness.flush();
    for (const id of ids) expect(client.added(id).refused).toEqual([]);
  });

  test('is held where the ring is full, and the client is not read on; nothing is lost or reordered', async () => {
    const harness = await MeshHarness.start(4096);
    const client = await harness.indirect(0, PRODUCER);
    const operations = Array.from({ length: 10_000 }, () => ({ key: { name: NAME[1] }, delta: 1n }));
    const batches = 60;
    for (let sequence = 1; sequence <= batches; sequence++) {
      client.add(1, { sequence: { sequence, unanswered: Math.min(sequence - 1, 900) }, operations });
      expect(client.transport.isPaused).toBe(true);
    }
    for (let i = 0; i < batches; i++) {
      await harness.flush();
      client.transport.deliver();
    }
    const read = client.get(1, [NAME[1]]);
    await harness.flush();
    expect(client.got(read)).toEqual([BigInt(batches * 10_000)]);
    expect(client.answers.filter(({ opcode }) => opcode === Opcode.ERROR)).toEqual([]);
    const [first] = await stats(client, harness);
    expect(meshOf(first).held).toBeGreaterThan(batches / 2);
  });

  test('holds up no client that reaches the lane directly', async () => {
    const harness = await MeshHarness.start(64);
    const direct = await harness.direct(0);
    const client = await harness.indirect(0);
    harness.lane(1).isBusy = true;
    for (let i = 0; i < 20; i++) client.add(1, {});
    const own = direct.add(0, {});
    await harness.flush();
    expect(client.transport.isPaused).toBe(true);
    expect(direct.added(own).refused).toEqual([]);
    harness.lane(1).isBusy = false;
    for (let i = 0; i < 20; i++) {
      await harness.flush();
      client.transport.deliver();
    }
    expect(client.answers.filter(({ opcode }) => opcode === Opcode.ADD + 128)).toHaveLength(20);
  });

  test('waits for room in the group of its owner, as what the owner is asked itself', async () => {
    const harness = await MeshHarness.start(1_048_576);
    const client = await harness.indirect(0, PRODUCER);
    // bodies of 200 kB, of which a group takes about 20, while the device is busy with the one before
    const operations = Array.from({ length: 10_000 }, (_, i) => ({
      key: { name: `{${NAME[1]}}${i}`.padEnd(18) },
      delta: 1n,
    }));
    for (let sequence = 1; sequence <= 60; sequence++) {
      client.add(1, { sequence: { sequence, unanswered: Math.min(sequence - 1, 900) }, operations });
    }
    for (let i = 0; i < 2_000; i++) {
      await harness.pass(i % 40 === 0 ? 1 : 0);
      client.transport.deliver();
    }
    expect(client.answers.filter(({ opcode }) => opcode === Opcode.ADD + 128)).toHaveLength(60);
    expect(client.answers.filter(({ opcode }) => opcode === Opcode.ERROR)).toEqual([]);
  });

  test('is not taken from a lane that does not take the answers', async () => {
    const harness = await MeshHarness.start({ requests: 2 ** 23, answers: 4096 });
    const owner = await harness.direct(1);
    const names = Array.from({ length: 2_000 }, (_, i) => `{${NAME[1]}}${i}`);
    owner.add(1, { operations: names.map((name) => ({ key: { name }, delta: 2n ** 62n })) });
    const client = await harness.indirect(0);
    harness.lane(0).isBusy = true;
    // answers of 22 kB to requests of 30 kB
    for (let i = 0; i < 200; i++)
      client.send(Opcode.GET, Flag.LATEST, 1, (writer) => encodeGet(writer, { keys: names.map((name) => ({ name })) }));
    await harness.pass(20);
    const [told] = await stats(owner, harness);
    expect(meshOf(told).served).toBeLessThan(80);
    harness.lane(0).isBusy = false;
    for (let i = 0; i < 300; i++) {
      await harness.pass(1);
      client.transport.deliver();
    }
    expect(client.answers.filter(({ opcode }) => opcode === Opcode.GET + 128)).toHaveLength(200);
  });
});

describe('The answer to a client that has gone', () => {
  test('is dropped, and goes to no other one', async () => {
    const harness = await MeshHarness.start();
    const owner = await harness.direct(0);
    const requesters = async () => meshOf((await stats(owner, harness))[0]).requesters;
    const gone = await harness.indirect(0);
    gone.add(1, {});
    expect(await requesters()).toBe(1);
    gone.add(1, {});
    gone.transport.destroy();
    expect(await requesters()).toBe(0);
    const client = await harness.indirect(0);
    const write = client.add(1, {}, Flag.VALUES);
    await harness.flush();
    expect(client.added(write).values).toEqual([3n]);
    expect(client.answers).toHaveLength(2);
  });
});

describe('When storage fails', () => {
  test('of the owner, nothing that was forwarded is acknowledged', async () => {
    const harness = await MeshHarness.start();
    const client = await harness.indirect(0);
    harness.lane(1).log.script.push({ kind: 'failed', stored: true });
    const met = client.add(1, {});
    await harness.flush();
    const later = client.add(1, {}, Flag.APPLIED);
    await harness.flush();
    expect(client.refusal(met)).toBe('STORAGE_FAILED unknown');
    expect(client.refusal(later)).toBe('STORAGE_FAILED refused');
    expect(harness.failures.map(({ code }) => code)).toEqual(['STORAGE_FAILED']);
  });

  test('after the owner acknowledged, but before the client\u2019s lane passes it on, it is unknown', async () => {
    const harness = await MeshHarness.start();
    const client = await harness.indirect(0, PRODUCER);
    const acknowledged = client.numbered(1, 1);
    harness.lane(0).isBusy = true;
    await harness.flush();
    expect(client.isAnswered(acknowledged)).toBe(false);
    harness.poisoned = true;
    harness.lane(0).isBusy = false;
    await harness.flush();
    expect(client.refusal(acknowledged)).toBe('STORAGE_FAILED unknown');
  });

  test('that a repeat was applied before is unknown then too', async () => {
    const harness = await MeshHarness.start();
    const client = await harness.indirect(0, PRODUCER);
    // Its values are too many to be kept, so the repeat is told no more than that it was applied
    const operations = Array.from({ length: 6_000 }, () => ({ key: { name: NAME[1] as string }, delta: 2n ** 49n }));
    const send = () => client.add(1, { sequence: { sequence: 1, unanswered: 0 }, operations }, Flag.VALUES);
    const first = send();
    await harness.flush();
    expect(client.isAnswered(first)).toBe(true);
    const repeat = send();
    harness.lane(0).isBusy = true;
    await harness.flush();
    harness.poisoned = true;
    harness.lane(0).isBusy = false;
    await harness.flush();
    expect(client.refusal(repeat)).toBe('STORAGE_FAILED unknown');
  });
});

describe('Lanes that drain', () => {
  test.each([ALL, [1, 0]])(
    'answer what was forwarded before, and refuse what comes (lane %i first)',
    async (...order) => {
      const harness = await MeshHarness.start({ requests: 4096, answers: 64 });
      const client = await harness.indirect(0);
      const before = Array.from({ length: 20 }, () => client.add(1, {}));
      await harness.pass(0);
      const drained: number[] = [];
      for (const lane of order) {
        harness
          .lane(lane)
          .host.drain()
          .then(() => drained.push(lane));
      }
      const after = [client.add(1, {}), client.add(0, {})];
      await harness.pass(FLUSH_MILLISECONDS - 1);
      expect(drained).toEqual([]);
      await harness.flush();
      expect(drained.sort()).toEqual(ALL);
      for (const id of before) expect(client.added(id).refused).toEqual([]);
      for (const id of after) expect(client.refusal(id)).toBe('SHUTTING_DOWN refused');
      expect(client.transport.isClosing).toBe(true);
    },
  );

  test('refuse what one of them forwards before it has heard of it', async () => {
    const harness = await MeshHarness.start();
    const client = await harness.indirect(0);
    const second = harness.lane(1).host.drain();
    const late = Array.from({ length: 20 }, () => client.add(1, {}));
    await harness.flush();
    const first = harness.lane(0).host.drain();
    await harness.flush();
    await Promise.all([first, second]);
    for (const id of late) expect(client.refusal(id)).toBe('SHUTTING_DOWN refused');
  });

  test('end when the last request has come through a ring that was full', async () => {
    const harness = await MeshHarness.start(64);
    const client = await harness.indirect(0);
    harness.lane(1).isBusy = true;
    const ids = [client.add(1, {}), client.add(1, {})];
    let drained = 0;
    for (const { host } of harness.lanes) host.drain().then(() => drained++);
    await harness.flush();
    harness.lane(1).isBusy = false;
    await harness.flush();
    expect(drained).toBe(2);
    for (const id of ids) expect(client.refusal(id)).toBe('SHUTTING_DOWN refused');
  });
});
