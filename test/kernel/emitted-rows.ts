import { ByteReader } from '../../src/protocol/bytes.js';

/** A row of history, as src/kernel/emitted.ts draws it. */
export interface EmittedRow {
  readonly slot: number;
  readonly generation: number;
  readonly hour: number;
  readonly minutes: readonly { readonly minute: number; readonly delta: bigint }[];
}

export function decodeRows(bytes: Uint8Array): EmittedRow[] {
  const rows: EmittedRow[] = [];
  const reader = new ByteReader(bytes);
  while (reader.remaining > 0) {
    const start = reader.offset;
    const [slot, generation, length, hour] = [reader.u32(), reader.u16(), reader.u16(), reader.u32()];
    const minutes: { minute: number; delta: bigint }[] = [];
    while (reader.offset < start + length) minutes.push({ minute: reader.u8(), delta: reader.zigzagBig() });
    rows.push({ slot, generation, hour, minutes });
  }
  return rows;
}
