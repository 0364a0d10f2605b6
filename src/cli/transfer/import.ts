import { TallystickError } from '../../errors.js';
import { csvRecordEnd } from '../ingest/csv.js';
import { UNUSABLE_KEPT } from '../ingest/ingest.js';
import type { Input } from '../ingest/input.js';
import { lineEnd, RecordSplitter } from '../ingest/lines.js';
import { Unreadable } from '../ingest/record.js';
import { type Entry, type EntryFormat, EntryReader } from './entries.js';

/** What an import needs of the SDK's client. */
export interface ImportTarget {
  set(name: string, value: bigint, options: { reason: string }): Promise<unknown>;
}

export interface ImportOptions {
  readonly format: EntryFormat;
  /** Of each SET; 1 to 256 bytes. */
  readonly reason: string;
  /** Called after each chunk of input. */
  readonly onProgress?: () => void;
}

export interface ImportReport {
  /** Records read, without the header: those that were set or are on their way, and the unusable ones. */
  lines: number;
  /** Acknowledged as durable. */
  set: number;
  unusable: number;
  /** The first UNUSABLE_KEPT of them, by the number of their (first) line. */
  readonly unusableLines: { readonly line: number; readonly reason: string }[];
}

/** SETs without an answer. The SDK makes batches of them and keeps their order, so of two lines of one name the later holds. */
const MOST_IN_FLIGHT = 1_000;
const TOO_LONG = new Unreadable('longer than 1 MiB');

/** Sets counters to what an input says, record by record. */
export class Import {
  readonly report: ImportReport = { lines: 0, set: 0, unusable: 0, unusableLines: [] };
  readonly #input: Input;
  readonly #target: ImportTarget;
  readonly #options: ImportOptions;
  #reader: EntryReader | undefined;
  /** Of the record that is read. */
  #line = 1;
  /** The SETs on their way, in their order; none rejects. */
  readonly #flights = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(input: Input, target: ImportTarget, options: ImportOptions) {
    this.#input = input;
    this.#target = target;
    this.#options = options;
    if (options.format === 'ndjson') this.#reader = new EntryReader('ndjson', Buffer.alloc(0));
  }

  /**
   * Reads the input to its end; resolves when all is acknowledged. After a failure nothing more is sent, what was sent is awaited, and
   * `report` stays true.
   *
   * @throws TallystickError INVALID_ARGUMENT where csv has no header, INPUT_FAILED, or what the first SET failed with
   */
  async run(): Promise<void> {
    try {
      await this.#readAll();
    } finally {
      await Promise.all(this.#flights);
    }
    this.#throwFailure();
    if (this.#reader === undefined) throw new TallystickError('INVALID_ARGUMENT', 'The csv has no first line.');
  }

  async #readAll(): Promise<void> {
    const splitter = new RecordSplitter(this.#options.format === 'csv' ? csvRecordEnd : lineEnd);
    const { chunks } = await this.#input.fromLine(0);
    for (;;) {
      const { done, value } = await chunks.next();
      if (done) break;
      splitter.push(value);
      await this.#takeRecords(splitter);
      this.#options.onProgress?.();
    }
    splitter.finish();
    await this.#takeRecords(splitter);
  }

  async #takeRecords(splitter: RecordSplitter): Promise<void> {
    while (splitter.nextRecord()) {
      this.#throwFailure();
      const line = this.#line;
      this.#line += splitter.lines;
      const { bytes, start, end, tooLong } = splitter;
      if (this.#reader === undefined) {
        this.#reader = new EntryReader('csv', bytes.subarray(start, end));
        continue;
      }
      this.report.lines += 1;
      const entry = tooLong ? TOO_LONG : this.#reader.read(bytes, start, end);
      if (entry instanceof Unreadable) this.#putAside(line, entry);
      else await this.#send(entry);
    }
  }

  #putAside(line: number, { reason }: Unreadable): void {
    this.report.unusable += 1;
    if (this.report.unusable <= UNUSABLE_KEPT) this.report.unusableLines.push({ line, reason });
  }

  /** Resolves when there is room for the next. */
  async #send(entry: Entry): Promise<void> {
    const flight = this.#set(entry).finally(() => this.#flights.delete(flight));
    this.#flights.add(flight);
    if (this.#flights.size >= MOST_IN_FLIGHT) await Promise.all([...this.#flights].slice(0, MOST_IN_FLIGHT / 2));
  }

  async #set({ name, value }: Entry): Promise<void> {
    try {
      await this.#target.set(name, value, { reason: this.#options.reason });
      this.report.set += 1;
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
