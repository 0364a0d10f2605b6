import { TallystickError } from '../../src/errors.js';
import { AUDIT_SCRATCH_BYTES, decodeAuditItem, encodeAuditItem } from '../../src/log/audit.js';
import { decodeBegin, encodeBegin } from '../../src/log/begin.js';
import { ChecksummedBuffer } from '../../src/log/checksum.js';
import type {
  AppendOutcome,
  Log,
  LogPlace,
  LogReader,
  LogShape,
  LogStats,
  PartitionRange,
  ReplayEnd,
  ReplayOptions,
  SealedGroup,
} from '../../src/log/log.js';
import type { AuditItem } from '../../src/log/record.js';
import { corrupt, firstPlace, PartitionReplay, Replay } from '../../src/log/replay.js';
import type { SegmentedLogOptions } from '../../src/log/segmented-log.js';
import { continues, DEFAULT_SEGMENT_BYTES, droppable, isFull, startOf } from '../../src/log/segments.js';

/**
 * A log in memory. What it may do wrong, beside answering late:
 *
 * - full: an append answers `not-written`, and nothing of the group is on the disk.
 * - failed: an append answers `unknown`; the group is on the disk or not. Every later append answers `unknown` too.
 * - silent: an append never answers; the group is on the disk or not.
 * - crash: an append that has not answered never does; its group is on the disk or not. What was answered `flushed`
 *   stays.
 * - damage at rest: a test edits the maps of the disk while no log is open.
 *
 * A group is on the disk whole or not at all. Like LMDB it reads the records when it commits, not when it is called.
 *
 * Where a group begins a segment, an append that did not store it has made the segment or not: `segment` says.
 */
export type Fault =
  | { readonly kind: 'full'; readonly segment?: boolean }
  | { readonly kind: 'failed'; readonly stored: boolean; readonly segment?: boolean }
  | { readonly kind: 'silent'; readonly stored: boolean; readonly segment?: boolean };

/** Its beginning as bytes, records by number, audit items by key in hex, and when it was written last. */
export class SimSegment {
  begin: Uint8Array;
  readonly records = new Map<number, Uint8Array>();
  readonly audit = new Map<string, Uint8Array>();
  written = 0;

  constructor(begin: LogPlace) {
    this.begin = encodeBegin(begin);
  }
}

/** What survives a crash: segments by the numbers of their first records. */
export class SimDisk {
  readonly segments = new Map<number, SimSegment>();

  /** The records of all segments, by number. */
  get records(): ReadonlyMap<number, Uint8Array> {
    return new Map([...this.segments.values()].flatMap(({ records }) => [...records]));
  }
}

export class SimLog implements Log, LogReader {
  /** The faults of the next appends, the next one first; undefined for none. */
  readonly script: (Fault | undefined)[] = [];
  /** The bytes of every append that was tried, in hex. */
  readonly attempts: string[] = [];
  readonly #disk: SimDisk;
  readonly #shape: LogShape;
  readonly #commitLater: (commit: () => void) => void;
  readonly #options: SegmentedLogOptions;
  readonly #scratch = new ChecksummedBuffer(AUDIT_SCRATCH_BYTES);
  #end: LogPlace | undefined;
  #failure: AppendOutcome | undefined;
  #pending: SealedGroup | undefined;
  #crashed = false;

  /** @param commitLater calls back when the device would have flushed. */
  constructor(
    disk: SimDisk,
    shape: LogShape,
    commitLater: (commit: () => void) => void,
    options: Pick<SegmentedLogOptions, 'segmentBytes' | 'retention'> = {},
  ) {
    this.#disk = disk;
    this.#shape = shape;
    this.#commitLater = commitLater;
    this.#options = options;
    if (disk.segments.size === 0) disk.segments.set(1, new SimSegment(firstPlace(shape)));
    const newest = this.#newest;
    if (newest.records.size === 0) this.#end = decodeBegin(newest.begin);
  }

  /** Whether an append is unanswered. */
  get busy(): boolean {
    return this.#pending !== undefined;
  }

  get firstRecord(): number {
    return this.#numbers[0] as number;
  }

  append(group: SealedGroup): Promise<AppendOutcome> {
    if (this.#pending) throw new Error('One append at a time.');
    if (this.#failure) return Promise.resolve(this.#failure);
    if (!this.#end || !continues(this.#end, group)) throw new Error('The group does not begin where the log ends.');
    this.#pending = group;
    const fault = this.script.shift();
    return new Promise((resolve) => {
      this.#commitLater(() => {
        if (this.#crashed) return;
        const outcome = this.#finish(group, fault);
        if (fault?.kind === 'silent') return;
        this.#pending = undefined;
        resolve(outcome);
      });
    });
  }

  appendNow(group: SealedGroup): AppendOutcome | undefined {
    if (this.#pending) throw new Error('One append at a time.');
    const [fault] = this.script;
    // Where nothing answers the thread would hang, which is for another one to see
    if (fault?.kind === 'silent') return undefined;
    if (this.#failure) return this.#failure;
    if (!this.#end || !continues(this.#end, group)) throw new Error('The group does not begin where the log ends.');
    this.script.shift();
    return this.#finish(group, fault);
  }

  async replay(options: ReplayOptions): Promise<ReplayEnd> {
    const numbers = this.#numbers;
    const beginOf = async (index: number) => this.#beginOf(numbers[index] as number);
    const first = await startOf(numbers.length, beginOf, options.from);
    const replay = new Replay(this.#shape, await beginOf(first), options);
    for (const number of numbers.slice(first)) {
      replay.enter(this.#beginOf(number));
      const { records } = this.#segment(number);
      for (const each of [...records.keys()].sort((a, b) => a - b)) replay.record(each, records.get(each));
    }
    this.#end = replay.end();
    return replay.end();
  }

  async readPartition(range: PartitionRange): Promise<void> {
    const replay = new PartitionReplay(this.#shape, range);
    const { records } = this.#disk;
    for (let number = range.after.records + 1; number <= range.to.records; number++) {
      replay.record(number, records.get(number));
    }
    replay.end();
  }

  async release(released: number): Promise<void> {
    const { retention } = this.#options;
    if (!retention) return;
    const numbers = this.#numbers;
    const kept = numbers.map((firstRecord) => {
      const { records, written } = this.#segment(firstRecord);
      return { firstRecord, bytes: bytesOf(records), written };
    });
    const count = droppable(kept, released, retention, retention.clock.wallMilliseconds());
    for (const number of numbers.slice(0, count)) this.#disk.segments.delete(number);
  }

  async audit(visit: (item: AuditItem) => void, after = 0): Promise<void> {
    const numbers = this.#numbers;
    for (const [index, number] of numbers.entries()) {
      if ((numbers[index + 1] ?? Number.POSITIVE_INFINITY) <= after + 1) continue;
      const { audit } = this.#segment(number);
      for (const key of [...audit.keys()].sort()) {
        visit(decodeAuditItem(this.#scratch, Buffer.from(key, 'hex'), audit.get(key) as Uint8Array));
      }
    }
  }

  stats(): LogStats {
    const usedBytes = bytesOf(this.#disk.records);
    return { segments: this.#disk.segments.size, usedBytes, fileBytes: usedBytes, begunMilliseconds: 0 };
  }

  /** The process dies; the group that was being written is on the disk or not, and so is the segment it would begin. */
  crash(stored: boolean, segment = false): void {
    this.#crashed = true;
    if (this.#pending) this.#write(this.#pending, stored, segment);
  }

  async close(): Promise<void> {
    this.#crashed = true;
  }

  get #numbers(): number[] {
    return [...this.#disk.segments.keys()].sort((a, b) => a - b);
  }

  get #newest(): SimSegment {
    return this.#segment(this.#numbers.at(-1) as number);
  }

  #segment(number: number): SimSegment {
    return this.#disk.segments.get(number) as SimSegment;
  }

  #beginOf(number: number): LogPlace {
    const begin = decodeBegin(this.#segment(number).begin);
    if (!begin) throw corrupt(`Segment ${number} does not say whole where it begins.`);
    if (begin.records + 1 !== number) throw corrupt(`Segment ${number} begins with record ${begin.records + 1}.`);
    return begin;
  }

  #finish(group: SealedGroup, fault: Fault | undefined): AppendOutcome {
    this.attempts.push(Buffer.concat(group.records).toString('hex'));
    const stored = !fault || (fault.kind !== 'full' && fault.stored);
    this.#write(group, stored, fault?.segment ?? false);
    const outcome = outcomeOf(fault);
    if (outcome.kind === 'flushed') this.#end = group.end;
    if (outcome.kind === 'unknown') this.#failure = outcome;
    return outcome;
  }

  #write(group: SealedGroup, stored: boolean, segment: boolean): void {
    const end = this.#end as LogPlace;
    const begin = this.#beginOf(this.#numbers.at(-1) as number);
    if ((stored || segment) && isFull(begin, end, this.#options.segmentBytes ?? DEFAULT_SEGMENT_BYTES)) {
      this.#disk.segments.set(end.records + 1, new SimSegment(end));
    }
    if (stored) this.#store(group);
  }

  #store({ firstRecord, records, audit }: SealedGroup): void {
    const segment = this.#newest;
    segment.written = this.#options.retention?.clock.wallMilliseconds() ?? 0;
    records.forEach((record, index) => {
      segment.records.set(firstRecord + index, record.slice());
    });
    for (const item of audit) {
      const { key, value } = encodeAuditItem(this.#scratch, item);
      segment.audit.set(Buffer.from(key).toString('hex'), value);
    }
  }
}

function bytesOf(records: ReadonlyMap<number, Uint8Array>): number {
  return [...records.values()].reduce((sum, { length }) => sum + length, 0);
}

export function outcomeOf(fault: Fault | undefined): AppendOutcome {
  if (!fault) return { kind: 'flushed' };
  if (fault.kind === 'full') return { kind: 'not-written', error: new TallystickError('STORAGE_FULL') };
  return { kind: 'unknown', error: new TallystickError('STORAGE_FAILED', 'The flush failed.') };
}
