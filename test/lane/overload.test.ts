import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeStatsAnswer, encodeStatsRequest } from '../../src/protocol/control.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { LaneHarness, NAME, type TestClient } from './lane-harness.js';

const OVERLOADED = 'OVERLOADED refused';
const ROOMY = 1_000_000;

const sync = (client: TestClient) => client.send(Opcode.SYNC, 0, LANE, () => {});
const read = (client: TestClient, flags = 0) => client.get(0, [NAME[0]], flags);
const readAfter = (client: TestClient, sequence: number) => client.get(0, [NAME[0]], 0, { epoch: 7, sequence });

async function waitingOf(harness: LaneHarness, client: TestClient): Promise<unknown> {
  const id = client.send(Opcode.STATS, 0, LANE, (writer) => encodeStatsRequest(writer));
  await harness.pass(0);
  return decodeStatsAnswer(client.answerOf(id).body)['waitingReads'];
}

describe('A lane on which many reads wait', () => {
  test('refuses more of them, and goes on to take writes, SETs and reads that need not wait', async () => {
    const harness = await LaneHarness.start({ waiting: { reads: 5, bytes: ROOMY } });
    const [client, other] = [await harness.client(), await harness.client()];
    const before = client.add(0, {});
    const waits = [read(client), client.list(0), client.expiry(0, [NAME[0]]), sync(other), readAfter(other, 999)];
    const shed = [read(client), client.list(0), client.expiry(0, [NAME[0]]), sync(other), readAfter(client, 999)];
    const writes = Array.from({ length: 50 }, () => client.add(0, {}));
    const set = client.set(1, { value: 4n, reason: 'test' });
    const latest = read(client, Flag.LATEST);
    await harness.pass(0);
    expect([...shed.slice(0, 3), shed[4]].map((id) => client.refusal(id as number))).toEqual(Array(4).fill(OVERLOADED));
    expect(other.refusal(shed[3] as number)).toBe(OVERLOADED);
    expect(client.got(latest)).toEqual([51n]);
    await harness.flush();
    expect([before, ...writes, set].map((id) => client.refusal(id))).toEqual(Array(52).fill('none'));
    expect(waits.slice(0, 3).map((id) => client.refusal(id))).toEqual(['none', 'none', 'none']);
    const again = read(client);
    await harness.flush();
    expect(client.got(again)).toEqual([51n]);
  });

  test('refuses them by the bytes of what is kept, too', async () => {
    const harness = await LaneHarness.start({ waiting: { reads: ROOMY, bytes: 100 } });
    const client = await harness.client();
    client.add(0, {});
    const [small, large, more] = [read(client), client.get(0, Array(200).fill(NAME[0])), read(client)];
    await harness.pass(0);
    expect(client.refusal(more)).toBe(OVERLOADED);
    await harness.flush();
    expect(client.got(small)).toEqual([1n]);
    expect(client.got(large)).toEqual(Array(200).fill(1n));
  });

  test('has room again when the deadline of those is over that wait for a position', async () => {
    const harness = await LaneHarness.start({ waiting: { reads: 1, bytes: ROOMY } });
    const client = await harness.client();
    const never = readAfter(client, 999);
    const second = readAfter(client, 999);
    await harness.pass(5_000);
    expect(client.refusal(never)).toBe('POSITION_UNAVAILABLE refused');
    expect(client.refusal(second)).toBe(OVERLOADED);
    expect(await waitingOf(harness, client)).toEqual({ count: 0, bytes: 0 });
  });

  test('whatever comes and fails, refuses no write for it, never has more waiting than it may, and none in the end', async () => {
    const step = fc.constantFrom('add', 'set', 'get', 'list', 'latest', 'after', 'sync', 'pass', 'full', 'leave');
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 6 }), async (steps, reads) => {
        const harness = await LaneHarness.start({ waiting: { reads, bytes: ROOMY } });
        let client = await harness.client();
        const witness = await harness.client();
        let writes: number[] = [];
        const sent = {
          add: () => writes.push(client.add(0, {})),
          set: () => writes.push(client.set(0, { value: 1n, reason: 'test' })),
          get: () => read(client),
          list: () => client.list(0),
          latest: () => read(client, Flag.LATEST),
          after: () => readAfter(client, (harness.partitions.get(0)?.sequence ?? 0) + 2),
          sync: () => sync(client),
          full: () => harness.log.script.push({ kind: 'full' }),
        };
        const isShed = () => writes.some((id) => client.isAnswered(id) && client.refusal(id) === OVERLOADED);
        for (const kind of steps) {
          if (kind === 'pass') await harness.pass(3);
          else if (kind === 'leave') {
            expect(isShed()).toBe(false);
            client.connection.destroy();
            client = await harness.client();
            writes = [];
          } else sent[kind]();
          const told = (await waitingOf(harness, witness)) as { count: number };
          expect(told.count).toBeLessThanOrEqual(reads);
        }
        await harness.pass(6_000);
        expect(isShed()).toBe(false);
        expect(await waitingOf(harness, witness)).toEqual({ count: 0, bytes: 0 });
      }),
      { numRuns: 60 },
    );
  });
});
