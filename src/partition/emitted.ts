import { ByteReader } from '../protocol/bytes.js';

/** What a partition has for the history: src/kernel/emitted.ts draws the bytes. */
export interface EmittedItem {
  readonly slot: number;
  readonly generation: number;
  /** Hours since 1970. */
  readonly hour: number;
  /** What its 60 minutes have changed the counter by; undefined where the counter is gone. */
  readonly minutes: readonly (bigint | undefined)[] | undefined;
}

const HEAD_BYTES = 12;

/** How many items there are. */
export function countEmitted(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at += lengthAt(bytes, at)) count++;
  return count;
}

/** All but the first so many items, as a view. */
export function withoutEmitted(bytes: Uint8Array, items: number): Uint8Array {
  let at = 0;
  for (let count = 0; count < items; count++) at += lengthAt(bytes, at);
  return bytes.subarray(at);
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 6] as number) | ((bytes[at + 7] as number) << 8);
}

export function* decodeEmitted(bytes: Uint8Array): Generator<EmittedItem> {
  const reader = new ByteReader(bytes);
  while (reader.remaining > 0) {
    const end = reader.offset;
    const [slot, generation, length, hour] = [reader.u32(), reader.u16(), reader.u16(), reader.u32()];
    yield { slot, generation, hour, minutes: length === HEAD_BYTES ? undefined : minutesOf(reader, end + length) };
  }
}

function minutesOf(reader: ByteReader, end: number): (bigint | undefined)[] {
  const minutes = new Array<bigint | undefined>(60).fill(undefined);
  while (reader.offset < end) {
    const minute = reader.u8();
    minutes[minute] = reader.zigzagBig();
  }
  return minutes;
}
