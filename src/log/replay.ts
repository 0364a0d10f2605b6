import { TallystickError } from '../errors.js';
import { ChecksummedBuffer } from './checksum.js';
import type { ChainHead, LogPlace, LogShape, PartitionPlace, PartitionRange, ReplayEnd, ReplayOptions } from './log.js';
import { PartitionChain } from './partition-chain.js';
import { LAST_OF_GROUP, RECORD_BYTES, RECORD_HEADER_BYTES, readRecordHeader, verifyRecord } from './record.js';

/** The place before the first record: that of a partition without a checkpoint. */
export const LOG_BEGIN: PartitionPlace = { group: 0, records: 0, bytes: 0, sequence: 0, hash: 0n };

/** The same for all partitions of a log. */
export function firstPlace({ partitions }: LogShape): LogPlace {
  const heads = new Map(partitions.map((partition) => [partition, { sequence: 0, hash: 0n }]));
  return { group: 0, records: 0, bytes: 0, heads };
}

/** Where one partition of a log stands. */
export function placeOfPartition({ group, records, bytes, heads }: LogPlace, partition: number): PartitionPlace {
  return { group, records, bytes, ...(heads.get(partition) ?? LOG_BEGIN) };
}

/**
 * Takes the records of a log one by one from a place on, verifies each and its place, and hands the entries out whole.
 * After it has thrown it is of no use any more.
 */
export class Replay {
  readonly #shape: LogShape;
  readonly #options: ReplayOptions;
  readonly #begin: LogPlace;
  readonly #buffer = new ChecksummedBuffer(RECORD_BYTES);
  readonly #chains: ReadonlyMap<number, PartitionChain>;
  /** By group: the checkpoints that stand there, ahead of what has been taken. */
  readonly #ahead = new Map<number, [partition: number, place: PartitionPlace][]>();
  #records: number;
  #group: number;
  #bytes: number;
  #withinGroup = false;
  #entries = 0;

  /** @throws TallystickError LOG_CORRUPT if a place of the options, or the mark, is not as `begin` says. */
  constructor(shape: LogShape, begin: LogPlace, options: ReplayOptions) {
    this.#shape = shape;
    this.#options = options;
    this.#begin = begin;
    this.#records = begin.records;
    this.#group = begin.group;
    this.#bytes = begin.bytes;
    this.#chains = new Map(
      shape.partitions.map((partition) => {
        const known = options.from?.get(partition)?.sequence ?? 0;
        const visit = (entry: Parameters<ReplayOptions['visit']>[0]) => {
          if (entry.sequence <= known) return;
          this.#entries++;
          options.visit(entry);
        };
        return [partition, new PartitionChain(partition, headOf(begin, partition), visit)];
      }),
    );
    if (options.from) this.#reach(options.from);
    for (const [partition, place] of options.through ?? []) {
      if (place.group >= this.#group) this.#expect(partition, place);
    }
    this.#checkMark();
  }

  /**
   * @param bytes of record `number`; undefined if there is no such record
   * @throws TallystickError LOG_CORRUPT, DIRECTORY_INVALID
   */
  record(number: number, bytes: Uint8Array | undefined): void {
    if (number !== this.#records + 1) throw corrupt(`Record ${this.#records + 1} is missing; ${number} follows.`);
    const header = checked(this.#buffer, number, bytes);
    const fail = failure(number, header);
    const chain = this.#chains.get(header.partition);
    if (!chain) throw fail('its partition is not one of this log');
    checkKernel(this.#shape, header.kernelVersion);
    const group = this.#withinGroup ? this.#group : this.#group + 1;
    if (header.group !== group) throw fail(`its group is ${header.group} instead of ${group}`);
    chain.record(this.#buffer, header, fail);

    this.#records = number;
    this.#bytes += RECORD_HEADER_BYTES + header.payloadLength;
    this.#withinGroup = (header.flags & LAST_OF_GROUP) === 0;
    this.#group = header.group;
    if (!this.#withinGroup) this.#endGroup(fail);
  }

  /**
   * Takes the beginning of the segment in which the next record lies: it must be where the one before it ends.
   *
   * @throws TallystickError LOG_CORRUPT
   */
  enter(begin: LogPlace): void {
    checkNeighbours(this.boundary(), begin);
  }

  /** The entries that were visited. */
  get entries(): number {
    return this.#entries;
  }

  /** The place that it has come to. @throws TallystickError LOG_CORRUPT if that is within a group. */
  boundary(): LogPlace {
    if (this.#withinGroup) {
      throw corrupt(`The log ends within group ${this.#group}, after record ${this.#records}.`);
    }
    const heads = new Map([...this.#chains].map(([partition, { head }]) => [partition, head]));
    return { group: this.#group, records: this.#records, bytes: this.#bytes, heads };
  }

  /** @throws TallystickError LOG_CORRUPT if the log ends within a group, before the mark or before a checkpoint. */
  end(): ReplayEnd {
    const { mark } = this.#options;
    const place = this.boundary();
    if (this.#group < mark.group) {
      throw corrupt(
        `The log ends with group ${this.#group} (record ${this.#records}), but group ${mark.group} was flushed.`,
      );
    }
    for (const [group, [first]] of this.#ahead) {
      throw corrupt(
        `The log ends with group ${this.#group} (record ${this.#records}), but the checkpoint of partition ` +
          `${first?.[0]} is of group ${group}.`,
      );
    }
    return { ...place, begin: this.#begin, entries: this.#entries };
  }

  /** No partition may have a checkpoint that lies before what is there. */
  #reach(from: ReadonlyMap<number, PartitionPlace>): void {
    for (const [partition, { head }] of this.#chains) {
      const place = from.get(partition) ?? LOG_BEGIN;
      if (place.group <= this.#group && head.sequence > place.sequence) {
        throw corrupt(
          `The log begins after sequence ${head.sequence} of partition ${partition}, but its checkpoint is of sequence ${place.sequence}.`,
        );
      }
      this.#expect(partition, place);
    }
  }

  /** A partition must be at its checkpoint already, or pass it. */
  #expect(partition: number, place: PartitionPlace): void {
    if (place.group <= this.#group) this.#compare(partition, place, 'its checkpoint');
    else this.#ahead.set(place.group, [...(this.#ahead.get(place.group) ?? []), [partition, place]]);
  }

  #endGroup(fail: (what: string) => TallystickError): void {
    for (const [partition, { split }] of this.#chains) {
      if (split) throw fail(`it ends its group, but sequence ${split} of partition ${partition} is not whole`);
    }
    for (const [partition, place] of this.#ahead.get(this.#group) ?? []) {
      this.#compare(partition, place, 'its checkpoint');
    }
    this.#ahead.delete(this.#group);
    this.#checkMark();
  }

  #checkMark(): void {
    const { mark } = this.#options;
    if (mark.group === 0 || mark.group !== this.#group) return;
    for (const partition of this.#chains.keys()) this.#compare(partition, mark.heads.get(partition), 'the head mark');
  }

  #compare(partition: number, said: ChainHead | undefined, who: string): void {
    const at = { group: this.#group, records: this.#records };
    compareHeads(at, partition, this.#chains.get(partition)?.head ?? LOG_BEGIN, said, who);
  }
}

/** Whether a segment begins where the one before it ends. @throws TallystickError LOG_CORRUPT */
export function checkNeighbours(end: LogPlace, begin: LogPlace): void {
  if (begin.group !== end.group || begin.records !== end.records || begin.bytes !== end.bytes) {
    throw corrupt(
      `A segment begins after record ${begin.records} (group ${begin.group}), but the one before it ends with record ` +
        `${end.records} (group ${end.group}).`,
    );
  }
  for (const [partition, head] of end.heads) {
    compareHeads(end, partition, head, begin.heads.get(partition), 'the next segment');
  }
}

function compareHeads(
  { group, records }: Pick<LogPlace, 'group' | 'records'>,
  partition: number,
  { sequence, hash }: ChainHead,
  said: ChainHead | undefined,
  who: string,
): void {
  if (said?.sequence === sequence && said.hash === hash) return;
  const what = said ? `sequence ${said.sequence}${said.sequence === sequence ? ' with another hash' : ''}` : 'nothing';
  throw corrupt(
    `After group ${group} (record ${records}) partition ${partition} is at sequence ${sequence}, but ${who} says ${what}.`,
  );
}

/** Takes the records of one partition between two places, and passes over those of the others. */
export class PartitionReplay {
  readonly #shape: LogShape;
  readonly #range: PartitionRange;
  readonly #buffer = new ChecksummedBuffer(RECORD_BYTES);
  readonly #chain: PartitionChain;

  constructor(shape: LogShape, range: PartitionRange) {
    this.#shape = shape;
    this.#range = range;
    this.#chain = new PartitionChain(range.partition, range.after, range.visit);
  }

  /** @throws TallystickError LOG_CORRUPT, DIRECTORY_INVALID */
  record(number: number, bytes: Uint8Array | undefined): void {
    const header = bytes && bytes.length > RECORD_HEADER_BYTES && readRecordHeader(viewOf(bytes), 0);
    // A damaged header may name another partition: then this one's chain has a gap, which the next record or `end` shows.
    if (header && header.partition !== this.#range.partition) return;
    const verified = checked(this.#buffer, number, bytes);
    checkKernel(this.#shape, verified.kernelVersion);
    this.#chain.record(this.#buffer, verified, failure(number, verified));
  }

  /** @throws TallystickError LOG_CORRUPT if the chain has not come to where the range ends. */
  end(): void {
    const { partition, to } = this.#range;
    const { sequence, hash } = this.#chain.head;
    if (sequence === to.sequence && hash === to.hash && this.#chain.split === undefined) return;
    const what = sequence === to.sequence ? 'with another hash' : `instead of ${to.sequence}`;
    throw corrupt(`Partition ${partition} is at sequence ${sequence} ${what} after record ${to.records}.`);
  }
}

function headOf({ heads }: LogPlace, partition: number): ChainHead {
  return heads.get(partition) ?? { sequence: 0, hash: 0n };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Copies a record to the start of the buffer and checks what it says about itself. */
function checked(buffer: ChecksummedBuffer, number: number, bytes: Uint8Array | undefined) {
  if (!bytes) throw corrupt(`Record ${number} is missing.`);
  const { length } = bytes;
  if (length <= RECORD_BYTES) buffer.bytes.set(bytes);
  const fault = verifyRecord(buffer, 0, length);
  if (fault) throw corrupt(`Record ${number}${claims(buffer, length)}: ${fault}.`);
  return readRecordHeader(buffer.view, 0);
}

function checkKernel({ kernelVersion }: LogShape, found: number): void {
  if (found === kernelVersion) return;
  throw new TallystickError(
    'DIRECTORY_INVALID',
    `The log was written by kernel version ${found}; this is ${kernelVersion}.`,
  );
}

/** What a record that can't be trusted says about its place. */
function claims(buffer: ChecksummedBuffer, length: number): string {
  if (length <= RECORD_HEADER_BYTES || length > RECORD_BYTES) return '';
  const { partition, firstSequence } = readRecordHeader(buffer.view, 0);
  return ` (it says partition ${partition}, sequence ${firstSequence})`;
}

function failure(number: number, { partition, firstSequence }: { partition: number; firstSequence: number }) {
  return (what: string) => corrupt(`Record ${number} (partition ${partition}, sequence ${firstSequence}): ${what}.`);
}

export function corrupt(detail: string, cause?: unknown): TallystickError {
  return new TallystickError('LOG_CORRUPT', detail, { cause });
}
