import { copyBytes, copyTouched } from '../copy.js';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import { ByteReader } from '../protocol/bytes.js';
import { encodeConfiguration, hasLimits, type PartitionConfiguration } from './configuration.js';
import { Dirty } from './dirty.js';
import type { KernelExports } from './kernel-exports.js';
import { Kind } from './kind.js';
import { Marks } from './marks.js';
import {
  decodeKnownProducer,
  decodeProducer,
  type KnownProducer,
  type PartitionStatistics,
  type ProducerState,
  readClasses,
  readStatistics,
  type TrackedCounter,
  timeOf,
} from './partition-state.js';
import { Touched, Watch } from './touched.js';
import { Views } from './views.js';

export type { PartitionConfiguration } from './configuration.js';
export { DUE, Kind, REPEATED, UNCHANGED } from './kind.js';
export type { KnownProducer, PartitionStatistics, ProducerState, TrackedCounter } from './partition-state.js';

/**
 * The typed host of a kernel (src/kernel): one partition's linear memory and the calls into it. Synchronous and
 * deterministic; only the thread that owns the partition may use it.
 */

export const KERNEL_VERSION = 6;

// src/kernel/layout.ts; a test holds the two together.
const REGISTER_NEXT = 16;
const REGISTER_ANSWER_LENGTH = 20;
const REGISTER_POSITION = 24;
const REGISTER_EFFECT = 32;
const REGISTER_OPERATIONS = 84;
const REGISTER_EMITTED = 92;
const REGISTER_WATCHED = 512;
const REGISTER_TOUCHED = 516;
const REGISTER_GONE_BYTES = 520;
const REGISTER_VALUE = 528;
const REGISTER_STRICT = 224;
const REGISTER_LOGGED = 228;
const RECEIVE = 0x1000;
const RECEIVE_BYTES = 1_048_576;
const ANSWER = 0x180000;
const TOUCHED = 0x1c0000;
const GONE_NAMES = 0x1e8000;
const EMITTED = 0x200000;
const HEADER = 0x600000;
const MAGIC = 0x6b795474;
const H_SEQUENCE = HEADER + 8;
const H_NEXT_PAGE = HEADER + 16;
const H_SLOTS = HEADER + 64;
const H_CLOCK = HEADER + 48;
const H_INCARNATION = HEADER + 196;
const H_LIVE_PRODUCERS = HEADER + 204;
const H_OPERATION_IDS = HEADER + 248;
const H_TRACKS = HEADER + 280;
const H_TO_CLASSIFY = HEADER + 304;
const H_EXPIRIES = HEADER + 312;
const H_DAY_END = HEADER + 320;

const INITIAL_PAGES = 192;
export const MAXIMUM_PAGES = 65_535;
export const PAGE_BYTES = 65_536;
export const SLOT_BYTES = 16;
/** Of an item that counted once, where it is told. */
const ONCE_ITEM_BYTES = 12;

/** From so long a body on it is worth while to give back what bodies touched: this, and what is noted of their operations, some twice as much. */
const RENEWED_BODY = 16_384;
/** And up to so large a state, 4 MiB, which is copied for it. */
const RENEWED_PAGES = 64;

export class Partition {
  readonly #module: WebAssembly.Module;
  #marks!: Marks;
  #dirty!: Dirty;
  #memory!: WebAssembly.Memory;
  #kernel!: KernelExports;
  /** The first 12 MiB, in which everything lies that the host touches; memory that grows keeps it valid. */
  #bytes!: Uint8Array;
  #view!: DataView;
  #received!: Views;
  #answers!: Views;
  /** Bytes of the longest body since the memory was new. */
  #longest = 0;

  constructor(module: WebAssembly.Module) {
    this.#module = module;
    this.#instantiate();
  }

  #instantiate(): void {
    this.#memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES, shared: true });
    const instance = new WebAssembly.Instance(this.#module, { env: { memory: this.#memory } });
    this.#kernel = instance.exports as unknown as KernelExports;
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#view = new DataView(this.#memory.buffer);
    this.#received = new Views(this.#bytes, RECEIVE);
    this.#answers = new Views(this.#bytes, ANSWER);
    this.#marks = new Marks(this.#memory, this.#kernel, this.#view);
    this.#dirty = new Dirty(this.#kernel);
  }

  /**
   * Applies a body. 0: applied, and now the caller owes it to the log under `sequence`; UNCHANGED, REPEATED: there is an
   * answer and nothing to log; else the status that refuses it, and nothing has changed.
   *
   * @param producer incarnation  of the connection's session in this partition; 0 unless the body is sequenced
   * @param milliseconds  wall clock, part of the body for replay
   */
  apply(
    kind: number,
    flags: number,
    producer: number,
    incarnation: number,
    milliseconds: number,
    body: Uint8Array,
  ): number {
    this.#receive(body);
    return this.#kernel.apply(kind, flags, producer, incarnation, milliseconds, body.length);
  }

  /** What `apply` would say of the body's sequence, without applying it: OK where it would be applied. */
  judge(kind: number, flags: number, producer: number, incarnation: number, body: Uint8Array): number {
    this.#receive(body);
    return this.#kernel.judge(kind, flags, producer, incarnation, body.length);
  }

  /** Answers the body of a GET from memory; changes nothing. */
  read(body: Uint8Array): number {
    this.#receive(body);
    return this.#kernel.read(body.length);
  }

  /** Answers the body of a LIST from memory; changes nothing. */
  list(body: Uint8Array): number {
    this.#receive(body);
    return this.#kernel.list(body.length);
  }

  /** Answers the body of a WINDOW from memory, as of a time; changes nothing. */
  window(body: Uint8Array, milliseconds: number): number {
    this.#receive(body);
    return this.#kernel.window(body.length, milliseconds);
  }

  /** Answers the body of an EXPIRY from memory; changes nothing. */
  expiries(body: Uint8Array): number {
    this.#receive(body);
    return this.#kernel.expiries(body.length);
  }

  /** Answers the body of a UNIQUES from memory, as of a time; changes nothing. */
  uniques(body: Uint8Array, milliseconds: number): number {
    this.#receive(body);
    return this.#kernel.uniques(body.length, milliseconds);
  }

  /**
   * What the history of a counter is read with, by a body of its key; changes nothing. What its history lacks, as its hour is not over, is
   * in `emitted`.
   *
   * @throws TallystickError what refuses it
   */
  tracked(body: Uint8Array): TrackedCounter {
    this.#receive(body);
    const status = this.#kernel.history(body.length);
    if (status !== OK) throw new TallystickError(codeOfStatus(status));
    const slot = this.#view.getUint32(ANSWER, true);
    return {
      counter: slot === 0 ? undefined : { slot: slot - 1, generation: this.#view.getUint16(ANSWER + 16, true) },
      exists: this.#view.getUint8(ANSWER + 18) === 1,
      value: this.#view.getBigInt64(ANSWER + 8, true),
      classNumber: this.#view.getUint8(ANSWER + 19),
      since: this.#view.getUint32(ANSWER + 4, true) * 60_000,
    };
  }

  #receive(body: Uint8Array): void {
    if (body.length > RECEIVE_BYTES)
      throw new RangeError(`A body has at most ${RECEIVE_BYTES} bytes, not ${body.length}.`);
    if (body.length > this.#longest) this.#longest = body.length;
    copyBytes(this.#bytes, body, RECEIVE);
  }

  /** The answer of the last call, a view of kernel memory: copy it before the next call. */
  get answer(): Uint8Array {
    return this.#answers.of(this.#view.getUint32(REGISTER_ANSWER_LENGTH, true));
  }

  /** The position at which a REPEATED (or ALREADY_APPLIED) body was applied; 0 if that is no longer known. */
  get repeatedPosition(): number {
    return this.#u64(REGISTER_POSITION);
  }

  /** How many operations the body had that was applied last; 0 where it was no ADD, SEE or ONCE. */
  get operations(): number {
    return this.#view.getUint32(REGISTER_OPERATIONS, true);
  }

  /** The number of the counter that one of them stepped; undefined where it has none. To be asked before the next call. */
  slotOfOperation(index: number): number | undefined {
    const slot = this.#kernel.slotOfOperation(index);
    return slot === 0 ? undefined : slot - 1;
  }

  /** The number of the counter of a key of the GET that was read last. */
  slotOfKey(index: number): number | undefined {
    const slot = this.#kernel.slotOfKey(index);
    return slot === 0 ? undefined : slot - 1;
  }

  /** The value of the counter that has this number now, as a number where it is one exactly; undefined where none exists. */
  valueOfSlot(slot: number): number | bigint | undefined {
    if (this.#kernel.lookAt(slot) === 0) return undefined;
    const view = this.#view;
    const value = view.getInt32(REGISTER_VALUE + 4, true) * 2 ** 32 + view.getUint32(REGISTER_VALUE, true);
    return Number.isSafeInteger(value) ? value : view.getBigInt64(REGISTER_VALUE, true);
  }

  /** How it is watched from now on. Clears its marks. */
  watch(how: number): void {
    this.#view.setUint32(REGISTER_WATCHED, how, true);
    this.#marks.clear();
  }

  /** What was touched since `watch`. */
  get marks(): Marks {
    return this.#marks;
  }

  /** What was touched and is not flushed, where that is kept. */
  get dirty(): Dirty {
    return this.#dirty;
  }

  /** What the body touched that was applied last, besides what only has marks; valid until the next one. */
  get touched(): Touched {
    const count = this.#view.getUint32(REGISTER_TOUCHED, true);
    const names = this.#bytes.subarray(GONE_NAMES, EMITTED);
    return new Touched(this.#view, TOUCHED, count, names, this.#view.getUint32(REGISTER_GONE_BYTES, true));
  }

  /** The name that has this number now; undefined where none has it. */
  nameOfSlot(slot: number): string | undefined {
    const length = this.#kernel.nameOfSlot(slot);
    return length === 0 ? undefined : new ByteReader(this.#bytes, ANSWER).name(length);
  }

  /** The number of a counter's class, from 1, in the order in which they are in force; 0 where it has none, or is gone. */
  classOf(slot: number, generation: number): number {
    return this.#kernel.classOf(slot, generation);
  }

  /** Whether the body that was applied last changed a counter of a strict class. */
  get isStrict(): boolean {
    return this.#view.getUint32(REGISTER_STRICT, true) > 0;
  }

  /** The body that was applied last as a STEPS, a view of kernel memory; undefined where the log needs it as it came. */
  get steps(): Uint8Array | undefined {
    const length = this.#view.getUint32(REGISTER_LOGGED, true);
    return length === 0 ? undefined : this.#received.of(length);
  }

  /** The delta that the last SET or DELETE caused. */
  get effect(): bigint {
    return this.#view.getBigInt64(REGISTER_EFFECT, true);
  }

  /** Whether the last `apply` has anything for the history. */
  get hasEmitted(): boolean {
    return this.#view.getUint32(REGISTER_EMITTED, true) > 0;
  }

  /** What the last `apply` has for the history (emitted.ts), a view of kernel memory. */
  get emitted(): Uint8Array {
    return this.#bytes.subarray(EMITTED, EMITTED + this.#view.getUint32(REGISTER_EMITTED, true));
  }

  /** The sequence of the last body applied. */
  get sequence(): number {
    return this.#u64(H_SEQUENCE);
  }

  configure(configuration: PartitionConfiguration, milliseconds: number): Uint8Array {
    const body = encodeConfiguration(configuration);
    const status = this.apply(Kind.CONFIGURE, 0, 0, 0, milliseconds, body);
    if (status !== 0)
      throw new TallystickError('DIRECTORY_INVALID', `Partition ${configuration.partition} has another configuration.`);
    return body;
  }

  /** Whether the kernel has these limits already. */
  hasLimits(configuration: PartitionConfiguration): boolean {
    return hasLimits(this.#view, configuration);
  }

  /** The classes in force, as the kernel has them: entries of src/kernel/classes.ts. */
  get classes(): Uint8Array {
    return readClasses(this.#bytes, this.#view);
  }

  /** Whether a change of the classes has not come to all names yet. Ticks go on with it. */
  get isClassifying(): boolean {
    return this.#view.getUint32(H_TO_CLASSIFY, true) > 0;
  }

  /** The answer of the last OPEN_PRODUCER. */
  get openedProducer(): ProducerState {
    return decodeProducer(this.answer);
  }

  /** The producer with a 16-byte id. */
  producer(id: Uint8Array): ProducerState | undefined {
    this.#receive(id);
    const length = this.#kernel.lookUpProducer();
    return length === 0 ? undefined : decodeProducer(this.#bytes.subarray(ANSWER, ANSWER + length));
  }

  /** All producers, in the order of their numbers. */
  *producers(): Generator<KnownProducer> {
    for (let number = 0; ; number++) {
      const length = this.#kernel.producerAt(number);
      if (length < 0) return;
      if (length === 0) continue;
      yield decodeKnownProducer(this.#bytes.slice(ANSWER, ANSWER + length));
    }
  }

  /** The incarnation that was given last. */
  get incarnation(): number {
    return this.#view.getUint32(H_INCARNATION, true);
  }

  /**
   * Begins the incarnations behind one: for a partition that takes the place of others, so that no session of theirs is its own.
   */
  startIncarnations(after: number): void {
    this.#view.setUint32(H_INCARNATION, after, true);
  }

  /** Milliseconds that the kernel has seen pass. */
  get clock(): number {
    return this.#u64(H_CLOCK);
  }

  /** Sets that, for a partition in the making that takes what others keep for some time. */
  startClock(milliseconds: number): void {
    this.#view.setBigInt64(H_CLOCK, BigInt(milliseconds), true);
  }

  /** The items that counted once under each name, in parts, as KEEP takes them (src/kernel/once-moving.ts). */
  *countedOnce(): Generator<{ readonly name: string; readonly items: Uint8Array }> {
    for (let slot = 0; slot < this.slots; slot++) {
      const name = this.nameOfSlot(slot);
      for (let from = 0; name !== undefined; ) {
        const count = this.#kernel.onceItems(slot, from);
        from = this.#view.getUint32(REGISTER_NEXT, true);
        if (count > 0) yield { name, items: this.#bytes.slice(ANSWER, ANSWER + count * ONCE_ITEM_BYTES) };
        if (from === 0) break;
      }
    }
  }

  /** What was seen under each name in each of its hours and days, as BRING takes it (src/kernel/unique-windows-moving.ts). */
  *seenInWindows(): Generator<{ readonly name: string; readonly window: Uint8Array }> {
    for (let slot = 0; slot < this.slots; slot++) {
      const name = this.nameOfSlot(slot);
      for (let index = 0; name !== undefined; index++) {
        const length = this.#kernel.uniqueWindow(slot, index);
        if (length === 0) break;
        yield { name, window: this.#bytes.slice(ANSWER, ANSWER + length) };
      }
    }
  }

  /** Milliseconds of the last body. */
  get time(): number {
    return timeOf(this.#view, HEADER);
  }

  /**
   * Whether a counter is past its time, or the present day of a class over. Until TICKs have ended all of those, and a DAYS has told the next
   * day, `apply` takes nothing else.
   */
  hasDue(milliseconds: number): boolean {
    const mayBe = this.#view.getUint32(H_EXPIRIES, true) > 0 || this.#u64(H_DAY_END) > 0;
    return mayBe && this.#kernel.isDue(milliseconds) !== 0;
  }

  /** Whether it is a DAYS that is to come. */
  needsDays(milliseconds: number): boolean {
    return this.#kernel.needsDays(milliseconds) !== 0;
  }

  /** Whether time alone has work here: operation ids or anonymous producers to forget, windows to close, counters to end. */
  get needsTicks(): boolean {
    const work = [H_OPERATION_IDS, H_LIVE_PRODUCERS, H_TRACKS, H_TO_CLASSIFY, H_EXPIRIES];
    return work.some((address) => this.#view.getUint32(address, true) > 0);
  }

  /** How many slots there are, those without a counter among them. */
  get slots(): number {
    return this.#view.getUint32(H_SLOTS, true);
  }

  get statistics(): PartitionStatistics {
    return readStatistics(this.#view);
  }

  /** XXH64 of the persistent state. */
  get stateHash(): bigint {
    return BigInt.asUintN(64, this.#kernel.stateHash());
  }

  /** A copy of the persistent state. */
  get state(): Uint8Array {
    return new Uint8Array(this.#memory.buffer, HEADER, this.#kernel.stateBytes()).slice();
  }

  /** How many pages of 64 KiB the persistent state has; page 0 is the header's. */
  get pages(): number {
    return this.#kernel.stateBytes() / PAGE_BYTES;
  }

  /** XXH64 of `count` pages of the persistent state from page `first` on. @throws RangeError where there are fewer */
  hashPages(first: number, count: number): bigint {
    this.#requirePages(first, count);
    return BigInt.asUintN(64, this.#kernel.hashPages(first, count));
  }

  /** A copy of one page of the persistent state, in `into`. @throws RangeError where there is none */
  page(index: number, into = new Uint8Array(PAGE_BYTES)): Uint8Array {
    this.#requirePages(index, 1);
    into.set(new Uint8Array(this.#memory.buffer, HEADER + index * PAGE_BYTES, PAGE_BYTES));
    return into;
  }

  #requirePages(first: number, count: number): void {
    const areWhole = Number.isInteger(first) && Number.isInteger(count);
    if (areWhole && first >= 0 && count >= 1 && first + count <= this.pages) return;
    throw new RangeError(`There are no ${count} pages from ${first} on; the state has ${this.pages}.`);
  }

  /**
   * Puts a page of the state of another kernel in, which has so many. The header, page 0, comes last: with it the partition
   * is what the other was. For a partition to which nothing was applied.
   *
   * @throws TallystickError DIRECTORY_INVALID where the header is not that of such a state of this version of the kernel
   */
  restorePage(index: number, pages: number, bytes: Uint8Array): void {
    if (this.sequence !== 0) throw new RangeError('Only a partition to which nothing was applied takes a state.');
    if (index < 0 || index >= pages || bytes.length !== PAGE_BYTES) {
      throw new RangeError(`${bytes.length} bytes are not page ${index} of ${pages}.`);
    }
    const end = HEADER / PAGE_BYTES + pages;
    if (index === 0) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const [magic, version, next] = [0, 4, H_NEXT_PAGE - HEADER].map((offset) => view.getUint32(offset, true));
      if (magic !== MAGIC || version !== KERNEL_VERSION || next !== end) {
        throw new TallystickError('DIRECTORY_INVALID', 'The pages are no state of this version of the kernel.');
      }
    }
    this.#kernel.growTo(end);
    new Uint8Array(this.#memory.buffer).set(bytes, HEADER + index * PAGE_BYTES);
  }

  /**
   * Gives back what long bodies have touched below the state: goes on in new memory with a copy of the state, which takes some milliseconds, and the old memory
   * goes with the garbage. Does nothing where that is little beside the state, or while it is watched, as marks lie there too.
   */
  renewMemory(): void {
    const { pages } = this;
    const isWatched = this.#view.getUint32(REGISTER_WATCHED, true) !== Watch.NOT;
    if (this.#longest < RENEWED_BODY || pages > RENEWED_PAGES || isWatched) return;
    const state = new Uint8Array(this.#memory.buffer, HEADER, pages * PAGE_BYTES);
    this.#instantiate();
    this.#longest = 0;
    copyTouched(this.#bytes, state, HEADER);
  }

  /** Makes it again a partition to which nothing was applied. The memory that it has taken stays taken. */
  reset(): void {
    // Where a restore ended before the header, which comes last, nothing says how far it got.
    const end = this.sequence === 0 ? this.#memory.buffer.byteLength : HEADER + this.#kernel.stateBytes();
    new Uint8Array(this.#memory.buffer).fill(0, HEADER, end);
  }

  #u64(address: number): number {
    return this.#view.getUint32(address, true) + this.#view.getUint32(address + 4, true) * 2 ** 32;
  }
}
