/** What a partition tells of itself. */

const PRODUCER_ID_BYTES = 16;

/** A producer as its partition knows it. */
export interface ProducerState {
  readonly producer: number;
  readonly incarnation: number;
  /** The next sequence. */
  readonly next: number;
  /** A copy; null if no batch carried one. */
  readonly cursor: Uint8Array | null;
}

/** A producer as it is listed. */
export interface KnownProducer extends ProducerState {
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly isNamed: boolean;
}

/** A counter that has a history. */
export interface TrackedCounter {
  /** Undefined where it was never written, nor opened. */
  readonly counter: { readonly slot: number; readonly generation: number } | undefined;
  readonly exists: boolean;
  readonly value: bigint;
  /** The number of its class among the configured ones, from 1. */
  readonly classNumber: number;
  /** The first instant of which its class knows everything, in milliseconds since 1970. */
  readonly since: number;
}

export interface PartitionStatistics {
  readonly sequence: number;
  readonly counters: number;
  /** What counters take, those of deleted ones and of names among them. */
  readonly slots: number;
  /** The counters, and names that were opened and not written. */
  readonly names: number;
  readonly producers: number;
  readonly operationIds: number;
  /** Counters of which more is kept than their values. */
  readonly tracks: number;
  readonly windowBytes: number;
  readonly memoryBytes: number;
  readonly applied: number;
  readonly refused: number;
}

/** The bytes are drawn at `describe` in src/kernel/kernel.ts. */
export function decodeProducer(bytes: Uint8Array): ProducerState {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const cursorLength = view.getUint32(16, true);
  return {
    producer: view.getUint32(0, true),
    incarnation: view.getUint32(4, true),
    next: view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32,
    cursor: cursorLength === 0 ? null : bytes.slice(20, 20 + cursorLength),
  };
}

/** The same, of `producerAt`: `id | u8 named | …`. */
export function decodeKnownProducer(bytes: Uint8Array): KnownProducer {
  return {
    id: bytes.slice(0, PRODUCER_ID_BYTES),
    isNamed: bytes[PRODUCER_ID_BYTES] === 1,
    ...decodeProducer(bytes.subarray(PRODUCER_ID_BYTES + 1)),
  };
}
