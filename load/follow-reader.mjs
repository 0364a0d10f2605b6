import { connect } from 'node:net';
import { ByteWriter } from '../dist/protocol/bytes.js';
import { decodeHelloAnswer, encodeHelloRequest, PROTOCOL_VERSION } from '../dist/protocol/control.js';
import { encodeFrame, FrameReader } from '../dist/protocol/frame.js';
import { ANSWER, Flag, LANE, Opcode } from '../dist/protocol/opcode.js';
import { decodeTailAnswer, encodeTail } from '../dist/protocol/tail.js';

/** Longest time after which it comes back, in milliseconds. */
const AWAY = 150;
const MOST_CREDIT = 8;

/** A reader of load/torture-follow.mjs: follows over a real socket, stalls, loses its connection, and comes back where it was. */
export class FollowReader {
  wish;
  /** All that it was told, over all of its connections; `again` where it came back. */
  heard = [];
  #target;
  #socket;
  #feed = 0;
  /** Frames of the feed that were taken, also where it has not said so. */
  #taken = 0;
  #next = 1;
  #position;
  #isStalled = false;
  #isOver = false;

  /** @param target host, port and whether that lane owns the partition */
  constructor(target, wish) {
    this.#target = target;
    this.wish = wish;
    this.#connect();
  }

  /** Whether it has been told everything up to a position. */
  isAt(position) {
    const last = this.heard.at(-1);
    return last !== undefined && last !== 'again' && last.answer.whole && last.answer.position >= position;
  }

  stall(isStalled) {
    this.#isStalled = isStalled;
    if (isStalled) this.#socket.pause();
    else {
      this.#socket.resume();
      this.#sayTaken();
    }
  }

  drop() {
    this.#socket.destroy();
  }

  end() {
    this.#isOver = true;
    this.#socket.destroy();
  }

  #connect() {
    if (this.#isOver) return;
    const { host, port, direct } = this.#target;
    const socket = connect({ host, port, noDelay: true });
    this.#socket = socket;
    this.#feed = 0;
    this.#isStalled = false;
    const reader = new FrameReader();
    socket.on('data', (chunk) => reader.push(chunk, (frame) => this.#take(frame)));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => setTimeout(() => this.#connect(), Math.random() * AWAY));
    socket.on('connect', () =>
      this.#send(Opcode.HELLO, 0, LANE, (body) =>
        encodeHelloRequest(body, { version: PROTOCOL_VERSION, client: 'follow', direct }),
      ),
    );
  }

  #take({ opcode, flags, requestId, body }) {
    if (opcode === (Opcode.HELLO | ANSWER)) this.#ask(decodeHelloAnswer(body));
    else if (requestId !== this.#feed) return;
    else if (opcode === Opcode.ERROR) this.drop();
    else if (flags & Flag.MORE) this.#hear(decodeTailAnswer(body, this.wish.names));
  }

  #hear(answer) {
    this.#taken++;
    this.heard.push({ answer, flushed: Number.POSITIVE_INFINITY });
    if (answer.whole) this.#position = answer.position;
    else if (answer.begins) this.#position = undefined;
    if (!this.#isStalled) this.#sayTaken();
  }

  #ask({ epoch }) {
    const { partition, names, prefix, interval } = this.wish;
    const after = this.#position === undefined ? {} : { after: { epoch, sequence: this.#position } };
    const following = { interval, credit: 1 + Math.floor(Math.random() * MOST_CREDIT), ...after };
    const request = names ? { kind: 'names', ...following, names } : { kind: 'prefix', ...following, prefix };
    this.heard.push('again');
    this.#taken = 0;
    const flags = this.#position === undefined ? 0 : Flag.AFTER;
    this.#feed = this.#send(Opcode.TAIL, flags, partition, (body) => encodeTail(body, request));
  }

  #sayTaken() {
    if (this.#feed === 0 || !this.#socket.writable) return;
    this.#send(Opcode.TAIL, 0, this.wish.partition, (body) =>
      encodeTail(body, { kind: 'more', feed: this.#feed, taken: this.#taken }),
    );
  }

  #send(opcode, flags, partition, write) {
    const body = new ByteWriter();
    write(body);
    const id = this.#next++;
    this.#socket.write(encodeFrame(opcode, flags, partition, id, body.view()));
    return id;
  }
}
