import { ByteWriter } from '../../src/protocol/bytes.js';
import { type ExpireRequest, encodeExpire } from '../../src/protocol/expiry.js';
import { encodeOnce, type OnceOperation } from '../../src/protocol/once.js';
import type { Opcode } from '../../src/protocol/opcode.js';
import {
  type DeleteRequest,
  encodeAdd,
  encodeDelete,
  encodeSet,
  type Operation,
  type SetRequest,
} from '../../src/protocol/request.js';
import { encodeSee, type Sighting } from '../../src/protocol/uniques.js';

/** What a session numbers its batches in: one partition under one incarnation. */

export interface BatchContent {
  readonly opcode:
    | typeof Opcode.ADD
    | typeof Opcode.SET
    | typeof Opcode.DELETE
    | typeof Opcode.EXPIRE
    | typeof Opcode.ONCE
    | typeof Opcode.SEE;
  /** ATOMIC and VALUES. */
  readonly flags: number;
  readonly operations: readonly Operation[];
  readonly set?: Omit<SetRequest, 'sequence'>;
  readonly delete?: Omit<DeleteRequest, 'sequence'>;
  readonly expire?: Omit<ExpireRequest, 'sequence'>;
  readonly once?: readonly OnceOperation[];
  readonly sightings?: readonly Sighting[];
  readonly cursor?: Uint8Array;
}

/** What a client knows of the end of a batch. */
export interface Ending {
  /** The life of the server that said so. */
  readonly life: number;
  readonly position: number;
  readonly refused: ReadonlySet<number>;
  /** The answer without its positions, to be compared. */
  readonly text: string;
}

export class Batch {
  readonly partition: number;
  readonly sequence: number;
  /** `producer/incarnation/sequence`. */
  readonly key: string;
  content: BatchContent;
  /** The body after `sequence` and `unanswered`. */
  payload: Uint8Array;
  /** Copies that are under way. */
  copies = 0;
  /** Whether some copy may have been applied without an answer. */
  isUncertain = false;
  ending: Ending | undefined;
  /** Whether the ending is known to be durable. */
  isDone = false;

  constructor(partition: number, sequence: number, key: string, content: BatchContent) {
    this.partition = partition;
    this.sequence = sequence;
    this.key = key;
    this.content = content;
    this.payload = payloadOf(content);
  }

  replace(content: BatchContent): void {
    this.content = content;
    this.payload = payloadOf(content);
  }

  body(unanswered: number): Uint8Array {
    const writer = new ByteWriter(this.payload.length + 20);
    writer.varint(this.sequence);
    writer.varint(unanswered);
    writer.bytes(this.payload);
    return writer.view();
  }
}

export class Stream {
  readonly partition: number;
  /** 0 until it is opened. */
  incarnation = 0;
  next = 1;
  /** Batches whose end is not known to be durable, the oldest first. */
  kept: Batch[] = [];
  /** Some that are. */
  old: Batch[] = [];
  lastDone = 0;
  isResendPlanned = false;
  /** The cursor of each sequence that carries one, and the one from before. */
  #cursors = new Map<number, string>();

  constructor(partition: number) {
    this.partition = partition;
  }

  open(incarnation: number, cursor: string): void {
    this.incarnation = incarnation;
    this.next = 1;
    this.kept = [];
    this.old = [];
    this.lastDone = 0;
    this.#cursors = new Map([[0, cursor]]);
  }

  add(key: string, content: BatchContent): Batch {
    const batch = new Batch(this.partition, this.next++, key, content);
    this.kept.push(batch);
    if (content.cursor) this.#cursors.set(batch.sequence, Buffer.from(content.cursor).toString('hex'));
    return batch;
  }

  replaced({ sequence, content: { cursor } }: Batch): void {
    if (cursor) this.#cursors.set(sequence, Buffer.from(cursor).toString('hex'));
    else this.#cursors.delete(sequence);
  }

  unansweredBefore({ sequence }: Batch): number {
    return Math.max(0, sequence - (this.kept[0]?.sequence ?? sequence));
  }

  release(batch: Batch): void {
    batch.isDone = true;
    this.kept = this.kept.filter((other) => other !== batch);
    this.lastDone = Math.max(this.lastDone, batch.sequence);
    this.old.push(batch);
    if (this.old.length > 8) this.old.shift();
  }

  /** The cursor that the producer has when `next` is its next sequence. */
  cursorAt(next: number): string {
    for (let sequence = next - 1; sequence >= 0; sequence--) {
      const cursor = this.#cursors.get(sequence);
      if (cursor !== undefined) return cursor;
    }
    return '';
  }
}

function payloadOf({ operations, set, delete: deletion, expire, once, sightings, cursor }: BatchContent): Uint8Array {
  const writer = new ByteWriter(64);
  writer.u8(cursor?.length ?? 0);
  if (cursor) writer.bytes(cursor);
  if (set) encodeSet(writer, set);
  else if (deletion) encodeDelete(writer, deletion);
  else if (expire) encodeExpire(writer, expire);
  else if (once) encodeOnce(writer, { operations: once });
  else if (sightings) encodeSee(writer, { sightings });
  else encodeAdd(writer, { operations });
  return writer.view();
}
