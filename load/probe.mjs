import { ByteWriter } from '../dist/protocol/bytes.js';
import { Flag, Opcode } from '../dist/protocol/opcode.js';
import { writeNameKey } from '../dist/protocol/request.js';
import { decodeAddAnswer } from '../dist/protocol/response.js';

/** On one clock for all threads. */
const now = () => performance.timeOrigin + performance.now();

/** Increments a counter and tells the followers when; resolves with its value. */
export function probe(client, { name, partition }, worker) {
  const body = new ByteWriter();
  body.varint(1);
  writeNameKey(body, name);
  body.zigzag(1);
  const at = now();
  return new Promise((resolve) => {
    client.request(Opcode.ADD, Flag.VALUES, partition, body.copy(), (answer) => {
      const [value] = decodeAddAnswer(answer, 1, true).values;
      worker?.postMessage({ kind: 'sent', value, at });
      resolve(value);
    });
  });
}
