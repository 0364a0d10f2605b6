import type { Heard } from '../../load/heard.mjs';
import { connectIn } from '../../src/client/connect.js';
import type { Subscription } from '../../src/client/subscription.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { encodeHelloRequest } from '../../src/protocol/control.js';
import { encodeFrame, FrameReader, type FrameView } from '../../src/protocol/frame.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { decodeError } from '../../src/protocol/response.js';
import { decodeTailAnswer, encodeTail, type TailRequest } from '../../src/protocol/tail.js';
import { EPOCH } from '../lane/lane-harness.js';
import type { Random } from '../support/random.js';
import type { Pipe, Truth, World } from './world.js';

/** Who follows in the model: a client of the protocol, and a program with the SDK. */

/** What one feed follows. */
export interface Wish {
  readonly partition: number;
  readonly names: readonly string[] | undefined;
  readonly prefix: string;
  readonly interval: number;
}

/** Frames over one connection. */
export class Wire {
  readonly pipe: Pipe;
  isOpen = false;
  isClosed = false;
  #next = 1;
  readonly #reader = new FrameReader();

  constructor(world: World, lane: number, direct: boolean, onFrame: (frame: FrameView) => void, onClosed: () => void) {
    const opened = () => {
      this.send(Opcode.HELLO, 0, LANE, (writer) => encodeHelloRequest(writer, { version: 1, client: 'model', direct }));
    };
    const take = (frame: FrameView) => {
      if (frame.opcode === (Opcode.HELLO | 0x80)) this.isOpen = true;
      else onFrame(frame);
    };
    this.pipe = world.open(
      { port: lane + 1 },
      {
        opened,
        received: (bytes) => {
          this.#reader.push(bytes, take);
        },
        closed: () => {
          this.isClosed = true;
          this.isOpen = false;
          onClosed();
        },
      },
    );
  }

  send(opcode: number, flags: number, partition: number, encode: (writer: ByteWriter) => void): number {
    const writer = new ByteWriter();
    encode(writer);
    const id = this.#next++;
    this.pipe.client.write(encodeFrame(opcode, flags, partition, id, writer.view()));
    return id;
  }

  drop(): void {
    this.isClosed = true;
    this.isOpen = false;
    this.pipe.client.close();
  }
}

/** A client of the protocol that follows, and comes back where it was. */
export class Reader {
  readonly wish: Wish;
  /** All that it was told, over all of its connections; a reset where it does not go on. */
  readonly heard: (Heard | 'again')[] = [];
  endings = 0;
  /** How often it was to go on from a position, and was told to begin anew. */
  begunAnew = 0;
  isStalled = false;
  #isResuming = false;
  #wire: Wire | undefined;
  #feed = 0;
  /** Frames of its feed that it took, and of which it said so. */
  #taken = 0;
  #said = 0;
  #position: number | undefined;
  readonly #world: World;
  readonly #random: Random;

  constructor(world: World, random: Random, wish: Wish) {
    this.#world = world;
    this.#random = random;
    this.wish = wish;
  }

  /** Does what comes next: connects, asks, says what it took. */
  step(): void {
    const wire = this.#wire;
    if (!wire || wire.isClosed) {
      this.#feed = 0;
      this.#connect();
    } else if (wire.isOpen && this.#feed === 0) {
      this.#ask(wire);
    } else if (wire.isOpen && !this.isStalled) {
      // some of what it took, or all
      const taken = this.#taken - (this.#random.oneIn(4) ? this.#random.below(1 + this.#taken - this.#said) : 0);
      this.#said = taken;
      this.#tell(wire, { kind: 'more', feed: this.#feed, taken });
    }
  }

  /** Stops or begins to take what comes. */
  stall(isStalled: boolean): void {
    this.isStalled = isStalled;
    if (this.#wire) this.#wire.pipe.isReading = !isStalled;
  }

  drop(): void {
    this.#wire?.drop();
    this.stall(false);
  }

  /** Ends its feed and follows the same again from where it was. */
  end(): void {
    if (this.#wire?.isOpen && this.#feed > 0) this.#tell(this.#wire, { kind: 'end', feed: this.#feed });
  }

  #connect(): void {
    const direct = this.#random.oneIn(2);
    const lane = direct ? this.wish.partition : this.#random.below(2);
    const wire: Wire = new Wire(
      this.#world,
      lane,
      direct,
      (frame) => this.#take(frame),
      () => {
        if (this.#wire === wire) this.#feed = 0;
      },
    );
    this.#wire = wire;
    this.stall(false);
  }

  #ask(wire: Wire): void {
    const { interval, names, prefix, partition } = this.wish;
    const credit = this.#random.pick([1, 2, 8]);
    this.#taken = 0;
    this.#said = 0;
    const after = this.#position === undefined ? {} : { after: { epoch: EPOCH, sequence: this.#position } };
    const following = { interval, credit, ...after };
    const request: TailRequest = names
      ? { kind: 'names', ...following, names }
      : { kind: 'prefix', ...following, prefix };
    this.heard.push('again');
    this.#isResuming = this.#position !== undefined;
    const flags = this.#isResuming ? Flag.AFTER : 0;
    this.#feed = wire.send(Opcode.TAIL, flags, partition, (writer) => encodeTail(writer, request));
  }

  #tell(wire: Wire, request: TailRequest): void {
    wire.send(Opcode.TAIL, 0, this.wish.partition, (writer) => encodeTail(writer, request));
  }

  #take({ requestId, opcode, flags, body }: FrameView): void {
    if (requestId !== this.#feed) return;
    if (opcode === Opcode.ERROR || (flags & Flag.MORE) === 0) {
      this.endings++;
      this.#feed = 0;
      if (opcode === Opcode.ERROR && decodeError(body).outcome !== 'refused') throw new Error('A feed ended badly.');
      return;
    }
    const answer = decodeTailAnswer(body, this.wish.names);
    this.#taken++;
    this.heard.push({ answer, flushed: this.#world.flushed(this.wish.partition) });
    if (answer.begins && this.#isResuming) this.begunAnew++;
    this.#isResuming = false;
    if (answer.whole) this.#position = answer.position;
    else if (answer.begins) this.#position = undefined;
  }
}

/** A program that follows everything by the SDK. */
export class SdkReader {
  isPaused = false;
  events = 0;
  readonly #world: World;
  readonly #random: Random;
  readonly #names: readonly string[];
  readonly #intervals: readonly number[];
  readonly #values = new Map<string, bigint>();
  readonly #pipes: Pipe[] = [];
  #client: Awaited<ReturnType<typeof connectIn>> | undefined;
  #subscription: Subscription<bigint> | undefined;
  #isWaiting = false;
  #error: Error | undefined;

  constructor(world: World, random: Random, names: readonly string[], intervals: readonly number[]) {
    this.#world = world;
    this.#random = random;
    this.#names = names;
    this.#intervals = intervals;
  }

  async start(): Promise<void> {
    const { clock } = this.#world;
    const transport = {
      open: (address: { readonly port: number }, events: Parameters<World['open']>[1]) => {
        const pipe = this.#world.open(address, events);
        this.#pipes.push(pipe);
        return pipe.client;
      },
    };
    const environment = { clock, random: () => 0.1, randomBytes: (count: number) => new Uint8Array(count), transport };
    const direct = this.#random.oneIn(2);
    const connecting = connectIn(environment, 'tallystick://h:1', { producer: false, direct });
    await this.#world.pass(20);
    this.#client = await connecting;
    const interval = this.#random.pick(this.#intervals);
    this.#subscription = this.#client.subscribe(
      this.#random.oneIn(2) ? { all: true, interval } : { names: this.#names, interval },
    );
  }

  /** Reads on, unless it is paused. */
  step(): void {
    if (this.isPaused || this.#isWaiting || !this.#subscription) return;
    this.#isWaiting = true;
    this.#subscription.next().then(
      ({ value: event }) => {
        this.#isWaiting = false;
        if (!event) return;
        this.events++;
        try {
          this.#take(event);
        } catch (error) {
          this.#error ??= error as Error;
        }
        this.step();
      },
      (error: Error) => {
        this.#error = error;
      },
    );
  }

  pause(): void {
    this.isPaused = !this.isPaused;
  }

  drop(): void {
    this.#pipes.pop()?.destroy();
  }

  async stop(): Promise<void> {
    this.#subscription?.close();
    const closing = this.#client?.close();
    await this.#world.pass(10);
    await closing;
  }

  check(partition: number, truth: Truth): void {
    if (this.#error) throw this.#error;
    for (const name of truth.names) {
      const actual = truth.at(truth.position, name);
      if (this.#values.get(name) !== actual)
        throw new Error(`By the SDK ${name} is ${this.#values.get(name)}, and it is ${actual}.`);
    }
    const position = this.#subscription?.position.sequenceOf(partition);
    if (position !== truth.position) throw new Error(`The SDK is at ${position} of ${truth.position}.`);
  }

  #take(event: Awaited<ReturnType<Subscription<bigint>['next']>>['value']): void {
    if (!event) return;
    if (event.kind === 'reset') {
      for (const name of this.#values.keys()) {
        if (this.#client?.partitionOf(name) === event.partition) this.#values.delete(name);
      }
      return;
    }
    const { kind, name, value, delta, exists } = event;
    const was = this.#values.get(name) ?? 0n;
    if (kind === 'change' && BigInt.asIntN(64, was + delta) !== value)
      throw new Error(`By the SDK ${name} goes from ${was} by ${delta} to ${value}.`);
    if (exists) this.#values.set(name, value);
    else this.#values.delete(name);
  }
}
