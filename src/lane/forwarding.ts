import type { ErrorCode, TallystickError } from '../errors.js';
import { ByteReader, ByteWriter, encodeUtf8 } from '../protocol/bytes.js';
import { type FrameView, finishFrame, writeHeader } from '../protocol/frame.js';
import { ANSWER, LANE, Opcode } from '../protocol/opcode.js';
import { encodeError, errorAnswer } from '../protocol/response.js';
import type { RefusalDetails } from '../transport/connection.js';
import type { Requester } from './answers.js';
import type { ProducerHandle } from './greeting.js';
import type { Outlet } from './link.js';
import { hasEffect } from './recovery.js';

/**
 * What lanes send each other: the frame of the client, with what the other lane cannot know before its body.
 *
 *   request  header | token u32 | producer u32 | incarnation u32 | [ client | remote ] | body
 *   answer   header | token u32 | body
 *   gone     header | token u32
 *   end      header
 *
 * The token is the asking lane's name for who waits. Producer and incarnation are the session's in the partition of the
 * frame. What was asked under a token that is gone needs no more answers. `client` and `remote` are each a length (varint) and UTF-8, and stand where the audit log wants to know them.
 */

/** The opcode of `end`: the lane sends nothing more on this ring. */
export const END = 0;
/** The opcode of `gone`; no request has it. */
export const GONE = 128;
/** Bytes of answers that may wait for room in a ring before feeds hold theirs back. */
const MOST_QUEUED_OF_FEEDS = 65_536;

export function encodeForwarded(writer: ByteWriter, token: number, from: Requester, frame: FrameView): void {
  const { opcode, flags, partition, requestId, body } = frame;
  const { producer, incarnation } = from.session.handle(partition);
  const start = writeHeader(writer, opcode, flags, partition, requestId);
  writer.u32(token);
  writer.u32(producer);
  writer.u32(incarnation);
  if (hasEffect(opcode)) {
    writeText(writer, from.session.client);
    writeText(writer, from.remote);
  }
  writer.bytes(body);
  finishFrame(writer, start);
}

export function encodeEnd(writer: ByteWriter): void {
  finishFrame(writer, writeHeader(writer, END, 0, LANE, 0));
}

export function encodeGone(writer: ByteWriter, token: number): void {
  const start = writeHeader(writer, GONE, 0, LANE, 0);
  writer.u32(token);
  finishFrame(writer, start);
}

export function decodeGone({ body }: FrameView): number {
  return new ByteReader(body).u32();
}

/** What requests of one client of another lane have in common. */
export const identityOf = (lane: number, token: number): string => `${lane}.${token}`;

/** Takes the token off an answer. */
export function decodeForwardedAnswer(message: FrameView): { readonly token: number; readonly answer: FrameView } {
  const reader = new ByteReader(message.body);
  return { token: reader.u32(), answer: withBody(message, reader) };
}

/** A request of a client of another lane, to which its answer goes back. */
export class ForwardedRequest implements Requester {
  /** The client's frame. */
  readonly frame: FrameView;
  readonly client: string;
  readonly remote: string;
  readonly identity: string;
  readonly #token: number;
  readonly #handle: ProducerHandle;
  readonly #answers: Outlet;

  /** @param message valid during the call, and so is `frame` */
  constructor(message: FrameView, lane: number, answers: Outlet) {
    const reader = new ByteReader(message.body);
    this.#token = reader.u32();
    this.identity = identityOf(lane, this.#token);
    this.#handle = { producer: reader.u32(), incarnation: reader.u32() };
    const isAudited = hasEffect(message.opcode);
    this.client = isAudited ? readText(reader) : '';
    this.remote = isAudited ? readText(reader) : '';
    this.frame = withBody(message, reader);
    this.#answers = answers;
  }

  get session(): Requester['session'] {
    return this;
  }

  get isClogged(): boolean {
    return this.#answers.queuedBytes > MOST_QUEUED_OF_FEEDS;
  }

  /** Its lane sends it, at the end of a turn of its own. */
  flush(): void {}

  handle(): ProducerHandle {
    return this.#handle;
  }

  answer(opcode: number, flags: number, partition: number, requestId: number, body: Uint8Array): void {
    this.#send(opcode | ANSWER, flags, partition, requestId, (writer) => writer.bytes(body));
  }

  refuse(requestId: number, partition: number, error: TallystickError | ErrorCode, details?: RefusalDetails): void {
    this.#send(Opcode.ERROR, 0, partition, requestId, (writer) => encodeError(writer, errorAnswer(error, details)));
  }

  #send(
    opcode: number,
    flags: number,
    partition: number,
    requestId: number,
    encode: (writer: ByteWriter) => void,
  ): void {
    const writer = new ByteWriter();
    const start = writeHeader(writer, opcode, flags, partition, requestId);
    writer.u32(this.#token);
    encode(writer);
    finishFrame(writer, start);
    this.#answers.send(writer.view());
  }
}

function withBody({ opcode, flags, partition, requestId }: FrameView, rest: ByteReader): FrameView {
  return { opcode, flags, partition, requestId, body: rest.bytes(rest.remaining) };
}

function writeText(writer: ByteWriter, text: string): void {
  const bytes = encodeUtf8(text);
  writer.varint(bytes.length);
  writer.bytes(bytes);
}

function readText(reader: ByteReader): string {
  return reader.text(reader.varint());
}
