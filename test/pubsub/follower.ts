import { codeOfStatus } from '../../src/errors.js';
import { decodeStatsAnswer, encodeStatsRequest } from '../../src/protocol/control.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { decodeError } from '../../src/protocol/response.js';
import { decodeTailAnswer, encodeTail, type TailAnswer, type TailRequest } from '../../src/protocol/tail.js';
import type { LaneHarness, TestClient } from '../lane/lane-harness.js';

/** Sends a TAIL; the id of the request, under which a feed tells. */
export function tail(client: TestClient, partition: number, request: TailRequest): number {
  const flags = 'after' in request && request.after ? Flag.AFTER : 0;
  return client.send(Opcode.TAIL, flags, partition, (writer) => encodeTail(writer, request));
}

/** The names of each feed of names, by which it is told. */
const FOLLOWED = new WeakMap<TestClient, Map<number, readonly string[]>>();

/** Follows some names, every group unless told otherwise. */
export function tailNames(
  client: TestClient,
  partition: number,
  names: readonly string[],
  options: Partial<{ interval: number; credit: number; after: { epoch: number; sequence: number } }> = {},
): number {
  const id = tail(client, partition, { kind: 'names', interval: 0, credit: 64, ...options, names });
  const ofClient = FOLLOWED.get(client) ?? new Map<number, readonly string[]>();
  FOLLOWED.set(client, ofClient.set(id, names));
  return id;
}

export function tailPrefix(
  client: TestClient,
  partition: number,
  prefix: string,
  options: Partial<{ interval: number; credit: number; after: { epoch: number; sequence: number } }> = {},
): number {
  return tail(client, partition, { kind: 'prefix', interval: 0, credit: 64, ...options, prefix });
}

/** All that a feed has told. */
export function framesOfFeed(client: TestClient, id: number): TailAnswer[] {
  return client.answers
    .filter(({ requestId, opcode }) => requestId === id && opcode !== Opcode.ERROR)
    .map(({ body }) => decodeTailAnswer(body, FOLLOWED.get(client)?.get(id)));
}

/** Says that all that a feed has told was taken; the id of the request. */
export function taken(client: TestClient, partition: number, feed: number): number {
  return tail(client, partition, { kind: 'more', feed, taken: framesOfFeed(client, feed).length });
}

/** The code with which a feed ended; undefined while it goes on, or where it ended as was wanted. */
export function codeOfEnd(client: TestClient, id: number): string | undefined {
  const last = client.answers.filter(({ requestId }) => requestId === id).at(-1);
  return last?.opcode === Opcode.ERROR ? codeOfStatus(decodeError(last.body).status) : undefined;
}

/** What is told of each frame, in short: `name=value+delta`. */
export function inShort({ begins, whole, told }: TailAnswer): string {
  const items = told.map((each) => {
    if (each.kind === 'absent') return `${each.name} absent`;
    if (each.kind === 'value') return `${each.name}=${each.value}`;
    return each.kind === 'change' ? `${each.name}=${each.value}(${each.delta})` : `${each.name} gone(${each.delta})`;
  });
  return `${begins ? '[' : ''}${items.join(' ')}${whole ? '.' : ''}`;
}

export const told = (client: TestClient, id: number): string[] => framesOfFeed(client, id).map(inShort);

export interface FeedStats {
  readonly feeds: number;
  readonly pending: number;
  readonly frames: number;
  readonly cutOff: number;
}

/** What a lane says of its feeds. */
export async function statsOf(harness: LaneHarness, client: TestClient): Promise<FeedStats> {
  const id = client.send(Opcode.STATS, 0, LANE, (writer) => encodeStatsRequest(writer, {}));
  await harness.pass(0);
  return decodeStatsAnswer(client.answerOf(id).body).feeds as unknown as FeedStats;
}

/** One of each. */
export const increments = (names: readonly string[]) => ({
  operations: names.map((name) => ({ key: { name }, delta: 1n })),
});
