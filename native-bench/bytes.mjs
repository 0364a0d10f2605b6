import { writeFileSync } from 'node:fs';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { encodeHelloRequest, PROTOCOL_VERSION } from '../dist/protocol/control.js';
import { encodeFrame } from '../dist/protocol/frame.js';
import { Flag, LANE, Opcode } from '../dist/protocol/opcode.js';
import { writeOperationById, writeOperationByName } from '../dist/protocol/request.js';

/** The bytes that both sides of a row work on: bodies, frames, and files of them for the C programs. */

/** Bodies of ADD, without a sequence, of so many operations each. */
export function bodiesOf(operations, size, write) {
  const bodies = [];
  for (let from = 0; from < operations.length; from += size) {
    const batch = operations.slice(from, from + size);
    const writer = new ByteWriter(32 * batch.length);
    writer.varint(batch.length);
    for (const operation of batch) write(writer, operation);
    bodies.push(writer.copy());
  }
  return bodies;
}

export const byName = (writer, name) => writeOperationByName(writer, name, 1);
export const byId = (writer, { slot, generation }) => writeOperationById(writer, slot, generation, 1);

/** `count` picks of a list. */
export function picks(list, count, next) {
  return Array.from({ length: count }, () => list[Math.floor(next() * list.length)]);
}

/** HELLO of a producer with a name. */
export function helloFrame(producer) {
  const writer = new ByteWriter();
  encodeHelloRequest(writer, { version: PROTOCOL_VERSION, client: 'native-bench', producer: { name: producer } });
  return encodeFrame(Opcode.HELLO, 0, LANE, 0, writer.view());
}

/**
 * A frame as client.c sends it: sequence and unanswered are varints of five and two bytes, which it fills in, and the
 * request id is the number of the frame in its file.
 */
export function addFrame(partition, number, body, flags = 0) {
  const prefixed = new Uint8Array(8 + body.length);
  prefixed.set([0x80, 0x80, 0x80, 0x80, 0x00, 0x80, 0x00, 0]);
  prefixed.set(body, 8);
  return encodeFrame(Opcode.ADD, flags | Flag.SEQUENCED, partition, number, prefixed);
}

/** `u32 length | bytes`, one block after another: what read_blocks in blocks.h takes. */
export function writeBlocks(path, blocks) {
  writeFileSync(
    path,
    Buffer.concat(
      blocks.flatMap((block) => {
        const length = Buffer.alloc(4);
        length.writeUInt32LE(block.length);
        return [length, block];
      }),
    ),
  );
}

/** Bytes one after another. */
export function writeStream(path, pieces) {
  writeFileSync(path, Buffer.concat(pieces));
}
