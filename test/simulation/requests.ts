import type { Key } from '../../src/protocol/request.js';
import type { UniquesWindow } from '../../src/protocol/uniques.js';

/** A request on one connection, as its client remembers it. */
export interface Sent {
  readonly id: number;
  readonly opcode: number;
  readonly flags: number;
  readonly partition: number;
  readonly body: Uint8Array;
  /** The key of the batch that it carries: `producer/incarnation/sequence`. */
  readonly batch?: string;
  /** Operations of an ADD. */
  readonly count: number;
  /** Keys of a GET; names of an OPEN. */
  readonly keys?: readonly Key[];
  readonly names?: readonly string[];
  /** The position that a GET waits for. */
  readonly after?: number;
  /** What a UNIQUES asks for. */
  readonly uniques?: { readonly wanted: 'each' | 'union'; readonly window?: UniquesWindow };
  /** A HELLO that opens nothing. */
  readonly resumes?: boolean;
  /** A position that anybody had been told when it was sent: what it shows or makes is not before. */
  readonly floor: number;
  readonly sentAt: number;
  /** The same by the wall clock. */
  readonly wallAt: number;
  /** How often that had been set. */
  readonly stepsAt: number;
  /** What the client does with the answer. */
  readonly done: (answer: Answer) => void;
}

export interface Answer {
  readonly opcode: number;
  readonly flags: number;
  readonly body: Uint8Array;
}
