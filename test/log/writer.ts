import { Chain, Group } from '../../src/log/group.js';
import type { AppendOutcome, Log, LogPlace, LogShape, Mark, PartitionPlace, ReplayEnd } from '../../src/log/log.js';
import type { AuditItem, LogEntry } from '../../src/log/record.js';

export const SHAPE: LogShape = { partitions: [2, 3, 5], kernelVersion: 7 };

/** The mark of a log that has no group. */
export const NO_MARK: Mark = {
  group: 0,
  heads: new Map(SHAPE.partitions.map((partition) => [partition, { sequence: 0, hash: 0n }])),
};

export interface WrittenLog {
  readonly end: ReplayEnd;
  readonly entries: LogEntry[];
}

/** Replays a log and keeps copies of its entries. */
export async function replayAll(
  log: Log,
  mark: Mark = NO_MARK,
  from?: ReadonlyMap<number, PartitionPlace>,
): Promise<WrittenLog> {
  const entries: LogEntry[] = [];
  const end = await log.replay({
    mark,
    ...(from && { from }),
    visit: (entry) => entries.push({ ...entry, body: Uint8Array.from(entry.body) }),
  });
  return { end, entries };
}

/** A body of that length whose bytes depend on their places. */
export function bodyOf(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (Math.imul(index + 1, 2_654_435_761 + seed) >>> 13) & 0xff);
}

/** Writes groups to a log as a lane does, without GroupCommit, and remembers what it wrote. */
export class LogWriter {
  readonly entries: LogEntry[];
  readonly marks: Mark[] = [];
  /** Where it began, and the end of each group. */
  readonly places: LogPlace[];
  readonly #log: Log;
  readonly #group: Group;
  readonly #sequences: Map<number, number>;

  constructor(log: Log, { end, entries }: WrittenLog, shape: LogShape = SHAPE) {
    this.#log = log;
    this.entries = [...entries];
    const { group, records, bytes, heads } = end;
    this.places = [{ group, records, bytes, heads }];
    this.#group = new Group(new Chain(shape, end));
    this.#sequences = new Map([...end.heads].map(([partition, { sequence }]) => [partition, sequence]));
  }

  get mark(): Mark {
    return this.marks.at(-1) ?? NO_MARK;
  }

  /** Appends one group of the bodies, each to its partition. */
  async write(
    bodies: (readonly [partition: number, body: Uint8Array])[],
    audit: AuditItem[] = [],
  ): Promise<AppendOutcome> {
    for (const [partition, body] of bodies) {
      const sequence = (this.#sequences.get(partition) ?? 0) + 1;
      const header = {
        kind: 4,
        flags: 9,
        producer: 77,
        incarnation: sequence,
        milliseconds: 1_700_000_000_000 + sequence,
      };
      this.#group.append(partition, sequence, header, body);
      this.#sequences.set(partition, sequence);
      this.entries.push({ ...header, partition, sequence, body });
    }
    for (const item of audit) this.#group.addAudit(item);
    const sealed = this.#group.seal();
    const outcome = await this.#log.append(sealed);
    this.#group.reset();
    this.marks.push({ group: sealed.group, heads: sealed.heads });
    this.places.push(sealed.end);
    return outcome;
  }
}

/** Sorted by partition and sequence: the order that a log promises. */
export function byPartition(entries: readonly LogEntry[]): LogEntry[] {
  return [...entries].sort((a, b) => a.partition - b.partition || a.sequence - b.sequence);
}

export function partitionPlace({ group, records, bytes, heads }: LogPlace, partition: number): PartitionPlace {
  return { group, records, bytes, ...(heads.get(partition) ?? { sequence: 0, hash: 0n }) };
}
