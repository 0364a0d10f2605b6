import { describe, expect, test } from 'vitest';
import { type AuditRecord, decodeAudit } from '../../src/lane/audit-record.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { encodeOpen } from '../../src/protocol/request.js';
import { EPOCH, NAME, type TestClient } from './lane-harness.js';
import { MeshHarness } from './mesh-harness.js';

/**
 * One suite of requests, all to partition 1, which is of lane 1. It runs against a client of lane 1 and against a client of lane 0
 * that reaches lane 1 through it, and each request must get the same answer, byte for byte.
 */

const PARTITION = 1;
const NAME_1 = NAME[1];
const key = { name: NAME_1 };
const add = (delta: bigint, more: object = {}) => ({ operations: [{ key, delta, ...more }] });

type Ask = (client: TestClient) => number;

/** Each asks one thing and is answered before the next one asks. */
const SUITE: readonly (readonly [string, Ask])[] = [
  ['a durable ADD', (client) => client.add(PARTITION, add(5n))],
  ['an applied ADD with values', (client) => client.add(PARTITION, add(2n), Flag.APPLIED | Flag.VALUES)],
  ['ADD beyond bounds', (client) => client.add(PARTITION, add(5n, { max: 3n }), Flag.VALUES)],
  ['an atomic ADD that overflows', (client) => client.add(PARTITION, add(2n ** 63n - 1n), Flag.ATOMIC | Flag.VALUES)],
  ['a sequenced ADD', (client) => client.numbered(PARTITION, 1)],
  ['its repeat', (client) => client.numbered(PARTITION, 1)],
  ['its sequence with another payload', (client) => client.numbered(PARTITION, 1, 9n)],
  ['a gap', (client) => client.numbered(PARTITION, 3)],
  ['a cursor alone', (client) => withCursor(client, 2, Uint8Array.of(1, 2))],
  ['an operation id', (client) => client.add(PARTITION, add(1n, { operationId: new Uint8Array(16).fill(4) }))],
  ['SET', (client) => client.set(PARTITION, { value: 10n, reason: 'a \u00e9' })],
  ['SET with a wrong expectation', (client) => client.set(PARTITION, { value: 11n, expect: 3n, reason: 'b' })],
  ['a sequenced SET', (client) => sequencedSet(client)],
  ['LIST', (client) => client.list(PARTITION)],
  ['DELETE with a wrong expectation', (client) => client.delete(PARTITION, { expect: 3n, reason: 'd' })],
  ['DELETE', (client) => client.delete(PARTITION, { reason: 'e' })],
  ['OPEN', (client) => client.send(Opcode.OPEN, 0, PARTITION, (writer) => encodeOpen(writer, [NAME_1]))],
  ['a durable GET', (client) => client.get(PARTITION, [NAME_1, 'nobody'])],
  ['a GET from memory', (client) => client.get(PARTITION, [NAME_1], Flag.LATEST)],
  ['a GET after a position', (client) => client.get(PARTITION, [NAME_1], 0, { epoch: EPOCH, sequence: 3 })],
  ['a GET of another epoch', (client) => client.get(PARTITION, [NAME_1], 0, { epoch: EPOCH + 1, sequence: 3 })],
  ['a name of another partition', (client) => client.get(PARTITION, [NAME[0]])],
  ['a body that is cut off', (client) => client.send(Opcode.ADD, 0, PARTITION, (writer) => writer.varint(7))],
  ['a body that is empty', (client) => client.send(Opcode.GET, 0, PARTITION, () => {})],
  ['a partition that is none', (client) => client.get(2, [NAME_1])],
  ['the partition of no partition', (client) => client.send(Opcode.GET, 0, LANE, () => {})],
  ['PING', (client) => client.send(Opcode.PING, 0, LANE, (writer) => writer.u32(7))],
];

function withCursor(client: TestClient, sequence: number, cursor: Uint8Array): number {
  return client.add(PARTITION, { sequence: { sequence, unanswered: 0, cursor }, operations: [] });
}

function sequencedSet(client: TestClient): number {
  const sequence = { sequence: 3, unanswered: 0 };
  return client.set(PARTITION, { value: 12n, reason: 'c', sequence }, Flag.SEQUENCED);
}

async function answersOf(client: TestClient, harness: MeshHarness): Promise<Map<string, string>> {
  const answers = new Map<string, string>();
  for (const [name, ask] of SUITE) {
    const id = ask(client);
    await harness.flush();
    const of = client.answers.filter(({ requestId }) => requestId === id);
    answers.set(
      name,
      of.map(({ opcode, flags, partition, body }) => `${opcode} ${flags} ${partition} ${hex(body)}`).join(' and '),
    );
  }
  return answers;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const HELLO = { client: 'suite', producer: { name: 'p' } };

async function auditOf(harness: MeshHarness): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  await harness.lane(1).log.audit(({ value }) => records.push(decodeAudit(value)));
  return records;
}

describe('A request to a partition of another lane', () => {
  test.each([
    ['', undefined],
    [' through a ring of 64 bytes', 64],
  ])('is answered as by its owner, byte for byte%s', async (_, ringBytes) => {
    const owned = await MeshHarness.start();
    const direct = await answersOf(await owned.direct(1, HELLO), owned);
    const meshed = await MeshHarness.start(ringBytes);
    const forwarded = await answersOf(await meshed.indirect(0, HELLO), meshed);
    expect(forwarded).toEqual(direct);
    expect([...forwarded.values()].every((answer) => answer !== '' && !answer.includes('and'))).toBe(true);
    expect(meshed.lane(1).log.attempts).toEqual(owned.lane(1).log.attempts);
    expect(await auditOf(meshed)).toEqual(await auditOf(owned));
    expect(await auditOf(owned)).toMatchObject(new Array(5).fill({ client: 'suite' }));
  });

  test('is refused on a connection that is direct', async () => {
    const harness = await MeshHarness.start();
    const client = await harness.direct(0, HELLO);
    const read = client.get(1, [NAME_1]);
    const write = client.add(1, {});
    await harness.flush();
    expect(client.refusal(read)).toBe('WRONG_PARTITION refused');
    expect(client.refusal(write)).toBe('WRONG_PARTITION refused');
  });
});
