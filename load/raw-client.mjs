import { once } from 'node:events';
import { connect } from 'node:net';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { decodeHelloAnswer, encodeHelloRequest } from '../dist/protocol/control.js';
import { encodeFrame, FrameReader } from '../dist/protocol/frame.js';
import { LANE, Opcode } from '../dist/protocol/opcode.js';
import { writeSequence } from '../dist/protocol/request.js';
import { decodeError } from '../dist/protocol/response.js';

/** A client that sends frames made beforehand, as fast as a client can: what is measured is the server. */
export class RawClient {
  #lanes = [];
  #next = 1;
  #waiting = new Map();
  #writer = new ByteWriter(256);

  /** Connects to every lane. */
  static async connect(url) {
    const client = new RawClient();
    const { hostname, port } = new URL(url);
    const first = await client.#lane(hostname, Number(port));
    const sockets = [first.socket];
    for (const { host, port: lanePort } of first.hello.lanes.slice(1))
      sockets.push((await client.#lane(host, lanePort)).socket);
    client.#lanes = first.hello.partitions.map((lane) => sockets[lane]);
    client.sockets = sockets;
    client.partitions = first.hello.partitions.length;
    client.sequences = new Array(client.partitions).fill(0);
    return client;
  }

  async #lane(host, port) {
    const socket = connect({ host, port, noDelay: true });
    await once(socket, 'connect');
    const reader = new FrameReader();
    socket.on('data', (chunk) =>
      reader.push(chunk, (frame) => {
        const waiter = this.#waiting.get(frame.requestId);
        this.#waiting.delete(frame.requestId);
        if (frame.opcode === Opcode.ERROR) throw new Error(JSON.stringify(decodeError(frame.body)));
        waiter(frame.body);
      }),
    );
    this.#writer.reset();
    encodeHelloRequest(this.#writer, { version: 1, client: 'load', producer: { name: 'load' } });
    const id = this.#next++;
    const answer = new Promise((resolve) => this.#waiting.set(id, (body) => resolve(decodeHelloAnswer(body))));
    socket.write(encodeFrame(Opcode.HELLO, 0, LANE, id, this.#writer.view()));
    return { socket, hello: await answer };
  }

  /** Sends a request; `answered` gets the body of the answer, valid during the call. */
  request(opcode, flags, partition, body, answered) {
    const id = this.#next++;
    this.#waiting.set(id, answered);
    this.#lanes[partition].write(encodeFrame(opcode, flags, partition, id, body));
  }

  /** Sends a batch under the partition's next sequence: what follows the prefix was made beforehand. */
  sequenced(opcode, flags, partition, rest, answered) {
    const id = this.#next++;
    this.#waiting.set(id, answered);
    const writer = this.#writer;
    writer.reset();
    writer.u32(0);
    writer.u8(opcode);
    writer.u8(flags | 16);
    writer.u16(partition);
    writer.u32(id);
    writeSequence(writer, ++this.sequences[partition], 0);
    writer.patchU32(0, writer.length - 4 + rest.length);
    const socket = this.#lanes[partition];
    socket.cork();
    socket.write(writer.copy());
    socket.write(rest);
    socket.uncork();
  }

  close() {
    for (const socket of this.sockets) socket.end();
  }
}
