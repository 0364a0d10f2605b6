import { once } from 'node:events';
import { connect } from 'node:net';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { decodeHelloAnswer, encodeHelloRequest, PROTOCOL_VERSION } from '../dist/protocol/control.js';
import { encodeFrame, FrameReader, finishFrame, writeHeader } from '../dist/protocol/frame.js';
import { Flag, LANE, Opcode } from '../dist/protocol/opcode.js';
import { writeSequence } from '../dist/protocol/request.js';
import { decodeError } from '../dist/protocol/response.js';

/** Frames from this size on are handed to the socket as they are; smaller ones of a turn are gathered. */
const GATHERED_BYTES = 4_096;
const NO_BYTES = new Uint8Array(0);
/** What all sockets read into: else Node allocates 64 KiB for each read. */
const READ = Buffer.allocUnsafeSlow(65_536);

/** The connection to one lane. What is sent while its answers are read goes when they are, anything else at the end of the turn. */
class LaneSocket {
  #socket;
  #gathered = new ByteWriter();
  #isEndAwaited = false;
  #isReading = false;

  /** Resolves when it is connected; `onFrame` is called for each answer, `onClosed` at the end. */
  static async connect(host, port, onFrame, onClosed) {
    const reader = new FrameReader();
    let view = READ;
    const callback = (count) => {
      if (view.length !== count) view = READ.subarray(0, count);
      lane.#isReading = true;
      reader.push(view, onFrame);
      lane.#isReading = false;
      lane.#end();
      return true;
    };
    const socket = connect({ host, port, noDelay: true, onread: { buffer: READ, callback } });
    const lane = new LaneSocket(socket);
    await once(socket, 'connect');
    socket.on('close', onClosed);
    socket.resume();
    return lane;
  }

  constructor(socket) {
    this.#socket = socket;
  }

  /** Where a frame is written to. */
  get writer() {
    this.#awaitEnd();
    return this.#gathered;
  }

  /** Bytes after what the writer has; they must not change until they are sent. */
  write(bytes) {
    this.#awaitEnd();
    if (this.#socket.writableCorked === 0) this.#socket.cork();
    this.#flush();
    this.#socket.write(bytes);
  }

  end() {
    this.#socket.end();
  }

  #awaitEnd() {
    if (this.#isEndAwaited) return;
    this.#isEndAwaited = true;
    if (!this.#isReading) process.nextTick(() => this.#end());
  }

  #end() {
    this.#isEndAwaited = false;
    this.#flush();
    if (this.#socket.writableCorked > 0) this.#socket.uncork();
  }

  #flush() {
    if (this.#gathered.length === 0) return;
    this.#socket.write(Buffer.from(this.#gathered.view()));
    this.#gathered.reset();
  }
}

/** A client that sends frames made beforehand, as fast as a client in JavaScript can: what is measured is the server. */
export class RawClient {
  #producer;
  #isDirect;
  #lanes = [];
  #sockets = [];
  #ports = [];
  #isClosed = false;
  #next = 1;
  #waiting = new Map();
  /** Of each partition, the last one sent. */
  #sequences = [];
  /** Batches of each partition on their way. Their answers come in order. */
  #unanswered = [];
  /** How many partitions the server has. */
  partitions;

  /** Connects to every lane, as a producer of its own; to one that passes on what others own where it is not to be direct. */
  static async connect(url, producer = 'load', direct = true) {
    const client = new RawClient(producer, direct);
    const { hostname, port } = new URL(url);
    const first = await client.#connect(hostname, Number(port));
    for (const [lane, { host, port: lanePort }] of first.lanes.entries()) {
      if (direct && lane !== first.lane) await client.#connect(host, lanePort);
    }
    client.#lanes = first.partitions.map((lane) => client.#sockets[direct ? lane : first.lane]);
    client.partitions = first.partitions.length;
    return client;
  }

  constructor(producer, direct) {
    this.#producer = producer;
    this.#isDirect = direct;
  }

  /** For each lane its port and its partitions. */
  get lanes() {
    return this.#ports.map((port, lane) => ({
      port,
      partitions: this.#lanes.flatMap((socket, partition) => (socket === this.#sockets[lane] ? [partition] : [])),
    }));
  }

  async #connect(host, port) {
    // Whoever waits for an answer would wait for ever, and the process end without a word.
    const onClosed = () => {
      if (!this.#isClosed) throw new Error(`The server closed the connection to port ${port}.`);
    };
    const socket = await LaneSocket.connect(host, port, (frame) => this.#answered(frame), onClosed);
    const writer = new ByteWriter();
    encodeHelloRequest(writer, {
      version: PROTOCOL_VERSION,
      client: 'load',
      producer: { name: this.#producer },
      direct: this.#isDirect,
    });
    const id = this.#next++;
    const answer = new Promise((resolve) => this.#waiting.set(id, (body) => resolve(decodeHelloAnswer(body))));
    socket.writer.bytes(encodeFrame(Opcode.HELLO, 0, LANE, id, writer.view()));
    const hello = await answer;
    this.#sockets[hello.lane] = socket;
    this.#ports[hello.lane] = port;
    for (const { partition, next } of hello.producer.partitions) {
      this.#sequences[partition] = next - 1;
      this.#unanswered[partition] = 0;
    }
    return hello;
  }

  #answered({ opcode, requestId, body }) {
    const answered = this.#waiting.get(requestId);
    this.#waiting.delete(requestId);
    if (opcode === Opcode.ERROR) throw new Error(`The server refused a request: ${JSON.stringify(decodeError(body))}`);
    answered(body);
  }

  /** Sends a request; `answered` gets the body of the answer, valid during the call. */
  request(opcode, flags, partition, body, answered) {
    this.#request(this.#lanes[partition], opcode, flags, partition, body, answered);
  }

  /** The same to each lane, of which it asks; resolves with copies of the bodies. */
  requestOfLanes(opcode, body) {
    const asked = (socket) =>
      new Promise((resolve) =>
        this.#request(socket, opcode, 0, LANE, body, (answer) => resolve(Uint8Array.from(answer))),
      );
    return Promise.all(this.#sockets.map(asked));
  }

  #request(socket, opcode, flags, partition, body, answered) {
    const id = this.#next++;
    this.#waiting.set(id, answered);
    socket.writer.bytes(encodeFrame(opcode, flags, partition, id, body));
  }

  /**
   * Sends a batch under the partition's next sequence. What follows the sequence was made beforehand: it is in `bytes` from `start`
   * to `end`.
   */
  sequenced(opcode, flags, partition, bytes, start, end, answered) {
    const id = this.#next++;
    this.#waiting.set(id, (body) => {
      this.#unanswered[partition]--;
      answered(body);
    });
    const lane = this.#lanes[partition];
    const { writer } = lane;
    const at = writeHeader(writer, opcode, flags | Flag.SEQUENCED, partition, id);
    writeSequence(writer, ++this.#sequences[partition], this.#unanswered[partition]++);
    if (end - start < GATHERED_BYTES) {
      writer.bytes(bytes, start, end);
      finishFrame(writer, at);
    } else {
      finishFrame(writer, at);
      writer.patchU32(at, writer.length - at - 4 + end - start);
      lane.write(bytes.subarray(start, end));
    }
  }

  /** Resolves when everything that was applied is durable. */
  async sync() {
    await this.requestOfLanes(Opcode.SYNC, NO_BYTES);
  }

  close() {
    this.#isClosed = true;
    for (const socket of this.#sockets) socket.end();
  }
}
