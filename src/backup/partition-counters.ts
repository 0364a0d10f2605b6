import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { Partition } from '../partition/partition.js';
import { ByteReader, ByteWriter } from '../protocol/bytes.js';
import { encodeGet, encodeList } from '../protocol/request.js';

/** What a partition that no server has open counts. */

export interface PartitionCounter {
  readonly name: string;
  readonly value: bigint;
  /** When it ends by itself, in milliseconds since 1970; 0 = never. */
  readonly expires: number;
}

const NO_PREFIX = new Uint8Array(0);
const COUNTERS_AT_A_TIME = 1_000;
const writer = new ByteWriter();

/** All counters, in the order of their slots. */
export function* countersOf(partition: Partition): Generator<PartitionCounter> {
  if (partition.sequence === 0) return;
  let cursor = 0;
  do {
    const page = listFrom(partition, cursor, COUNTERS_AT_A_TIME);
    yield* page.counters;
    cursor = page.cursor;
  } while (cursor !== 0);
}

/** The name of the counter that has an id; undefined where none has it. */
export function nameOfId(
  partition: Partition,
  id: { readonly slot: number; readonly generation: number },
): string | undefined {
  if (partition.sequence === 0) return undefined;
  writer.reset();
  encodeGet(writer, { keys: [id] });
  mustBeOk(partition.read(writer.view()));
  const answer = new ByteReader(partition.answer);
  answer.varint(); // one value
  if (answer.u8() !== OK) return undefined;
  // It is there, so it is the first one from its slot on.
  return listFrom(partition, id.slot, 1).counters[0]?.name;
}

function listFrom(partition: Partition, from: number, limit: number) {
  writer.reset();
  encodeList(writer, { prefix: NO_PREFIX, cursor: from, limit });
  mustBeOk(partition.list(writer.view()));
  const answer = new ByteReader(partition.answer);
  const cursor = answer.varint();
  const counters: { name: string; value: bigint }[] = [];
  for (let count = answer.varint(); count > 0; count--) {
    counters.push({ name: answer.name(answer.varint()), value: answer.zigzagBig() });
  }
  const expiries = expiriesOf(partition, counters);
  return { cursor, counters: counters.map((counter, i) => ({ ...counter, expires: expiries[i] as number })) };
}

function expiriesOf(partition: Partition, counters: readonly { readonly name: string }[]): number[] {
  writer.reset();
  encodeGet(writer, { keys: counters });
  mustBeOk(partition.expiries(writer.view()));
  const answer = new ByteReader(partition.answer);
  return Array.from({ length: answer.varint() }, () => (answer.u8() === OK ? answer.varint() : 0));
}

function mustBeOk(status: number): void {
  if (status !== OK) throw new TallystickError('INTERNAL', `The kernel answers ${codeOfStatus(status)}.`);
}
