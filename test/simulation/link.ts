import { codeOfStatus } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { decodeError } from '../../src/protocol/response.js';
import type { Answer, Sent } from './requests.js';
import type { SimTransport } from './sim-network.js';
import type { World } from './world.js';

/** What a request is besides its frame. */
export type Asked = Pick<Sent, 'batch' | 'keys' | 'names' | 'after' | 'uniques' | 'resumes'> & {
  readonly count?: number;
  readonly done: Sent['done'];
  /** The connection ended first: nobody knows what became of it. */
  readonly lost?: () => void;
};

/** After this long without an answer something hangs. The longest that a server may take is a flush that never ends. */
const LONGEST_WAIT = 30_000;

/** A client's side of one connection to a lane. */
export class Link {
  /** The life of the server that it talks to. */
  readonly life: number;
  state: 'greeting' | 'open' | 'closed' = 'greeting';
  readonly #world: World;
  readonly #name: string;
  readonly #transport: SimTransport | undefined;
  readonly #reader = new FrameReader();
  readonly #tapped = new FrameReader();
  readonly #waiting = new Map<number, Sent & { readonly lost: (() => void) | undefined }>();
  /** What the server has not answered, whether the client still waits or not. */
  readonly #unwritten = new Map<number, Sent>();
  #nextId = 1;

  constructor(world: World, name: string, lane: number) {
    this.#world = world;
    this.#name = name;
    this.life = world.server.lives;
    const end = { data: (bytes: Uint8Array) => this.#take(bytes), closed: () => this.#closed() };
    this.#transport = world.server.connect(lane, name, end, (bytes) => this.#tap(bytes));
    if (!this.#transport) this.state = 'closed';
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  send(opcode: number, flags: number, partition: number, body: Uint8Array, asked: Asked): void {
    const { oracle, clock, trace } = this.#world;
    const { count = 0, lost, ...rest } = asked;
    const id = this.#nextId++;
    const floor = oracle.told[partition] ?? 0;
    const sent = {
      ...rest,
      id,
      opcode,
      flags,
      partition,
      body,
      count,
      floor,
      sentAt: clock.now,
      wallAt: clock.wall,
      stepsAt: clock.steps,
      lost,
    };
    this.#waiting.set(id, sent);
    this.#unwritten.set(id, sent);
    oracle.sent(sent);
    trace(this.#name, 'sends', opcode, flags, partition, id, body.length, asked.batch ?? '');
    this.#transport?.send(encodeFrame(opcode, flags, partition, id, body));
  }

  /** The connection breaks. */
  drop(): void {
    this.#transport?.drop();
  }

  /** Whether it has waited for longer than any server may take. */
  checkPatience(): void {
    for (const { sentAt, opcode, id } of this.#waiting.values()) {
      if (this.#world.clock.now - sentAt > LONGEST_WAIT)
        this.#world.violate(`request ${id} of ${this.#name} (opcode ${opcode}) is never answered`);
      return; // the first one is the oldest
    }
  }

  /** Sees what the server writes as it does. */
  #tap(bytes: Uint8Array): void {
    const { oracle, trace, violate } = this.#world;
    this.#tapped.push(bytes, (frame) => {
      const { opcode, flags, requestId, body } = frame;
      trace(this.#name, 'answered', opcode, flags, requestId, body.length);
      const sent = this.#unwritten.get(requestId);
      this.#unwritten.delete(requestId);
      if (requestId === 0) this.#endOfConnection(body);
      else if (!sent) violate(`request ${requestId} of ${this.#name} is answered twice`);
      else oracle.answered(sent, frame);
    });
  }

  /** Only a connection that was slow to send may be ended by the server. */
  #endOfConnection(body: Uint8Array): void {
    const code = codeOfStatus(decodeError(body).status);
    if (code !== 'HELLO_REQUIRED' && code !== 'FRAME_TIMEOUT') this.#world.violate(`${this.#name} is ended by ${code}`);
  }

  #take(bytes: Uint8Array): void {
    this.#reader.push(bytes, ({ opcode, flags, requestId, body }) => {
      const sent = this.#waiting.get(requestId);
      this.#waiting.delete(requestId);
      const answer: Answer = { opcode, flags, body: body.slice() };
      sent?.done(answer);
    });
  }

  #closed(): void {
    this.state = 'closed';
    this.#world.trace(this.#name, 'closed');
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { lost } of waiting) lost?.();
  }
}

/** The code of an ERROR; undefined for any other answer. */
export function refusalOf({ opcode, body }: Answer) {
  if (opcode !== Opcode.ERROR) return undefined;
  const { status, outcome, position } = decodeError(body);
  return { code: codeOfStatus(status), outcome, position };
}

export function bodyOf(encode: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(64);
  encode(writer);
  return writer.view();
}
