import { ByteWriter } from '../../dist/protocol/bytes.js';
import { FrameReader, finishFrame, writeHeader } from '../../dist/protocol/frame.js';
import { ANSWER } from '../../dist/protocol/opcode.js';
import { writeOperationByName } from '../../dist/protocol/request.js';
import { FNV_START, fnv } from '../fnv.mjs';

/** Frames cut and answered, and operations written: what the protocol costs without a socket. */

const CHUNK_BYTES = 65_536;
const BATCH = 1_000;
const BODY = new Uint8Array(4);

/** Cuts a stream that comes in chunks, and writes an answer to each frame. */
export function cutFrames(stream) {
  const answers = new ByteWriter(1 << 20);
  const reader = new FrameReader();
  let frames = 0;
  const start = performance.now();
  for (let offset = 0; offset < stream.length; offset += CHUNK_BYTES) {
    reader.push(stream.subarray(offset, offset + CHUNK_BYTES), ({ opcode, partition, requestId }) => {
      const at = writeHeader(answers, opcode | ANSWER, 0, partition, requestId);
      answers.bytes(BODY);
      finishFrame(answers, at);
      frames++;
    });
  }
  const seconds = (performance.now() - start) / 1_000;
  return { operations: frames, seconds, hash: fnv(FNV_START, answers.view()) };
}

/** Writes operations by name, from strings, as the SDK does; bodies of 1,000. */
export function encodeNames(names) {
  const writer = new ByteWriter(64 * BATCH);
  const start = performance.now();
  for (let from = 0; from < names.length; from += BATCH) writeBody(writer, names, from);
  const seconds = (performance.now() - start) / 1_000;
  let hash = FNV_START;
  for (let from = 0; from < names.length; from += BATCH) hash = fnv(hash, writeBody(writer, names, from));
  return { operations: names.length, seconds, hash };
}

function writeBody(writer, names, from) {
  const end = Math.min(names.length, from + BATCH);
  writer.reset();
  writer.varint(end - from);
  for (let i = from; i < end; i++) writeOperationByName(writer, names[i], 1);
  return writer.view();
}
