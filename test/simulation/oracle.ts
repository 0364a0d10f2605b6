import { codeOfStatus, ERRORS } from '../../src/errors.js';
import { decodeAudit } from '../../src/lane/audit-record.js';
import { EFFECT_BYTES, hasEffect } from '../../src/lane/recovery.js';
import type { SealedGroup } from '../../src/log/log.js';
import type { LogEntry } from '../../src/log/record.js';
import { Kind } from '../../src/partition/partition.js';
import { ByteReader } from '../../src/protocol/bytes.js';
import { decodeHelloAnswer } from '../../src/protocol/control.js';
import { decodeExpireAnswer } from '../../src/protocol/expiry.js';
import type { FrameView } from '../../src/protocol/frame.js';
import { decodeOnceAnswer } from '../../src/protocol/once.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import {
  decodeAddAnswer,
  decodeError,
  decodeGetAnswer,
  decodeListAnswer,
  decodeOpenAnswer,
  decodeSetAnswer,
  decodeSyncAnswer,
  type Progress,
} from '../../src/protocol/response.js';
import { bitsOfSeen, decodeSeeAnswer, decodeUniquesAnswer } from '../../src/protocol/uniques.js';
import { entriesOf } from './journal.js';
import type { AddResult, Applied, ExpireResult, OnceResult, SeeResult, SetResult } from './model-results.js';
import { PartitionModel } from './partition-model.js';
import type { Sent } from './requests.js';
import { isSteps, type NameOf, SentAdds } from './sent-adds.js';
import { LANE_OF, MODEL_OPTIONS, PARTITIONS } from './shape.js';
import type { World } from './world.js';

/** An answer that the model cannot judge yet: its position is in memory and in no group so far. */
interface Pending {
  readonly position: number;
  readonly judge: () => void;
}

/**
 * Holds everything that the server does against the promises, at the moment at which it does it: what a lane gives to its log,
 * what it writes to a client, and what it knows after a recovery.
 */
export class Oracle {
  readonly models = PARTITIONS.map(() => new PartitionModel(MODEL_OPTIONS));
  /** For each partition the last position that somebody was told to be durable. Nothing may ever end before it. */
  readonly durable = PARTITIONS.map(() => 0);
  /** The last position that was told at all, in this life of the server. */
  readonly told = PARTITIONS.map(() => 0);
  readonly #world: World;
  readonly #pending: Pending[][] = PARTITIONS.map(() => []);
  /** The memory of a partition at a position, as XXH64. */
  readonly #memories = PARTITIONS.map(() => new Map<number, bigint>());
  /** Batches by partition and key, as their clients made them. */
  readonly #batches = new Map<string, { readonly flags: number; readonly payload: Uint8Array }>();
  /** Writes without a sequence that may be applied, by their bytes, and how often. */
  readonly #loose = new Map<string, number>();
  readonly #adds = new SentAdds();
  /** The last group of each lane. */
  readonly #lastGroups: { readonly life: number; readonly group: number; readonly bytes: Buffer }[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  // --- what clients do ---

  /** A client made a batch, or another payload for a sequence that was surely not applied. */
  addBatch(partition: number, key: string, flags: number, payload: Uint8Array): void {
    this.#batches.set(`${partition}/${key}`, { flags, payload });
  }

  /** A client sends something. A write without a sequence may be applied, once for each time that it is sent. */
  sent(sent: Sent): void {
    if (!isWrite(sent) || sent.batch) return;
    const { partition, opcode, flags, body } = sent;
    const key = looseKey(partition, opcode, flags, body);
    this.#loose.set(key, (this.#loose.get(key) ?? 0) + 1);
    if (opcode === Opcode.ADD) this.#adds.sent(partition, flags, body);
  }

  // --- what lanes do ---

  /** A lane gives a group to its log. */
  appended(lane: number, group: SealedGroup, nameOf: NameOf): void {
    // On a full disk the same group comes again.
    const bytes = Buffer.concat(group.records);
    const last = this.#lastGroups[lane];
    this.#lastGroups[lane] = { life: this.#world.server.lives, group: group.group, bytes };
    if (last?.life === this.#world.server.lives && last.group === group.group) {
      if (!bytes.equals(last.bytes)) this.#wrong(`group ${group.group} of lane ${lane} comes again with other bytes`);
      return;
    }
    const entries = entriesOf(group);
    for (const entry of entries) this.#apply(isSteps(entry) ? this.#asSent(entry, nameOf) : entry);
    this.#checkAudit(entries, group);
    for (const [partition, { sequence }] of group.heads) {
      const { sequence: known } = this.#model(partition);
      if (known !== sequence)
        this.#wrong(`lane ${lane} seals ${partition} at ${sequence}, its entries end at ${known}`);
      this.#judgePending(partition);
    }
  }

  /** What a lane says about the memory of a partition, before or after a crash. */
  memoryIs(partition: number, position: number, hash: bigint): void {
    const known = this.#memories[partition]?.get(position);
    if (known === undefined) this.#memories[partition]?.set(position, hash);
    else if (known !== hash) this.#wrong(`the memory of partition ${partition} at ${position} is another than before`);
  }

  knowsMemory(partition: number, position: number): boolean {
    return this.#memories[partition]?.has(position) ?? false;
  }

  /** The lane came back: what it has must be what the device has, and all of what it promised. */
  recovered(partition: number, position: number, stored: number): void {
    const model = this.#model(partition);
    if (position !== stored) this.#wrong(`partition ${partition} recovers ${position}, the device has ${stored}`);
    const promised = this.durable[partition] as number;
    if (position < promised) this.#wrong(`partition ${partition} recovers ${position}, but ${promised} was durable`);
    model.truncate(position);
    this.told[partition] = promised;
    this.#pending[partition] = [];
    // Another history begins here.
    for (const at of [...(this.#memories[partition]?.keys() ?? [])]) {
      if (at > position) this.#memories[partition]?.delete(at);
    }
  }

  /** How many of the changes after the one position, up to the other, have audit items. */
  audited(partition: number, after: number, upTo: number): number {
    return this.#model(partition).applied.filter(
      ({ kind, position }) => hasEffect(kind) && position > after && position <= upTo,
    ).length;
  }

  // --- what the server answers, at the moment at which it is written ---

  answered(sent: Sent, { opcode, flags, body }: FrameView): void {
    if (opcode === Opcode.ERROR) this.#refused(sent, body);
    else if (this.#world.server.isAfterFailure) this.#wrong(`opcode ${opcode} is acknowledged after storage failed`);
    else if (sent.opcode === Opcode.ADD) this.#added(sent, flags, body);
    else if (sent.opcode === Opcode.ONCE) this.#counted(sent, flags, body);
    else if (sent.opcode === Opcode.SEE) this.#saw(sent, flags, body);
    else if (sent.opcode === Opcode.UNIQUES) this.#uniques(sent, body);
    else if (sent.opcode === Opcode.EXPIRE) this.#expires(sent, flags, body);
    else if (hasEffect(sent.opcode)) this.#wasSet(sent, flags, body);
    else if (sent.opcode === Opcode.GET) this.#read(sent, body);
    else if (sent.opcode === Opcode.LIST) this.#listed(sent, body);
    else if (sent.opcode === Opcode.OPEN) this.#opened(sent, body);
    else if (sent.opcode === Opcode.SYNC) this.#synced(body);
    else if (sent.opcode === Opcode.HELLO) this.#greeted(sent, body);
  }

  #refused(sent: Sent, body: Uint8Array): void {
    const { status, outcome, position } = decodeError(body);
    const code = codeOfStatus(status);
    if (code === 'INTERNAL') this.#wrong(`opcode ${sent.opcode} is answered INTERNAL`);
    if (outcome === 'applied') {
      if (this.#world.server.isAfterFailure) this.#wrong('ALREADY_APPLIED is acknowledged after storage failed');
      const { partition, batch } = sent;
      if (!batch) return this.#wrong(`a request without a sequence is ${code}`);
      if (position > 0) this.#mustBeStored(partition, position, 'an applied batch');
      if (position > 0) this.#judge(partition, position, (applied) => this.#mustBe(applied, sent, true));
    }
    if (outcome === 'refused' && isWrite(sent) && !sent.batch) {
      const key = looseKey(sent.partition, sent.opcode, sent.flags, sent.body);
      this.#loose.set(key, (this.#loose.get(key) ?? 0) - 1);
      if ((this.#loose.get(key) ?? 0) < 0) this.#wrong(`a request is refused (${code}) that is applied`);
    }
  }

  #added(sent: Sent, flags: number, body: Uint8Array): void {
    const answer = decodeAddAnswer(body, sent.count, (sent.flags & Flag.VALUES) !== 0);
    this.#written(sent, flags, answer, ({ result }) => {
      const { refused, values } = result as AddResult;
      return same(refused.flatMap(Object.values), answer.refused.flatMap(Object.values)) && same(values, answer.values);
    });
  }

  #counted(sent: Sent, flags: number, body: Uint8Array): void {
    const answer = decodeOnceAnswer(body, sent.count, (sent.flags & Flag.VALUES) !== 0);
    this.#written(sent, flags, answer, ({ result }) => {
      const { refused, counted, values } = result as OnceResult;
      const isRefused = same(refused.flatMap(Object.values), answer.refused.flatMap(Object.values));
      return isRefused && same(counted, answer.counted) && same(values, answer.values);
    });
  }

  #saw(sent: Sent, flags: number, body: Uint8Array): void {
    const hasValues = (sent.flags & Flag.VALUES) !== 0;
    const answer = decodeSeeAnswer(body, sent.count, hasValues);
    this.#written(sent, flags, answer, ({ result }) => {
      const { refused, seen } = result as SeeResult;
      const isRefused = same(refused.flatMap(Object.values), answer.refused.flatMap(Object.values));
      return isRefused && (!hasValues || same(seen, answer.seen.map(bitsOfSeen)));
    });
  }

  #wasSet(sent: Sent, flags: number, body: Uint8Array): void {
    const answer = decodeSetAnswer(body);
    this.#written(sent, flags, answer, ({ result }) => {
      const { status, previous } = result as SetResult;
      return status === answer.status && previous === answer.previous;
    });
  }

  #expires(sent: Sent, flags: number, body: Uint8Array): void {
    const answer = decodeExpireAnswer(body);
    this.#written(sent, flags, answer, ({ result }) => {
      const { status, expires } = result as ExpireResult;
      return status === answer.status && expires === answer.expires;
    });
  }

  #written(sent: Sent, flags: number, { position, flushed }: Progress, agrees: (applied: Applied) => boolean): void {
    const { partition } = sent;
    const isRepeat = (flags & Flag.REPEATED) !== 0;
    if (isRepeat && !sent.batch) this.#wrong('a request without a sequence is called repeated');
    if (!isRepeat && position <= sent.floor)
      this.#wrong(`a new write has position ${position}, not after ${sent.floor}`);
    this.#progress(partition, position, flushed);
    if (!(sent.flags & Flag.APPLIED)) this.#mustBeStored(partition, position, 'a durable write');
    this.#judge(partition, position, (applied) => {
      this.#mustBe(applied, sent, isRepeat);
      if (!agrees(applied)) this.#wrong(`the answer to ${applied.batch ?? 'a write'} at ${position} differs`);
    });
  }

  #read(sent: Sent, body: Uint8Array): void {
    const { partition, floor, after = 0, keys = [] } = sent;
    const { position, flushed, values } = decodeGetAnswer(body);
    this.#progress(partition, position, flushed);
    const isLatest = (sent.flags & Flag.LATEST) !== 0;
    if (isLatest && position < floor) this.#wrong(`a read shows ${position}, but ${floor} was known when it was sent`);
    if (position < after) this.#wrong(`a read that waits for ${after} shows ${position}`);
    if (!isLatest) this.#mustBeStored(partition, position, 'a durable read');
    if (keys.length !== values.length) this.#wrong(`${keys.length} keys have ${values.length} values`);
    const names = keys.map((key) => this.#model(partition).nameOf(key, position));
    this.#mustLast(sent, position, names);
    const mustBeAt = (at: number) =>
      keys.forEach((key, index) => {
        const expected = this.#model(partition).read(key, at);
        const found = values[index];
        if (found?.status === expected.status && found.value === expected.value) return;
        this.#wrong(`${JSON.stringify(key)} at ${at} is ${found?.value}, not ${expected.value}`);
      });
    this.#judge(partition, position, () => mustBeAt(position));
    // Whoever knew more when it was sent is shown what is still so, as of what is flushed.
    if (position < floor) this.judgeAt(partition, floor, () => mustBeAt(floor));
    this.#world.readsAtOnce += position < floor ? 1 : 0;
  }

  /** Of a window it may say that it is not known if the clock was ever set back, but never another number than a list has. */
  #uniques(sent: Sent, body: Uint8Array): void {
    const { partition, floor, keys = [], uniques, wallAt, stepsAt } = sent;
    if (!uniques) return;
    const { wanted, window } = uniques;
    const { position, flushed, counts } = decodeUniquesAnswer(body, wanted);
    this.#progress(partition, position, flushed);
    if (position < floor) this.#wrong(`unique items are of ${position}, but ${floor} was known when it was asked`);
    if (!(sent.flags & Flag.LATEST)) this.#mustBeStored(partition, position, 'a durable number of items');
    const { clock, tally } = this.#world;
    // Whichever time it is of: it was read between the two.
    const times = [wallAt, clock.wall];
    if (window && clock.steps !== stepsAt) return;
    const mayBeUnknown = window && tally['wall clock back'] > 0;
    this.judgeAt(partition, position, () => {
      const { sightings } = this.#model(partition);
      const expected = times.map((now) =>
        wanted === 'each'
          ? sightings.each(keys, position, window, now)
          : [sightings.union(keys, position, window, now)],
      );
      for (const [index, told] of counts.entries()) {
        if (mayBeUnknown && told.status === ERRORS.NOT_TRACKED.status) continue;
        const isRight = expected.some((each) => JSON.stringify(each[index]) === JSON.stringify(told));
        if (!isRight)
          this.#wrong(`${JSON.stringify(told)} of ${JSON.stringify({ keys, uniques })} at ${position} is wrong`);
        if (told.count > 0) this.#world.uniquesCompared++;
      }
    });
  }

  #listed(sent: Sent, body: Uint8Array): void {
    const { partition, floor } = sent;
    const { position, flushed, counters } = decodeListAnswer(body);
    this.#progress(partition, position, flushed);
    if (position < floor) this.#wrong(`a list shows ${position}, but ${floor} was known when it was asked for`);
    if (!(sent.flags & Flag.LATEST)) this.#mustBeStored(partition, position, 'a durable list');
    this.#mustLast(
      sent,
      position,
      counters.map(({ name }) => name),
    );
    this.judgeAt(partition, position, () => {
      for (const { name, value } of counters) {
        const expected = this.#model(partition).valueAt(name, position);
        if (value !== expected) this.#wrong(`${name} is listed at ${position} with ${value} instead of ${expected}`);
      }
    });
  }

  /**
   * What is shown from memory is of no counter that was past its time already when it was asked for; the clock may have been set since. A
   * read that waited for a position shows what came with it, be it an end in the past.
   */
  #mustLast({ partition, flags, wallAt }: Sent, position: number, names: readonly (string | undefined)[]): void {
    if (!(flags & Flag.LATEST)) return;
    const now = Math.min(this.#world.clock.wall, wallAt);
    this.judgeAt(partition, position, () => {
      for (const name of names) {
        if (name === undefined) continue;
        const model = this.#model(partition);
        const end = model.endAt(name, position);
        if (end !== 0 && end <= now && model.changedAt(name, position) <= now)
          this.#wrong(`${name} is shown at ${now} and was to end at ${end}`);
      }
    });
  }

  #opened(sent: Sent, body: Uint8Array): void {
    const { partition, names = [] } = sent;
    const { position, flushed, ids } = decodeOpenAnswer(body);
    this.#progress(partition, position, flushed);
    this.#mustBeStored(partition, position, 'OPEN');
    ids.forEach((id, index) => {
      if (id.slot === undefined) {
        this.#wrong(`OPEN refuses a name with ${codeOfStatus(id.status)}`);
        return;
      }
      const wrong = this.#model(partition).learnId(id.slot, id.generation, names[index] as string, position);
      if (wrong) this.#wrong(wrong);
    });
  }

  #synced(body: Uint8Array): void {
    for (const { partition, position } of decodeSyncAnswer(body).positions) {
      this.#mustBeStored(partition, position, 'SYNC');
    }
  }

  /** An opening must be on the device before it is answered, so that older sessions stay fenced. */
  #greeted(sent: Sent, body: Uint8Array): void {
    const { producer } = decodeHelloAnswer(body);
    if (!producer || sent.resumes) return;
    const id = Buffer.from(producer.id).toString('hex');
    for (const { partition, incarnation, next } of producer.partitions) {
      const opened = this.#model(partition).applied.find(({ kind, body, position }) => {
        if (kind !== Kind.OPEN_PRODUCER || position > this.#stored(partition)) return false;
        return Buffer.from(body.subarray(0, 16)).toString('hex') === id;
      });
      if (!opened) this.#wrong(`a producer is opened in partition ${partition} and it is on no device`);
      const known = this.#model(partition).producer(id);
      if (!known || known.incarnation < incarnation) this.#wrong(`incarnation ${incarnation} of ${id} is on no device`);
      if (next !== 1) this.#wrong(`an opened producer goes on with ${next}`);
      if (known?.incarnation === incarnation) this.#mustBeStored(partition, known.openedAt, 'an opening');
    }
  }

  // --- the parts ---

  /** What was sent where the log has its counters by their ids. */
  #asSent(steps: LogEntry, nameOf: NameOf): LogEntry {
    const { partition } = steps;
    const payload = (batch: string) => this.#batches.get(`${partition}/${batch}`)?.payload;
    const entry = this.#adds.entryOf(steps, this.#model(partition), payload, nameOf);
    if (typeof entry !== 'string') return entry;
    this.#wrong(`position ${steps.sequence} of ${partition}: ${entry}`);
    return steps;
  }

  #apply(entry: LogEntry): void {
    const { partition, sequence, flags, kind, body } = entry;
    const model = this.#model(partition);
    const wrong = model.apply(entry);
    if (wrong) return this.#wrong(`partition ${partition}: ${wrong}`);
    this.#world.tally['expired counter'] += model.applied.at(-1)?.ended ?? 0;
    if (!MAY_REPEAT.has(kind)) return;
    const own = hasEffect(kind) ? body.subarray(0, body.length - EFFECT_BYTES) : body;
    const batch = model.applied.at(-1)?.batch;
    if (batch === undefined) {
      const key = looseKey(partition, kind, flags, own);
      const left = this.#loose.get(key) ?? 0;
      if (left < 1) this.#wrong(`position ${sequence} of ${partition} is a write that nobody sent, or sent once more`);
      this.#loose.set(key, left - 1);
      return;
    }
    const made = this.#batches.get(`${partition}/${batch}`);
    if (!made) return this.#wrong(`batch ${batch} was made by nobody`);
    if (made.flags !== (flags & (Flag.ATOMIC | Flag.VALUES)) || !same(made.payload, payloadOf(own)))
      this.#wrong(`batch ${batch} is logged otherwise than it was made`);
  }

  /** Every SET and DELETE has an audit item in the group of its entry, and nothing else has. */
  #checkAudit(entries: readonly LogEntry[], { audit }: SealedGroup): void {
    const sets = new Set(
      entries.filter(({ kind }) => hasEffect(kind)).map(({ partition, sequence }) => `${partition}/${sequence}`),
    );
    for (const { partition, sequence, value } of audit) {
      if (!sets.delete(`${partition}/${sequence}`)) this.#wrong(`${partition}/${sequence} has an audit item too many`);
      const result = this.#model(partition).applied[sequence - 1]?.result as SetResult | undefined;
      if (String(result?.previous) !== decodeAudit(value).previous)
        this.#wrong(`the audit item of ${partition}/${sequence} tells another change`);
    }
    if (sets.size > 0) this.#wrong(`the change at ${[...sets][0]} has no audit item`);
  }

  #progress(partition: number, position: number, flushed: number): void {
    if (flushed > this.#stored(partition)) this.#wrong(`${flushed} is called flushed, ${this.#stored(partition)} is`);
    this.durable[partition] = Math.max(this.durable[partition] as number, flushed);
    this.told[partition] = Math.max(this.told[partition] as number, position);
  }

  #mustBeStored(partition: number, position: number, what: string): void {
    const stored = this.#stored(partition);
    if (position > stored)
      this.#wrong(`${what} at ${position} of partition ${partition} is told, ${stored} is flushed`);
    this.durable[partition] = Math.max(this.durable[partition] as number, position);
  }

  /** Calls back now, or when the group of that position is sealed; never if a crash takes it. */
  judgeAt(partition: number, position: number, judge: () => void): void {
    if (position <= this.#model(partition).sequence) judge();
    else this.#pending[partition]?.push({ position, judge });
  }

  #judge(partition: number, position: number, judge: (applied: Applied) => void): void {
    const model = this.#model(partition);
    const now = () => {
      const applied = model.applied[position - 1];
      if (applied) judge(applied);
      else this.#wrong(`there is no position ${position} in partition ${partition}`);
    };
    this.judgeAt(partition, position, now);
  }

  #judgePending(partition: number): void {
    const { sequence } = this.#model(partition);
    const pending = this.#pending[partition] ?? [];
    if (pending.length === 0) return;
    this.#pending[partition] = pending.filter(({ position }) => position > sequence);
    for (const { position, judge } of pending) if (position <= sequence) judge();
  }

  #mustBe({ batch, kind, body, position }: Applied, sent: Sent, isRepeat: boolean): void {
    if (sent.batch ? batch === sent.batch : batch === undefined && kind === sent.opcode && isBodyOf(body, sent)) return;
    const what = `${isRepeat ? 'a repeat' : 'a write'} of ${sent.batch ?? 'no producer'}`;
    this.#wrong(`${what} is told position ${position} of partition ${sent.partition}, which is ${batch ?? 'another'}`);
  }

  #model(partition: number): PartitionModel {
    return this.models[partition] as PartitionModel;
  }

  #stored(partition: number): number {
    return this.#world.server.disks[LANE_OF[partition] as number]?.stored.get(partition) ?? 0;
  }

  #wrong(what: string): void {
    this.#world.violate(what);
  }
}

/** Requests that change counters, and may have a sequence. */
const MAY_REPEAT: ReadonlySet<number> = new Set([
  Opcode.ADD,
  Opcode.SET,
  Opcode.DELETE,
  Opcode.EXPIRE,
  Opcode.ONCE,
  Opcode.SEE,
]);

function isWrite({ opcode }: Sent): boolean {
  return MAY_REPEAT.has(opcode);
}

function isBodyOf(logged: Uint8Array, { opcode, body }: Sent): boolean {
  return same(hasEffect(opcode) ? logged.subarray(0, logged.length - EFFECT_BYTES) : logged, body);
}

function looseKey(partition: number, opcode: number, flags: number, body: Uint8Array): string {
  const kept = flags & (Flag.ATOMIC | Flag.VALUES);
  return `${partition} ${opcode} ${kept} ${Buffer.from(body.buffer, body.byteOffset, body.length).toString('latin1')}`;
}

/** What follows `sequence` and `unanswered` in a sequenced body. */
function payloadOf(body: Uint8Array): Uint8Array {
  const reader = new ByteReader(body);
  reader.varint();
  reader.varint();
  return body.subarray(reader.offset);
}

function same(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
