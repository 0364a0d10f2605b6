import { existsSync, type Stats, statSync } from 'node:fs';
import type { Clock } from '../clock.js';
import { TallystickError } from '../errors.js';
import { lacksRoom, notWritten, saysNoRoom, unknown } from './append-outcome.js';
import type { AppendOutcome, Log, LogPlace, LogShape, LogStats, ReplayEnd, ReplayOptions, SealedGroup } from './log.js';
import type { AuditItem } from './record.js';
import { corrupt, Replay } from './replay.js';
import { DEFAULT_RESERVE_BYTES, type Segment, type SegmentOptions } from './segment.js';
import { flush, type LogKind, removeLeftovers, removeSegment, type SegmentFile, segmentsIn } from './segment-files.js';
import { createSegment, openSegment } from './segment-kinds.js';
import { continues, DEFAULT_SEGMENT_BYTES, droppable, isFull, type Retention, startOf } from './segments.js';

export interface SegmentedLogOptions extends SegmentOptions {
  /** What new segments are kept in; those that are there stay what they are. */
  readonly kind?: LogKind;
  /** Record bytes after which the next group goes into a new segment. */
  readonly segmentBytes?: number;
  /** What is kept of what recovery does not need; without it everything is. */
  readonly retention?: Retention & { readonly clock: Clock };
}

/**
 * The log of a lane as a row of segments in its directory (segments.ts), of which only the newest is open all the time.
 * What recovery does not need is opened by `audit` alone.
 */
export class SegmentedLog implements Log {
  readonly #directory: string;
  readonly #shape: LogShape;
  readonly #options: SegmentedLogOptions;
  /** Oldest first; the last one is `#newest`. */
  readonly #files: SegmentFile[];
  #newest: Segment;
  /** Where the log ends. Unknown until it was replayed, unless the newest segment is empty. */
  #end: LogPlace | undefined;
  #failure: AppendOutcome | undefined;
  #released = 0;
  #dropping: Promise<void> = Promise.resolve();

  private constructor(
    directory: string,
    shape: LogShape,
    options: SegmentedLogOptions,
    files: SegmentFile[],
    newest: Segment,
  ) {
    this.#directory = directory;
    this.#shape = shape;
    this.#options = options;
    this.#files = files;
    this.#newest = newest;
    if (newest.lastRecord === newest.begin.records) this.#end = newest.begin;
  }

  /** @throws TallystickError LOG_CORRUPT if there is no segment, or the newest can't be opened. */
  static async open(directory: string, shape: LogShape, options: SegmentedLogOptions = {}): Promise<SegmentedLog> {
    if (!options.readOnly) removeLeftovers(directory);
    const files = segmentsIn(directory);
    const last = files.at(-1);
    if (!last) throw corrupt(`The log is missing in ${directory}.`);
    const newest = await openSegment(last, shape, options);
    try {
      // A process that died may not have come to the flush of what it wrote last.
      if (!options.readOnly) await flush(last.path, 'r');
    } catch (error) {
      await newest.close();
      throw error;
    }
    return new SegmentedLog(directory, shape, options, files, newest);
  }

  get firstRecord(): number {
    return (this.#files[0] as SegmentFile).firstRecord;
  }

  async append(group: SealedGroup): Promise<AppendOutcome> {
    const obstacle = this.#obstacle(group) ?? (this.#isFull ? await this.#beginSegment() : undefined);
    return this.#settled(group, obstacle ?? (await this.#newest.append(group)));
  }

  appendNow(group: SealedGroup): AppendOutcome | undefined {
    if (this.#isFull) return undefined;
    const outcome = this.#obstacle(group) ?? this.#newest.appendNow(group);
    return outcome && this.#settled(group, outcome);
  }

  async replay(options: ReplayOptions): Promise<ReplayEnd> {
    const files = [...this.#files];
    const beginOf = (index: number) => this.#with(files[index] as SegmentFile, async ({ begin }) => begin);
    const first = await startOf(files.length, beginOf, options.from);
    const replay = new Replay(this.#shape, await beginOf(first), options);
    for (const file of files.slice(first)) {
      await this.#with(file, async (segment) => {
        replay.enter(segment.begin);
        await segment.walk((number, record) => replay.record(number, record));
      });
    }
    const end = replay.end();
    // What a server beside which this reads wrote last may be seen before it is on the device.
    const { path } = files.at(-1) as SegmentFile;
    if (this.#options.readOnly && existsSync(path)) await flush(path, 'r');
    this.#end = end;
    return end;
  }

  release(records: number): Promise<void> {
    this.#released = Math.max(this.#released, records);
    // One after the other, and each only after the one before it has succeeded.
    this.#dropping = this.#dropping.then(() => this.#drop());
    return this.#dropping;
  }

  async audit(visit: (item: AuditItem) => void, after = 0): Promise<void> {
    for (const [index, file] of [...this.#files].entries()) {
      const next = this.#files[index + 1];
      if (next && next.firstRecord <= after + 1) continue;
      await this.#with(file, (segment) => segment.audit(visit)).catch((error: unknown) => {
        // Dropped meanwhile, by the server beside which this one reads.
        if (existsSync(file.path)) throw error;
      });
    }
  }

  stats(): LogStats {
    const found = this.#files.map(({ path }) => statSync(path, { throwIfNoEntry: false }));
    const closed = found.slice(0, -1).reduce((sum, file) => sum + (file?.size ?? 0), 0);
    const { usedBytes, fileBytes } = this.#newest.stats();
    return {
      segments: this.#files.length,
      usedBytes: closed + usedBytes,
      fileBytes: closed + fileBytes,
      begunMilliseconds: madeMilliseconds(found[0]),
    };
  }

  async close(): Promise<void> {
    await this.#dropping.catch(() => {}); // its caller was told
    await this.#newest.close();
  }

  /** Why nothing, or not that group, can be appended. */
  #obstacle(group: SealedGroup): AppendOutcome | undefined {
    if (this.#failure) return this.#failure;
    if (this.#end && continues(this.#end, group)) return undefined;
    return unknown('The log was not continued', `group ${group.group} does not begin where it ends`);
  }

  /** Whether the next group goes into a new segment. */
  get #isFull(): boolean {
    const { segmentBytes = DEFAULT_SEGMENT_BYTES } = this.#options;
    return (
      this.#newest.isLong(segmentBytes) ||
      (this.#end !== undefined && isFull(this.#newest.begin, this.#end, segmentBytes))
    );
  }

  #settled(group: SealedGroup, outcome: AppendOutcome): AppendOutcome {
    if (outcome.kind === 'flushed') this.#end = group.end;
    if (outcome.kind === 'unknown') this.#failure = outcome;
    return outcome;
  }

  /**
   * Makes a segment and puts it at the end. If the process dies here, there is an empty newest segment or none; if only
   * the group finds no room, it goes there later.
   */
  async #beginSegment(): Promise<AppendOutcome | undefined> {
    const end = this.#end as LogPlace;
    const lacks = () => lacksRoom(this.#directory, this.#options.reserveBytes ?? DEFAULT_RESERVE_BYTES);
    try {
      if (lacks()) return notWritten(undefined);
      const file = await createSegment(this.#options.kind ?? 'lmdb', this.#directory, end);
      const segment = await openSegment(file, this.#shape, this.#options);
      const previous = this.#newest;
      this.#newest = segment;
      this.#files.push(file);
      await previous.close();
      return undefined;
    } catch (error) {
      return saysNoRoom(error, lacks) ? notWritten(error) : unknown('A segment could not be made', error);
    }
  }

  async #drop(): Promise<void> {
    const { retention } = this.#options;
    if (!retention) return;
    const kept = this.#files.map(({ path, firstRecord }) => {
      const { size, mtimeMs } = statSync(path);
      return { firstRecord, bytes: size, written: mtimeMs };
    });
    const count = droppable(kept, this.#released, retention, retention.clock.wallMilliseconds());
    for (let dropped = 0; dropped < count; dropped++) {
      const { path } = this.#files[0] as SegmentFile;
      // Oldest first and each for good, so that a crash leaves no gap.
      await removeSegment(path).catch((cause: Error) => {
        throw new TallystickError('STORAGE_FAILED', `${path} could not be removed: ${cause.message}.`, { cause });
      });
      this.#files.shift();
    }
  }

  /** Lends a segment: the newest one, which stays open, or another for the while. */
  async #with<T>(file: SegmentFile, use: (segment: Segment) => Promise<T>): Promise<T> {
    if (file === this.#files.at(-1)) return use(this.#newest);
    const segment = await openSegment(file, this.#shape, { readOnly: true });
    try {
      return await use(segment);
    } finally {
      await segment.close();
    }
  }
}

/** When a file was made. A copy is younger than what it holds, and a file system may not know: then it is when it was written last. */
function madeMilliseconds(file: Stats | undefined): number {
  const { birthtimeMs = 0, mtimeMs = 0 } = file ?? {};
  return Math.round(birthtimeMs > 0 ? Math.min(birthtimeMs, mtimeMs) : mtimeMs);
}
