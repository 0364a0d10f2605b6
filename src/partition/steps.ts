import { ByteReader } from '../protocol/bytes.js';
import { type Operation, readSequence, type Sequence } from '../protocol/request.js';

/** A STEPS of the log, which is drawn in src/kernel/logged.ts. */
export interface Steps {
  readonly sequence?: Sequence;
  readonly operations: readonly (Operation & {
    readonly key: { readonly slot: number; readonly generation: number };
  })[];
}

const PAYLOAD_BYTES = 8;
const HAS_GENERATION = 2;
const HAS_DELTA = 1;

/** @throws TallystickError BAD_REQUEST */
export function decodeSteps(body: Uint8Array, flags: number): Steps {
  const reader = new ByteReader(body);
  const sequence = readSequence(reader, flags);
  if (sequence) reader.bytes(PAYLOAD_BYTES);
  const operations = Array.from({ length: reader.count(1) }, () => {
    const head = reader.varint();
    const generation = head & HAS_GENERATION ? reader.varint() : 0;
    const delta = head & HAS_DELTA ? reader.zigzagBig() : 1n;
    return { key: { slot: head >>> 2, generation }, delta };
  });
  reader.end();
  return { ...sequence, operations };
}
