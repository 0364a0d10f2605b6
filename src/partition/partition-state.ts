/** What a partition tells of itself. */

const PRODUCER_ID_BYTES = 16;

// src/kernel/layout.ts; a test holds the two together.
const PAGE = 65_536;
const HEADER = 0x600000;
const H_SEQUENCE = HEADER + 8;
const H_NEXT_PAGE = HEADER + 16;
const H_TIME = HEADER + 56;
const H_SLOTS = HEADER + 64;
const H_COUNTERS = HEADER + 68;
const H_NAMES = HEADER + 100;
const H_LIVE_PRODUCERS = HEADER + 204;
const H_OPERATION_IDS = HEADER + 248;
const H_APPLIED = HEADER + 256;
const H_REFUSED = HEADER + 264;
const H_CLASSES = HEADER + 272;
const H_CLASS_TABLE = HEADER + 276;
const H_TRACKS = HEADER + 280;
const H_WINDOW_BYTES = HEADER + 288;
const CLASS_TABLES = HEADER + 0x7000;
const CLASS_TABLE_BYTES = 8192;
const CLASS_BYTES = 128;

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

/** @param view of the memory of a kernel from its start on */
export function readStatistics(view: DataView): PartitionStatistics {
  const u32 = (address: number) => view.getUint32(address, true);
  const u64 = (address: number) => u32(address) + u32(address + 4) * 2 ** 32;
  return {
    sequence: u64(H_SEQUENCE),
    counters: u32(H_COUNTERS),
    slots: u32(H_SLOTS),
    names: u32(H_NAMES),
    producers: u32(H_LIVE_PRODUCERS),
    operationIds: u32(H_OPERATION_IDS),
    tracks: u32(H_TRACKS),
    windowBytes: u64(H_WINDOW_BYTES),
    memoryBytes: u32(H_NEXT_PAGE) * PAGE,
    applied: u64(H_APPLIED),
    refused: u64(H_REFUSED),
  };
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

/** A copy of the entries of the table of classes that is in force, without that of no class. */
export function readClasses(bytes: Uint8Array, view: DataView): Uint8Array {
  const table = CLASS_TABLES + view.getUint32(H_CLASS_TABLE, true) * CLASS_TABLE_BYTES + CLASS_BYTES;
  return bytes.slice(table, table + view.getUint32(H_CLASSES, true) * CLASS_BYTES);
}

/** Milliseconds of the last body of a state whose header begins there. */
export function timeOf(view: DataView, header: number): number {
  return Number(view.getBigInt64(header + H_TIME - HEADER, true));
}

/** The same, by the first page of the state. */
export function timeOfState(page: Uint8Array): number {
  return timeOf(new DataView(page.buffer, page.byteOffset), 0);
}
