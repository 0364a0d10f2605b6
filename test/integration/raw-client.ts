import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { codeOfStatus, type ErrorCode } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import {
  decodeHelloAnswer,
  encodeHelloRequest,
  type HelloAnswer,
  type HelloRequest,
} from '../../src/protocol/control.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { partitionOf } from '../../src/protocol/partition-hash.js';
import { encodeAdd, encodeGet, type Operation, type Sequence } from '../../src/protocol/request.js';
import {
  type AddAnswer,
  decodeAddAnswer,
  decodeError,
  decodeGetAnswer,
  type ErrorAnswer,
  type GetAnswer,
} from '../../src/protocol/response.js';

/** A client of one lane that sends exactly what it is told, and nothing by itself. */

export interface Answer {
  readonly opcode: number;
  readonly flags: number;
  readonly body: Uint8Array;
  /** How many answers had come on this connection before it. */
  readonly order: number;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

export class RawClient {
  readonly socket: Socket;
  hello: HelloAnswer | undefined;
  readonly #reader = new FrameReader();
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #answers = 0;
  #ended = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', () => {}); // `close` follows
    socket.on('close', () => {
      this.#ended = true;
      for (const { reject } of this.#waiting.values()) reject(new Error('The connection ended before the answer.'));
      this.#waiting.clear();
    });
  }

  /** Connects without saying HELLO. Ends with the test that runs. */
  static async open(url: string): Promise<RawClient> {
    const { hostname, port } = new URL(url);
    const socket = connectSocket({ host: hostname, port: Number(port), noDelay: true });
    onTestFinished(() => {
      socket.destroy();
    });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  static async connect(url: string, hello: Partial<HelloRequest> = {}): Promise<RawClient> {
    const client = await RawClient.open(url);
    const answer = await client.sayHello(hello);
    if (answer.opcode === Opcode.ERROR) throw new Error(`HELLO: ${errorCodeOf(answer)}`);
    client.hello = decodeHelloAnswer(answer.body);
    return client;
  }

  /** Requests that wait for their answers. */
  get inFlight(): number {
    return this.#waiting.size;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The id that the next request will have. */
  get nextId(): number {
    return this.#nextId;
  }

  sayHello(hello: Partial<HelloRequest> = {}): Promise<Answer> {
    const body = new ByteWriter();
    encodeHelloRequest(body, { version: 1, client: 'test', ...hello });
    return this.request(Opcode.HELLO, 0, LANE, body.view());
  }

  /** Rejects where the connection ends before the answer. */
  request(opcode: number, flags: number, partition: number, body: Uint8Array = new Uint8Array(0)): Promise<Answer> {
    const id = this.#nextId++;
    const answer = new Promise<Answer>((resolve, reject) => {
      if (this.#ended) reject(new Error('The connection has ended.'));
      else this.#waiting.set(id, { resolve, reject });
    });
    answer.catch(() => {}); // whoever awaits it sees it; some only look at what did come
    this.socket.write(encodeFrame(opcode, flags, partition, id, body));
    return answer;
  }

  /** Hands what is written within to the system at once. */
  together<T>(write: () => T): T {
    this.socket.cork();
    try {
      return write();
    } finally {
      this.socket.uncork();
    }
  }

  partitionOf(name: string): number {
    const bytes = Buffer.from(name);
    return partitionOf(bytes, 0, bytes.length, this.hello?.partitions.length ?? 0);
  }

  /** ADD of the operations to the partition of the first one's name. */
  add(operations: readonly NamedOperation[], options: AddOptions = {}): Promise<Answer> {
    const { sequence, flags = 0 } = options;
    const body = new ByteWriter();
    encodeAdd(body, {
      operations: operations.map(({ name, ...operation }) => ({ key: { name }, ...operation })),
      ...(sequence && { sequence }),
    });
    const partition = options.partition ?? this.partitionOf(operations[0]?.name ?? '');
    return this.request(Opcode.ADD, flags | (sequence ? Flag.SEQUENCED : 0), partition, body.view());
  }

  get(name: string, flags = 0): Promise<Answer> {
    const body = new ByteWriter();
    encodeGet(body, { keys: [{ name }] });
    return this.request(Opcode.GET, flags, this.partitionOf(name), body.view());
  }

  ping(): Promise<Answer> {
    return this.request(Opcode.PING, 0, LANE);
  }

  #take(chunk: Buffer): void {
    this.#reader.push(chunk, ({ opcode, flags, requestId, body }) => {
      const waiting = this.#waiting.get(requestId);
      this.#waiting.delete(requestId);
      waiting?.resolve({ opcode, flags, body: body.slice(), order: this.#answers++ });
    });
  }
}

export type NamedOperation = Omit<Operation, 'key'> & { readonly name: string };

export interface AddOptions {
  readonly sequence?: Sequence;
  readonly flags?: number;
  readonly partition?: number;
}

/** The error that an answer is. */
export function errorOf(answer: Answer): ErrorAnswer & { readonly code: ErrorCode } {
  if (answer.opcode !== Opcode.ERROR) throw new Error(`Answer ${answer.opcode} is no error.`);
  const error = decodeError(answer.body);
  return { ...error, code: codeOfStatus(error.status) };
}

export function errorCodeOf(answer: Answer): ErrorCode | undefined {
  return answer.opcode === Opcode.ERROR ? errorOf(answer).code : undefined;
}

/** The answer to an ADD of so many operations. */
export function addAnswer(answer: Answer, operations: number, values = true): AddAnswer {
  const code = errorCodeOf(answer);
  if (code) throw new Error(`ADD was refused: ${code}`);
  return decodeAddAnswer(answer.body, operations, values);
}

/** The answer to a GET of one key: its value (absent = 0) and what it is worth. */
export function readAnswer(answer: Answer): Pick<GetAnswer, 'position' | 'flushed'> & { readonly value: bigint } {
  const code = errorCodeOf(answer);
  if (code) throw new Error(`GET was refused: ${code}`);
  const { position, flushed, values } = decodeGetAnswer(answer.body);
  return { position, flushed, value: values[0]?.value ?? 0n };
}
