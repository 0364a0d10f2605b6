import { describe, expect, test } from 'vitest';
import { Flag } from '../../src/protocol/opcode.js';
import { clientOfTest } from './clients.js';
import { addAnswer, errorCodeOf, errorOf, RawClient, readAnswer } from './raw-client.js';
import { sharedServer } from './server-process.js';

const server = sharedServer();
let names = 0;
const fresh = () => `sequences-${names++}`;

/** What HELLO said of the producer in a partition. */
function producerIn({ hello }: RawClient, partition: number) {
  const found = hello?.producer?.partitions.find((item) => item.partition === partition);
  if (!found) throw new Error(`HELLO says nothing of partition ${partition}.`);
  return found;
}

const incarnations = ({ hello }: RawClient) =>
  (hello?.producer?.partitions ?? []).map(({ partition, incarnation }) => ({ partition, incarnation }));

const numbered = (sequence: number, unanswered = 0) => ({ sequence: { sequence, unanswered } });

describe('a repeat', () => {
  test('is answered with the first answer and changes nothing, also after kill -9', async () => {
    const name = fresh();
    const producer = { name };
    const first = await RawClient.connect(server().url, { producer });
    const send = (client: RawClient) => client.add([{ name, delta: 5n }], { ...numbered(1), flags: Flag.VALUES });
    const answer = await send(first);
    expect(addAnswer(answer, 1)).toMatchObject({ values: [5n] });
    expect(answer.flags).toBe(0);
    addAnswer(await first.add([{ name, delta: 1n }], numbered(2, 1)), 1, false);

    const again = await send(first);
    expect(addAnswer(again, 1)).toMatchObject({ values: [5n], position: addAnswer(answer, 1).position });
    expect(again.flags).toBe(Flag.REPEATED);

    await server().crash();
    const resumed = await RawClient.connect(server().url, { producer, resume: incarnations(first) });
    expect(producerIn(resumed, resumed.partitionOf(name)).next).toBe(3);
    const afterwards = await send(resumed);
    expect(addAnswer(afterwards, 1)).toMatchObject({ values: [5n], position: addAnswer(answer, 1).position });
    expect(afterwards.flags).toBe(Flag.REPEATED);
    expect(readAnswer(await resumed.get(name)).value).toBe(6n);
  });

  test('with other bytes is a conflict and changes nothing, also after kill -9', async () => {
    const name = fresh();
    const producer = { name };
    const client = await RawClient.connect(server().url, { producer });
    addAnswer(await client.add([{ name, delta: 5n }], numbered(1)), 1, false);
    const conflicts = async (by: RawClient) => {
      const attempts = [
        by.add([{ name, delta: 6n }], numbered(1)),
        by.add([{ name, delta: 5n }], { ...numbered(1), flags: Flag.VALUES }),
        by.add([{ name, delta: 5n }], { sequence: { sequence: 1, unanswered: 0, cursor: new Uint8Array([1]) } }),
      ];
      for (const attempt of attempts) {
        expect(errorOf(await attempt)).toMatchObject({ code: 'SEQUENCE_CONFLICT', outcome: 'refused' });
      }
      expect(readAnswer(await by.get(name)).value).toBe(5n);
    };
    await conflicts(client);
    await server().crash();
    await conflicts(await RawClient.connect(server().url, { producer, resume: incarnations(client) }));
  });
});

test('a gap in the sequences is refused and changes nothing; the missing batch fills it', async () => {
  const name = fresh();
  const client = await RawClient.connect(server().url, { producer: { name } });
  addAnswer(await client.add([{ name, delta: 1n }], numbered(1)), 1, false);
  expect(errorOf(await client.add([{ name, delta: 100n }], numbered(3, 1)))).toMatchObject({
    code: 'SEQUENCE_GAP',
    outcome: 'refused',
  });
  expect(readAnswer(await client.get(name)).value).toBe(1n);
  addAnswer(await client.add([{ name, delta: 10n }], numbered(2)), 1, false);
  addAnswer(await client.add([{ name, delta: 100n }], numbered(3, 1)), 1, false);
  expect(readAnswer(await client.get(name)).value).toBe(111n);
});

test('a batch that is refused as a whole consumes no sequence', async () => {
  const name = fresh();
  const client = await RawClient.connect(server().url, { producer: { name } });
  const wrongPartition = (client.partitionOf(name) + 1) % 4;
  const misplaced = await client.add([{ name, delta: 1n }], { ...numbered(1), partition: wrongPartition });
  expect(errorCodeOf(misplaced)).toBe('WRONG_PARTITION');
  addAnswer(await client.add([], { ...numbered(1), partition: wrongPartition }), 0, false);
});

describe('a second session of a named producer', () => {
  test('fences the first one, whose batches are refused from then on', async () => {
    const name = fresh();
    const producer = { name };
    const first = await RawClient.connect(server().url, { producer });
    addAnswer(await first.add([{ name, delta: 1n }], numbered(1)), 1, false);
    const second = await RawClient.connect(server().url, { producer });
    expect(producerIn(second, second.partitionOf(name)).incarnation).toBeGreaterThan(
      producerIn(first, first.partitionOf(name)).incarnation,
    );
    expect(errorOf(await first.add([{ name, delta: 1n }], numbered(2)))).toMatchObject({ code: 'PRODUCER_FENCED' });
    addAnswer(await second.add([{ name, delta: 10n }], numbered(1)), 1, false);
    expect(readAnswer(await second.get(name)).value).toBe(11n);
  });

  test('fences it across kill -9 too: it cannot resume', async () => {
    const name = fresh();
    const producer = { name };
    const first = await RawClient.connect(server().url, { producer });
    await RawClient.connect(server().url, { producer });
    await server().crash();
    const returning = await RawClient.open(server().url);
    expect(errorCodeOf(await returning.sayHello({ producer, resume: incarnations(first) }))).toBe('PRODUCER_FENCED');
  });

  test('closes a client of the SDK, which says so', async () => {
    const name = fresh();
    const first = await clientOfTest(server(), { producer: name });
    await first.increment(name);
    const second = await clientOfTest(server(), { producer: name });
    await expect(first.increment(name)).rejects.toMatchObject({ code: 'PRODUCER_FENCED' });
    await expect(first.increment(name)).rejects.toMatchObject({ code: 'CLOSED' });
    expect(await second.increment(name)).toBe(2n);
  });
});

test('a producer that the server does not know cannot resume, and a batch does not create it', async () => {
  const producer = { name: fresh() };
  const stranger = await RawClient.open(server().url);
  const resume = [0, 1, 2, 3].map((partition) => ({ partition, incarnation: 1 }));
  expect(errorCodeOf(await stranger.sayHello({ producer, resume }))).toBe('PRODUCER_UNKNOWN');
  const without = await RawClient.connect(server().url);
  expect(errorCodeOf(await without.add([{ name: 'x', delta: 1n }], numbered(1)))).toBe('PRODUCER_UNKNOWN');
});

test('a cursor is kept with its batch, alone or with operations, across kill -9', async () => {
  const producer = fresh();
  const client = await clientOfTest(server(), { producer });
  expect(client.cursors.size).toBe(0);
  const name = fresh();
  const partition = client.partitionOf(name);
  const other = (partition + 1) % 4;
  await client.batchTo(partition, [{ name, delta: 2 }], { cursor: new Uint8Array([1, 2, 3]) });
  await client.batchTo(other, [], { cursor: new Uint8Array([9]) });
  await client.batchTo(partition, [{ name, delta: 2 }], { cursor: new Uint8Array(64).fill(7) });
  await client.increment(name); // without a cursor: the one before stays
  await server().crash();
  const next = await clientOfTest(server(), { producer });
  expect(next.cursors).toEqual(
    new Map([
      [partition, new Uint8Array(64).fill(7)],
      [other, new Uint8Array([9])],
    ]),
  );
  expect(await next.get(name)).toBe(5n);
});
