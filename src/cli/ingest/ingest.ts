import type { Clock, Timer } from '../../clock.js';
import { TallystickError } from '../../errors.js';
import { Aggregate } from './aggregate.js';
import { csvFields, csvRecordEnd } from './csv.js';
import { Cursors, HEAD_BYTES, inputShorter, lineGrown, type Place, START } from './cursor.js';
import type { Input } from './input.js';
import { lineEnd, RecordSplitter } from './lines.js';
import { Outbox } from './outbox.js';
import { Plan, type Recipe } from './plan.js';
import { Unreadable } from './record.js';
import type { IngestTarget } from './target.js';

export interface IngestOptions {
  readonly recipe: Recipe;
  /** Keep cursors with the producer, and go on from those that are there. */
  readonly resumable: boolean;
  readonly clock: Clock;
  /** Called after each chunk of input. */
  readonly onProgress?: () => void;
  readonly limits?: IngestLimits;
}

export interface IngestLimits {
  /** Operations of a batch; at most the server's limit of 10,000. */
  readonly operations: number;
  /** Bytes of a batch; at most the server's frame of 1 MiB, less its head. */
  readonly bytes: number;
  /** After so many bytes of input all partitions are sent what waits for them: the most that a resume reads again. */
  readonly roundBytes: number;
  /** After so long without input likewise, so that a slow pipe is counted as it flows. */
  readonly idleMilliseconds: number;
}

export const DEFAULT_LIMITS: IngestLimits = {
  operations: 8_192,
  bytes: 512 * 1024,
  roundBytes: 4 * 1024 * 1024,
  idleMilliseconds: 1_000,
};

/** So many unusable lines are kept with number and reason; all are counted. */
export const UNUSABLE_KEPT = 1_000;

export interface Report {
  /** Set if the producer's cursors were found. */
  resumedFrom: Place | undefined;
  /** Records read in this run: used, filtered and unusable ones. */
  lines: number;
  used: number;
  filtered: number;
  unusable: number;
  /** The first UNUSABLE_KEPT of them, by the number of their (first) line in the input. */
  readonly unusableLines: { readonly line: number; readonly reason: string }[];
  /** Of `lines`, those that a former run had counted in some partitions, read again for the others. */
  reread: number;
}

/**
 * Streams an input into counters. With `resumable`, each batch carries the place up to which the input is
 * counted in its partition; the server keeps it with the increments, all or none of it. A later run reads from the
 * smallest of these places on and passes over what a partition already has, so however runs end, each line counts once.
 */
export class Ingest {
  readonly report: Report = {
    resumedFrom: undefined,
    lines: 0,
    used: 0,
    filtered: 0,
    unusable: 0,
    unusableLines: [],
    reread: 0,
  };
  readonly outbox: Outbox;

  readonly #input: Input;
  readonly #options: IngestOptions;
  readonly #limits: IngestLimits;
  readonly #target: IngestTarget;
  readonly #aggregate: Aggregate;
  readonly #cursors: Cursors;
  /** By partition, the place that its last batch carried: up to there it needs no more. */
  readonly #counted: Place[];
  /** From here on no partition has counted anything yet. */
  #frontier = 0;
  /** Behind the last record that was read. */
  #place: Place = START;
  #roundOffset = 0;

  constructor(input: Input, target: IngestTarget, options: IngestOptions) {
    const { recipe } = options;
    this.#input = input;
    this.#target = target;
    this.#options = options;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#aggregate = new Aggregate(target, {
      ...this.#limits,
      perRecord: recipe.counts.length + recipe.sums.length + 2 * recipe.sightings.length,
    });
    this.#cursors = new Cursors(recipe);
    this.#counted = Array.from({ length: target.partitions }, () => START);
    this.outbox = new Outbox(target);
  }

  /** Distinct names so far; `exact: false`: at least so many. */
  get names(): { count: number; exact: boolean } {
    return this.#aggregate.names;
  }

  /**
   * Reads the input to its end; resolves when all is acknowledged.
   *
   * @throws TallystickError INVALID_ARGUMENT if a field is unknown, INPUT_CHANGED if the producer's cursors are of
   *   another input or recipe, INPUT_FAILED, or what made a batch fail for good; `report` and `outbox` stay true
   */
  async run(): Promise<void> {
    try {
      if (this.#options.resumable) await this.#resume();
      const plan = new Plan(this.#options.recipe, await this.#header());
      await this.#readAll(plan);
      if (this.#place.offset < this.#frontier) throw inputShorter(this.#frontier);
      await this.#round();
    } finally {
      await this.outbox.settle();
    }
    this.outbox.throwFailure();
  }

  /** Takes up the cursors, after checking each of them. */
  async #resume(): Promise<void> {
    const { cursors } = this.#target;
    for (const [partition, cursor] of cursors) this.#counted[partition] = this.#cursors.decode(cursor);
    const offsets = this.#counted.map(({ offset }) => offset);
    this.#frontier = Math.max(...offsets);
    const head = await this.#input.readHead(Math.min(this.#frontier, HEAD_BYTES));
    for (const [partition, cursor] of cursors)
      this.#cursors.checkIdentity(cursor, this.#counted[partition] as Place, head);
    if ((this.#input.length ?? Number.POSITIVE_INFINITY) < this.#frontier) throw inputShorter(this.#frontier);
    const smallest = Math.min(...offsets);
    this.#place = this.#counted.find(({ offset }) => offset === smallest) as Place;
    this.#roundOffset = smallest;
    if (cursors.size > 0) this.report.resumedFrom = this.#place;
  }

  /** The header's names, which must lie within the first 64 KiB; none for formats without a header. */
  async #header(): Promise<string[]> {
    if (this.#options.recipe.format !== 'csv') return [];
    let head = await this.#input.readHead(1);
    for (let wanted = head.length + 1; csvRecordEnd(head, 0) < 0 && wanted <= HEAD_BYTES; wanted = head.length + 1) {
      head = await this.#input.readHead(wanted);
      if (head.length < wanted) break;
    }
    const splitter = new RecordSplitter(csvRecordEnd);
    splitter.push(head);
    splitter.finish();
    const fields = splitter.nextRecord() ? csvFields(head.subarray(splitter.start, splitter.end)) : [];
    const names = fields.filter((field) => typeof field === 'string');
    if (names.length === 0 || names.length < fields.length)
      throw new TallystickError('INVALID_ARGUMENT', 'The first line of the input is not a csv header.');
    return names;
  }

  async #readAll(plan: Plan): Promise<void> {
    const { offset, chunks } = await this.#input.fromLine(this.#place.offset);
    this.#place = { ...this.#place, offset };
    const splitter = new RecordSplitter(this.#options.recipe.format === 'csv' ? csvRecordEnd : lineEnd, offset);
    for (;;) {
      const chunk = await this.#nextChunk(chunks);
      if (chunk === undefined) break;
      splitter.push(chunk);
      await this.#takeRecords(splitter, plan);
      this.#options.onProgress?.();
    }
    splitter.finish();
    await this.#takeRecords(splitter, plan);
  }

  /** Waits for input; each time that none comes for a while, sends what there is. */
  async #nextChunk(chunks: AsyncIterator<Buffer>): Promise<Buffer | undefined> {
    const next = chunks.next();
    // Who leaves by a failed batch no longer waits for this; everyone else meets its error below.
    next.catch(() => {});
    for (;;) {
      const result = await this.#orIdle(next);
      if (result !== 'idle') return result.done ? undefined : result.value;
      this.outbox.throwFailure();
      await this.#round();
    }
  }

  async #orIdle<T>(promise: Promise<T>): Promise<T | 'idle'> {
    let timer: Timer | undefined;
    const idle = new Promise<'idle'>((resolve) => {
      timer = this.#options.clock.setTimer(this.#limits.idleMilliseconds, () => resolve('idle'));
    });
    try {
      return await Promise.race([promise, idle]);
    } finally {
      timer?.cancel();
    }
  }

  async #takeRecords(splitter: RecordSplitter, plan: Plan): Promise<void> {
    while (splitter.nextRecord()) {
      const line = this.#place.lines + 1;
      const isHeader = splitter.offset === 0 && this.#options.recipe.format === 'csv';
      if (!isHeader) this.#takeRecord(splitter, plan, line);
      this.#place = { offset: splitter.next, lines: this.#place.lines + splitter.lines };
      if (this.#aggregate.full.size > 0) for (const partition of this.#aggregate.full) await this.#send(partition);
      if (this.#place.offset - this.#roundOffset >= this.#limits.roundBytes) await this.#round();
    }
  }

  #takeRecord(splitter: RecordSplitter, plan: Plan, line: number): void {
    const { report } = this;
    const verdict = plan.read(splitter.bytes, splitter.start, splitter.end, splitter.tooLong);
    const isNew = splitter.offset >= this.#frontier;
    if (!isNew) this.#checkWhole(splitter);
    report.lines += 1;
    if (!isNew) report.reread += 1;
    if (verdict instanceof Unreadable) {
      report.unusable += 1;
      if (report.unusable <= UNUSABLE_KEPT) report.unusableLines.push({ line, reason: verdict.reason });
      return;
    }
    report[verdict] += 1;
    if (verdict === 'filtered') return;
    for (let index = 0; index < plan.names.length; index += 1) {
      const name = plan.names[index] as string;
      if (isNew || !this.#isCounted(name, splitter))
        this.#aggregate.add(name, plan.deltas[index] as bigint, plan.minute);
    }
    for (let index = 0; index < plan.seenUnder.length; index += 1) {
      const name = plan.seenUnder[index] as string;
      if (isNew || !this.#isCounted(name, splitter)) this.#aggregate.see(name, plan.seen[index] as string);
    }
  }

  #isCounted(name: string, { contentEnd }: RecordSplitter): boolean {
    return contentEnd <= (this.#counted[this.#aggregate.partitionOf(name)] as Place).offset;
  }

  /** A cursor stands between two lines, or else the line has changed since. */
  #checkWhole({ offset, contentEnd }: RecordSplitter): void {
    for (const counted of this.#counted)
      if (counted.offset > offset && counted.offset < contentEnd) throw lineGrown(counted.offset);
  }

  /** Sends every partition what waits for it; one for which nothing waits has its cursor moved all the same. */
  async #round(): Promise<void> {
    this.#roundOffset = this.#place.offset;
    for (let partition = 0; partition < this.#target.partitions; partition += 1) await this.#send(partition);
  }

  /** Resolves when the batch is on its way, which may mean to wait for the one before it. */
  async #send(partition: number): Promise<void> {
    const moved = this.#place.offset > (this.#counted[partition] as Place).offset;
    if (!moved || !(this.#options.resumable || this.#aggregate.has(partition))) return;
    await this.outbox.ready(partition);
    const cursor = this.#options.resumable ? this.#cursors.encode(this.#place, this.#input.head) : undefined;
    this.#counted[partition] = this.#place;
    this.outbox.send(partition, this.#aggregate.take(partition), cursor);
  }
}
