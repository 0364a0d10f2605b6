import { expect, test } from 'vitest';
import { Position } from '../../src/client/index.js';
import { Flag } from '../../src/protocol/opcode.js';
import { clientOfTest } from './clients.js';
import { addAnswer, RawClient, readAnswer } from './raw-client.js';
import { sharedServer } from './server-process.js';

const server = sharedServer({ lanes: 2, partitions: 8 });

test('LATEST shows at once what is applied and says that it is not flushed; a durable read waits until it is', async () => {
  const client = await RawClient.connect(server().url);
  const isOnFirstLane = (name: string) => client.hello?.partitions[client.partitionOf(name)] === 0;
  const name = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].find(isOnFirstLane) as string;
  // One write, so that the lane sees all of it before the group can have been flushed.
  const [added, durable, latest, pong] = await Promise.all(
    client.together(() => [
      client.add([{ name, delta: 7n }], { flags: Flag.APPLIED }),
      client.get(name),
      client.get(name, Flag.LATEST),
      client.ping(),
    ]),
  );
  const { position, flushed } = addAnswer(added, 1, false);
  expect(flushed).toBeLessThan(position);
  expect(readAnswer(latest)).toEqual({ value: 7n, position, flushed });
  expect(durable.order).toBeGreaterThan(pong.order);
  expect(readAnswer(durable)).toMatchObject({ value: 7n, position });
  expect(readAnswer(durable).flushed).toBeGreaterThanOrEqual(position);
});

test('what a durable read has shown is there after kill -9', async () => {
  const writer = await clientOfTest(server());
  const reader = await clientOfTest(server(), { producer: false });
  const name = 'shown';
  const writing = Promise.all(Array.from({ length: 200 }, () => writer.increment(name, 1, { ack: 'applied' })));
  let shown = 0n;
  while (shown === 0n) shown = await reader.get(name);
  await server().kill('SIGKILL');
  await server().start();
  expect(await reader.get(name)).toBeGreaterThanOrEqual(shown);
  await writing;
  await writer.flush();
  expect(await reader.get(name)).toBe(200n);
});

test('a read after a position shows what another client wrote before it took the position', async () => {
  const writer = await clientOfTest(server());
  const reader = await clientOfTest(server(), { producer: false });
  for (let round = 1; round <= 20; round++) {
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (const name of names) writer.counter(`after:${name}`).add(1);
    const position = Position.parse((await writer.flush()).toString());
    const readings = await reader.read(
      names.map((name) => `after:${name}`),
      { after: position, read: 'latest' },
    );
    expect(readings.map(({ value }) => value)).toEqual(names.map(() => BigInt(round)));
  }
});

test('a read after a position that is yet to come waits for it', async () => {
  const name = 'to come';
  const client = await clientOfTest(server());
  const { position } = await client.read(name);
  const partition = client.partitionOf(name);
  const next = (position.sequenceOf(partition) as number) + 1;
  let isAnswered = false;
  const reading = client
    .read(name, { after: new Position(position.epoch, new Map([[partition, next]])) })
    .finally(() => {
      isAnswered = true;
    });
  await client.stats(); // answered after the read was received
  expect(isAnswered).toBe(false);
  await client.increment(name, 4);
  expect(await reading).toMatchObject({ value: 4n, durable: true });
});

test('a position of another life of the data directory is refused', async () => {
  const client = await clientOfTest(server());
  const { position } = await client.read('x');
  const stranger = new Position(position.epoch === 1 ? 2 : position.epoch - 1, new Map([[client.partitionOf('x'), 1]]));
  await expect(client.read('x', { after: stranger })).rejects.toMatchObject({ code: 'EPOCH_MISMATCH' });
});
