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
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let count = 0;
  for (let at = 0; at < bytes.length; at += view.getUint16(at + 6, true)) count++;
  return count;
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
