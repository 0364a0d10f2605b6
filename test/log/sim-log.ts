import { TallystickError } from '../../src/errors.js';
import { AUDIT_SCRATCH_BYTES, decodeAuditItem, encodeAuditItem } from '../../src/log/audit.js';
import { ChecksummedBuffer } from '../../src/log/checksum.js';
import type {
  AppendOutcome,
  Log,
  LogReader,
  LogShape,
  LogStats,
  PartitionRange,
  ReplayEnd,
  ReplayOptions,
  SealedGroup,
} from '../../src/log/log.js';
import type { AuditItem } from '../../src/log/record.js';
import { firstPlace, PartitionReplay, Replay } from '../../src/log/replay.js';

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
 */
export type Fault =
  | { readonly kind: 'full' }
  | { readonly kind: 'failed'; readonly stored: boolean }
  | { readonly kind: 'silent'; readonly stored: boolean };

/** What survives a crash: records by number, audit items by key in hex. */
export class SimDisk {
  readonly records = new Map<number, Uint8Array>();
  readonly audit = new Map<string, Uint8Array>();
}

export class SimLog implements Log, LogReader {
  readonly firstRecord = 1;
  /** The faults of the next appends, the next one first; undefined for none. */
  readonly script: (Fault | undefined)[] = [];
  /** The bytes of every append that was tried, in hex. */
  readonly attempts: string[] = [];
  readonly #disk: SimDisk;
  readonly #shape: LogShape;
  readonly #commitLater: (commit: () => void) => void;
  readonly #scratch = new ChecksummedBuffer(AUDIT_SCRATCH_BYTES);
  #failure: AppendOutcome | undefined;
  #pending: SealedGroup | undefined;
  #crashed = false;

  /** @param commitLater calls back when the device would have flushed. */
  constructor(disk: SimDisk, shape: LogShape, commitLater: (commit: () => void) => void) {
    this.#disk = disk;
    this.#shape = shape;
    this.#commitLater = commitLater;
  }

  /** Whether an append is unanswered. */
  get busy(): boolean {
    return this.#pending !== undefined;
  }

  append(group: SealedGroup): Promise<AppendOutcome> {
    if (this.#pending) throw new Error('One append at a time.');
    if (this.#failure) return Promise.resolve(this.#failure);
    this.#pending = group;
    const fault = this.script.shift();
    return new Promise((resolve) => {
      this.#commitLater(() => {
        if (this.#crashed) return;
        this.attempts.push(Buffer.concat(group.records).toString('hex'));
        if (!fault || (fault.kind !== 'full' && fault.stored)) this.#store(group);
        if (fault?.kind === 'silent') return;
        this.#pending = undefined;
        const outcome = outcomeOf(fault);
        if (outcome.kind === 'unknown') this.#failure = outcome;
        resolve(outcome);
      });
    });
  }

  async replay(options: ReplayOptions): Promise<ReplayEnd> {
    const replay = new Replay(this.#shape, firstPlace(this.#shape), options);
    const numbers = [...this.#disk.records.keys()].sort((a, b) => a - b);
    for (const number of numbers) replay.record(number, this.#disk.records.get(number));
    return replay.end();
  }

  async readPartition(range: PartitionRange): Promise<void> {
    const replay = new PartitionReplay(this.#shape, range);
    for (let number = range.after.records + 1; number <= range.to.records; number++) {
      replay.record(number, this.#disk.records.get(number));
    }
    replay.end();
  }

  async release(): Promise<void> {}

  async audit(visit: (item: AuditItem) => void): Promise<void> {
    for (const key of [...this.#disk.audit.keys()].sort()) {
      const value = this.#disk.audit.get(key);
      if (value) visit(decodeAuditItem(this.#scratch, Buffer.from(key, 'hex'), value));
    }
  }

  stats(): LogStats {
    const usedBytes = [...this.#disk.records.values()].reduce((sum, { length }) => sum + length, 0);
    return { segments: 1, usedBytes, fileBytes: usedBytes };
  }

  /** The process dies. */
  crash(stored: boolean): void {
    this.#crashed = true;
    if (stored && this.#pending) this.#store(this.#pending);
  }

  async close(): Promise<void> {
    this.#crashed = true;
  }

  #store({ firstRecord, records, audit }: SealedGroup): void {
    records.forEach((record, index) => {
      this.#disk.records.set(firstRecord + index, record.slice());
    });
    for (const item of audit) {
      const { key, value } = encodeAuditItem(this.#scratch, item);
      this.#disk.audit.set(Buffer.from(key).toString('hex'), value);
    }
  }
}

export function outcomeOf(fault: Fault | undefined): AppendOutcome {
  if (!fault) return { kind: 'flushed' };
  if (fault.kind === 'full') return { kind: 'not-written', error: new TallystickError('STORAGE_FULL') };
  return { kind: 'unknown', error: new TallystickError('STORAGE_FAILED', 'The flush failed.') };
}
