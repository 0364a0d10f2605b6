import { TallystickError } from '../errors.js';

const U32_MAX = 0xffff_ffff;
const LARGEST_PARTITION = 0xfffe;

/**
 * How far some partitions of a data directory had come: an opaque token that a read can wait for, in this process or,
 * by `toString` and `parse`, in another. It is no consistent cut over partitions.
 */
export class Position {
  /** The life of the data directory in which the sequences count. */
  readonly epoch: number;
  readonly #sequences: ReadonlyMap<number, number>;

  /** `sequences`: for each partition its sequence number. */
  constructor(epoch: number, sequences: ReadonlyMap<number, number>) {
    this.epoch = epoch;
    this.#sequences = sequences;
  }

  /** The sequence number of a partition; undefined where the position says nothing of it. */
  sequenceOf(partition: number): number | undefined {
    return this.#sequences.get(partition);
  }

  /** The position that is reached when both are. Throws EPOCH_MISMATCH where they are of two lives of a directory. */
  merge(other: Position): Position {
    if (other.epoch !== this.epoch)
      throw new TallystickError('EPOCH_MISMATCH', 'The positions do not belong together.');
    const merged = new Map(this.#sequences);
    for (const [partition, sequence] of other.#sequences) {
      merged.set(partition, Math.max(sequence, merged.get(partition) ?? 0));
    }
    return new Position(this.epoch, merged);
  }

  /** `epoch-partition.sequence-…`, the epoch in hexadecimal. */
  toString(): string {
    const parts = [...this.#sequences].map(([partition, sequence]) => `-${partition}.${sequence}`);
    return this.epoch.toString(16) + parts.join('');
  }

  toJSON(): string {
    return this.toString();
  }

  /** The position that `toString` wrote. Throws INVALID_ARGUMENT for any other text. */
  static parse(text: string): Position {
    const [epochText = '', ...parts] = text.split('-');
    const epoch = /^[0-9a-f]{1,8}$/.test(epochText) ? Number.parseInt(epochText, 16) : Number.NaN;
    const sequences = new Map<number, number>();
    for (const part of parts) {
      const [, partition, sequence] = /^(\d{1,5})\.(\d{1,16})$/.exec(part) ?? [];
      if (!(Number(partition) <= LARGEST_PARTITION && Number.isSafeInteger(Number(sequence)))) throw unreadable(text);
      sequences.set(Number(partition), Number(sequence));
    }
    if (!(epoch <= U32_MAX)) throw unreadable(text);
    return new Position(epoch, sequences);
  }
}

const unreadable = (text: string) => new TallystickError('INVALID_ARGUMENT', `"${text}" is no position.`);
