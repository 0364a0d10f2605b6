import type { ErrorCode, TallystickError } from '../errors.js';

/** Who is told: a connection of this lane, or one of another lane, reached by the mesh. */
export interface Subscriber {
  /** The same for all requests of one client. */
  readonly identity: unknown;
  /** Whether it has not taken what was sent before: nothing should be sent until it has. */
  readonly isClogged: boolean;
  answer(opcode: number, flags: number, partition: number, requestId: number, body: Uint8Array): void;
  refuse(requestId: number, partition: number, error: TallystickError | ErrorCode): void;
  /** Sends at once what it was answered in this turn. */
  flush(): void;
}

/** What became of a counter that is followed. */
export interface Change {
  readonly slot: number;
  readonly name: string;
  /** 0 where it exists no more. */
  readonly value: bigint;
  readonly exists: boolean;
  /** By how much it has changed, modulo 2^64. */
  readonly delta: bigint;
}

/** A counter as a snapshot finds it. */
export type Found = Pick<Change, 'name' | 'value'>;

/** A difference as 64 bits hold it. */
export const wrapped = (delta: bigint): bigint => BigInt.asIntN(64, delta);
