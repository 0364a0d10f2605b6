import { countersOf } from '../backup/partition-counters.js';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import { asRules, daysOf, encodeDays, keepsUniques } from '../partition/classes.js';
import { Kind, type Partition } from '../partition/partition.js';
import { ByteWriter } from '../protocol/bytes.js';
import { Opcode } from '../protocol/opcode.js';
import { decodeUniquesAnswer, encodeMerge, encodeUniques, MOST_UNIQUES, type Wanted } from '../protocol/uniques.js';

/** The unique items of a partition that no server has open, as requests that bring them into another one of the same secret. */

/** In front of a kernel's answer stands nothing; the codecs expect position and flushed. */
const PROGRESS = Uint8Array.of(0, 0);

/** A MERGE for each name under which something was seen. More than 16,384 items of a name go on as their sketch. */
export function* mergesOf(partition: Partition): Generator<{ readonly name: string; readonly body: Uint8Array }> {
  if (!keepsUniques(partition.classes)) return;
  let names: string[] = [];
  for (const { name } of countersOf(partition)) {
    if (names.push(name) < MOST_UNIQUES) continue;
    yield* mergesOfNames(partition, names);
    names = [];
  }
  yield* mergesOfNames(partition, names);
}

function* mergesOfNames(partition: Partition, names: readonly string[]) {
  const { counts } = ask(partition, 'each', names);
  for (const [i, { status, exact, count }] of counts.entries()) {
    if (status !== OK || (exact && count === 0)) continue;
    const name = names[i] as string;
    const { sketch } = ask(partition, 'sketch', [name]);
    if (!sketch || 'status' in sketch) throw new TallystickError('INTERNAL', `There is no sketch of "${name}".`);
    const body = new ByteWriter();
    encodeMerge(body, { key: { name }, items: sketch });
    yield { name, body: body.copy() };
  }
}

function ask(partition: Partition, wanted: Wanted, names: readonly string[]) {
  const body = new ByteWriter();
  encodeUniques(body, { wanted, keys: names.map((name) => ({ name })) });
  const status = partition.uniques(body.view());
  if (status !== OK) throw new TallystickError('INTERNAL', `The kernel answers ${codeOfStatus(status)}.`);
  return decodeUniquesAnswer(Uint8Array.from([...PROGRESS, ...partition.answer]), wanted);
}

/** Gives a partition that has its counters the classes of an old one, and its names their items. */
export function takeUniques(
  partition: Partition,
  classes: Uint8Array,
  merges: readonly Uint8Array[],
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
  for (const body of merges) {
    apply(Opcode.MERGE, body);
    const [status = OK] = partition.answer;
    if (status !== OK) throw new TallystickError('INTERNAL', `A new partition answers ${codeOfStatus(status)}.`);
  }
}
