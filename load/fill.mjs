import { ByteWriter } from '../dist/protocol/bytes.js';
import { Flag, Opcode } from '../dist/protocol/opcode.js';
import { partitionOf } from '../dist/protocol/partition-hash.js';
import { writeNameBytesKey } from '../dist/protocol/request.js';

const BATCH = 5_000;
const MOST_IN_FLIGHT = 32;

/**
 * Makes counters, adding 1 to each, as fast as one client can; nobody holds their names. Resolves when all are durable.
 *
 * @param nameOf writes the name with a number into an array and gives its length in bytes
 */
export async function fill(client, count, nameOf) {
  const name = new Uint8Array(1_024);
  const writers = Array.from({ length: client.partitions }, () => ({ bytes: new ByteWriter(BATCH * 24), count: 0 }));
  let flying = 0;
  let landed = () => {};
  const send = async (partition) => {
    const writer = writers[partition];
    const head = new ByteWriter();
    head.varint(writer.count);
    head.bytes(writer.bytes.view());
    writers[partition] = { bytes: new ByteWriter(BATCH * 24), count: 0 };
    const body = head.view();
    flying++;
    client.sequenced(Opcode.ADD, Flag.APPLIED, partition, body, 0, body.length, () => {
      flying--;
      landed();
    });
    while (flying >= MOST_IN_FLIGHT) await answer();
  };
  const answer = () =>
    new Promise((resolve) => {
      landed = resolve;
    });
  for (let number = 0; number < count; number++) {
    const length = nameOf(number, name);
    const partition = partitionOf(name, 0, length, client.partitions);
    const writer = writers[partition];
    writeNameBytesKey(writer.bytes, name, 0, length);
    writer.bytes.zigzag(1);
    if (++writer.count === BATCH) await send(partition);
  }
  for (const [partition, writer] of writers.entries()) if (writer.count > 0) await send(partition);
  while (flying > 0) await answer();
  await client.sync();
}

/** Names of `length` bytes: a prefix and the number in twelve digits, or in as many as there is room for. */
export function numberedNames(length) {
  const prefix = 'counter:views:page'.slice(0, Math.max(0, length - 12));
  const digits = length - prefix.length;
  const bytes = (number, into) => {
    for (let i = 0; i < prefix.length; i++) into[i] = prefix.charCodeAt(i);
    for (let i = length - 1, rest = number; i >= prefix.length; i--, rest = Math.floor(rest / 10))
      into[i] = 48 + (rest % 10);
    return length;
  };
  const text = (number) => prefix + String(number).padStart(digits, '0');
  return { bytes, text, prefix };
}
