import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeHelloRequest, encodeStatsRequest } from '../../src/protocol/control.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { partitionOf } from '../../src/protocol/partition-hash.js';
import {
  type Extension,
  encodeAdd,
  encodeDelete,
  encodeGet,
  encodeList,
  encodeOpen,
  encodeSet,
  type Key,
  type Operation,
  type Sequence,
} from '../../src/protocol/request.js';
import type { Random } from '../support/random.js';

/** Frames as a client may send them, of every opcode: what the mutator starts from. */

export interface Frame {
  readonly opcode: number;
  readonly flags: number;
  readonly partition: number;
  readonly requestId: number;
  readonly body: Uint8Array;
}

/** What a frame must know of the server to be right. */
export interface Server {
  readonly partition: number;
  readonly partitions: number;
  readonly epoch: number;
  /** Of the partition's last change. */
  readonly position: number;
  /** Whether HELLO says that the client connects to every lane. */
  readonly direct: boolean;
  /** The next sequence of the session. */
  readonly nextSequence: number;
}

const MAX = 2n ** 63n - 1n;
const MIN = -(2n ** 63n);
const NAMES = 300;
/** Ids are slots, and they are given in the order of the names. */
const SLOTS = 400;
const OPERATION_IDS = 200;
const REMEMBERED_FRAMES = 8;

export class ValidFrames {
  readonly #random: Random;
  readonly #direct: boolean;
  readonly #names: readonly string[];
  #sequenced: Frame[] = [];

  constructor(random: Random, { partition, partitions, direct }: Pick<Server, 'partition' | 'partitions' | 'direct'>) {
    this.#random = random;
    this.#direct = direct;
    this.#names = namesOf(partition, partitions);
  }

  next(server: Server): Frame {
    const random = this.#random;
    const requestId = random.u32();
    const lane = { partition: LANE, requestId, flags: 0 };
    const kind = random.below(100);
    if (kind < 42) return this.#add(server, requestId);
    if (kind < 53) return this.#get(server, requestId);
    if (kind < 56) return this.#list(server, requestId);
    if (kind < 63) return this.#delete(server, requestId);
    if (kind < 72) return this.#set(server, requestId);
    if (kind < 82) return this.#open(server, requestId);
    if (kind < 90) return this.#again(server, requestId);
    if (kind < 93) return { ...lane, opcode: Opcode.PING, body: random.bytes(random.below(65)) };
    if (kind < 95) return { ...lane, opcode: Opcode.SYNC, body: new Uint8Array(0) };
    if (kind < 97) return this.hello(requestId);
    const request = random.oneIn(8) ? { stateHash: random.oneIn(2) } : {};
    return { ...lane, opcode: Opcode.STATS, body: written((writer) => encodeStatsRequest(writer, request)) };
  }

  hello(requestId: number): Frame {
    const random = this.#random;
    const id = random.pick([{ name: `fuzz-${random.below(4)}` }, { id: new Uint8Array(16).fill(random.below(4)) }]);
    const body = written((writer) =>
      encodeHelloRequest(writer, {
        version: 1,
        client: 'fuzz',
        ...(random.oneIn(4) && { token: 'token' }),
        ...(!random.oneIn(4) && { producer: id }),
        ...(this.#direct
          ? random.oneIn(4) && { resume: [{ partition: random.below(4), incarnation: random.below(8) }] }
          : { direct: false }),
      }),
    );
    return { opcode: Opcode.HELLO, flags: 0, partition: LANE, requestId, body };
  }

  #add(server: Server, requestId: number): Frame {
    const random = this.#random;
    const sequence = random.oneIn(3) ? this.#sequence(server) : undefined;
    const count = random.oneIn(30) ? 100 + random.below(400) : random.below(6);
    const operations = Array.from({ length: count }, () => this.#operation());
    const flags = (random.oneIn(3) ? Flag.VALUES : 0) | (random.oneIn(20) ? Flag.ATOMIC : 0) | this.#applied();
    const body = written((writer) => encodeAdd(writer, { operations, ...(sequence && { sequence }) }));
    const { partition } = server;
    return this.#kept({ opcode: Opcode.ADD, flags: flags | sequencedFlag(sequence), partition, requestId, body });
  }

  #set(server: Server, requestId: number): Frame {
    const random = this.#random;
    const sequence = random.oneIn(3) ? this.#sequence(server) : undefined;
    const body = written((writer) =>
      encodeSet(writer, {
        key: this.#key(),
        value: this.#number(),
        reason: random.pick(['fix', 'é', 'r'.repeat(256)]),
        ...(random.oneIn(3) && { expect: random.pick([0n, this.#number()]) }),
        ...(sequence && { sequence }),
      }),
    );
    const flags = this.#applied() | sequencedFlag(sequence);
    return this.#kept({ opcode: Opcode.SET, flags, partition: server.partition, requestId, body });
  }

  #delete(server: Server, requestId: number): Frame {
    const random = this.#random;
    const sequence = random.oneIn(3) ? this.#sequence(server) : undefined;
    const body = written((writer) =>
      encodeDelete(writer, {
        key: this.#key(),
        reason: random.pick(['gone', 'é', 'r'.repeat(256)]),
        ...(random.oneIn(3) && { expect: random.pick([0n, this.#number()]) }),
        ...(sequence && { sequence }),
      }),
    );
    const flags = this.#applied() | sequencedFlag(sequence);
    return this.#kept({ opcode: Opcode.DELETE, flags, partition: server.partition, requestId, body });
  }

  #list({ partition }: Server, requestId: number): Frame {
    const random = this.#random;
    const prefix = new TextEncoder().encode(this.#name()).subarray(0, random.below(7));
    const cursor = random.oneIn(2) ? 0 : random.below(SLOTS);
    const body = written((writer) => encodeList(writer, { prefix, cursor, limit: 1 + random.below(50) }));
    return { opcode: Opcode.LIST, flags: random.oneIn(2) ? Flag.LATEST : 0, partition, requestId, body };
  }

  #get({ partition, epoch, position }: Server, requestId: number): Frame {
    const random = this.#random;
    const after = { epoch, sequence: random.below(position + 1) };
    const withAfter = random.oneIn(5);
    const keys = Array.from({ length: random.below(8) }, () => this.#key());
    const body = written((writer) => encodeGet(writer, { keys, ...(withAfter && { after }) }));
    const flags = (withAfter ? Flag.AFTER : 0) | (random.oneIn(2) ? Flag.LATEST : 0);
    return { opcode: Opcode.GET, flags, partition, requestId, body };
  }

  #open({ partition }: Server, requestId: number): Frame {
    const names = Array.from({ length: this.#random.below(5) }, () => this.#name());
    return {
      opcode: Opcode.OPEN,
      flags: 0,
      partition,
      requestId,
      body: written((writer) => encodeOpen(writer, names)),
    };
  }

  /** A sequenced frame that was sent before. */
  #again(server: Server, requestId: number): Frame {
    if (this.#sequenced.length === 0) return this.#add(server, requestId);
    return { ...this.#random.pick(this.#sequenced), requestId };
  }

  #kept(frame: Frame): Frame {
    if (frame.flags & Flag.SEQUENCED) this.#sequenced = [...this.#sequenced.slice(1 - REMEMBERED_FRAMES), frame];
    return frame;
  }

  #sequence({ nextSequence: next }: Server): Sequence {
    const random = this.#random;
    const sequence = random.oneIn(12) ? next + random.below(3) : next;
    const unanswered = random.oneIn(50) ? 1024 : Math.min(random.below(12), Math.max(0, sequence - 1));
    return { sequence, unanswered, ...(random.oneIn(4) && { cursor: random.bytes(1 + random.below(64)) }) };
  }

  #operation(): Operation {
    return { key: this.#key(), delta: this.#number(), ...(this.#random.oneIn(4) && this.#extension()) };
  }

  #extension(): Extension {
    const random = this.#random;
    const operationId = new Uint8Array(16).fill(random.below(OPERATION_IDS));
    return {
      ...(random.oneIn(2) && { min: random.pick([0n, this.#number()]) }),
      ...(random.oneIn(2) && { max: random.pick([100n, this.#number()]) }),
      ...(random.oneIn(2) && { operationId }),
    };
  }

  #key(): Key {
    if (!this.#random.oneIn(4)) return { name: this.#name() };
    return { slot: this.#random.below(SLOTS), generation: this.#random.oneIn(20) ? this.#random.below(4) : 0 };
  }

  #name(): string {
    return this.#random.pick(this.#names);
  }

  #number(): bigint {
    const random = this.#random;
    if (!random.oneIn(12)) return BigInt(random.below(200) - 100);
    const extremes = [MIN, MAX, MIN + 1n, MAX - 1n, 63n, 64n, -64n, -65n, 2n ** 32n, -(2n ** 53n)];
    return random.pick(extremes);
  }

  #applied(): number {
    return this.#random.oneIn(3) ? Flag.APPLIED : 0;
  }
}

const sequencedFlag = (sequence: Sequence | undefined): number => (sequence ? Flag.SEQUENCED : 0);

export function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter();
  write(writer);
  return writer.copy();
}

/** Names of one partition: short and long ones, of one byte a character and of more, with tags. */
function namesOf(partition: number, partitions: number): string[] {
  const forms = [
    (i: number) => `${i}`,
    (i: number) => `views:/page/${i}`,
    (i: number) => `ünï-${i}-\u{1f600}`,
    (i: number) => `likes{post:${i}}`,
    (i: number) => `${i}\n"'\\,\u0000`,
    (i: number) => `${i}`.padEnd(1024, 'x'),
  ];
  const names: string[] = [];
  for (let i = 0; names.length < NAMES; i++) {
    // Only one in ten is long, so that a partition has room for all.
    const name = (forms[i % 10] ?? forms[i % 5] ?? String)(i);
    const bytes = new TextEncoder().encode(name);
    if (partitionOf(bytes, 0, bytes.length, partitions) === partition) names.push(name);
  }
  return names;
}
