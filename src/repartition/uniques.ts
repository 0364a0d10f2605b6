import { countersOf } from '../backup/partition-counters.js';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import { asRules, daysOf, encodeDays, keepsOnce, keepsUniques } from '../partition/classes.js';
import { Kind, type Partition } from '../partition/partition.js';
import { ByteWriter } from '../protocol/bytes.js';
import { Opcode } from '../protocol/opcode.js';
import { writeNameKey } from '../protocol/request.js';
import { decodeUniquesAnswer, encodeMerge, encodeUniques, MOST_UNIQUES, type Wanted } from '../protocol/uniques.js';

/** The unique items of a partition that no server has open, as requests that bring them into another one of the same secret. */

/** In front of a kernel's answer stands nothing; the codecs expect position and flushed. */
const PROGRESS = Uint8Array.of(0, 0);

/** A body that brings items under a name. */
export interface Bringing {
  readonly kind: number;
  readonly name: string;
  readonly body: Uint8Array;
}

/** A KEEP for items that counted once under a name: none of them counts early. */
export function* keepsOf(partition: Partition): Generator<Bringing> {
  if (!keepsOnce(partition.classes)) return;
  for (const { name, items } of partition.countedOnce()) {
    const body = new ByteWriter(items.length + name.length + 16);
    writeNameKey(body, name);
    body.u64(BigInt(partition.clock));
    body.bytes(items);
    yield { kind: Kind.KEEP, name, body: body.copy() };
  }
}

/** A BRING for each hour and day in which something was seen under a name. More than 16,384 items of one go on as their sketch. */
export function* bringsOf(partition: Partition): Generator<Bringing> {
  if (!keepsUniques(partition.classes)) return;
  for (const { name, window } of partition.seenInWindows()) {
    const body = new ByteWriter(window.length + name.length + 8);
    writeNameKey(body, name);
    body.bytes(window);
    yield { kind: Kind.BRING, name, body: body.copy() };
  }
}

/** A MERGE for each name under which something was seen. More than 16,384 items of a name go on as their sketch. */
export function* mergesOf(partition: Partition): Generator<Bringing> {
  if (!keepsUniques(partition.classes)) return;
  let names: string[] = [];
  for (const { name } of countersOf(partition)) {
    if (names.push(name) < MOST_UNIQUES) continue;
    yield* mergesOfNames(partition, names);
    names = [];
  }
  yield* mergesOfNames(partition, names);
}

function* mergesOfNames(partition: Partition, names: readonly string[]): Generator<Bringing> {
  const { counts } = ask(partition, 'each', names);
  for (const [i, { status, exact, count }] of counts.entries()) {
    if (status !== OK || (exact && count === 0)) continue;
    const name = names[i] as string;
    const { sketch } = ask(partition, 'sketch', [name]);
    if (!sketch || 'status' in sketch) throw new TallystickError('INTERNAL', `There is no sketch of "${name}".`);
    const body = new ByteWriter();
    encodeMerge(body, { key: { name }, items: sketch });
    yield { kind: Opcode.MERGE, name, body: body.copy() };
  }
}

function ask(partition: Partition, wanted: Wanted, names: readonly string[]) {
  const body = new ByteWriter();
  encodeUniques(body, { wanted, keys: names.map((name) => ({ name })) });
  const status = partition.uniques(body.view(), partition.time);
  if (status !== OK) throw new TallystickError('INTERNAL', `The kernel answers ${codeOfStatus(status)}.`);
  return decodeUniquesAnswer(Uint8Array.from([...PROGRESS, ...partition.answer]), wanted);
}

/** Gives a partition that has its counters the classes of an old one, and its names their items. */
export function takeUniques(
  partition: Partition,
  classes: Uint8Array,
  bringings: readonly Bringing[],
  milliseconds: number,
): void {
  const apply = (kind: number, body: Uint8Array) => {
    const status = partition.apply(kind, 0, 0, 0, milliseconds, body);
    if (status !== OK) throw new TallystickError('INTERNAL', `A new partition answers ${codeOfStatus(status)}.`);
  };
  apply(Kind.CLASSIFY, asRules(classes));
  const days = daysOf(classes).filter(({ end }) => end > 0);
  if (days.length > 0) apply(Kind.DAYS, encodeDays(days));
  while (partition.isClassifying) apply(Kind.TICK, new Uint8Array(0));
  for (const { kind, body } of bringings) {
    apply(kind, body);
    const [status = OK] = partition.answer;
    if (status !== OK) throw new TallystickError('INTERNAL', `A new partition answers ${codeOfStatus(status)}.`);
  }
}
