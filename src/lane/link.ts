import { FrameReader, type FrameView } from '../protocol/frame.js';
import { createRing, RingReader, RingWriter } from './ring.js';

/** The way from one lane to another and back: four rings, and what waits for them. */

/** The rings in one direction. Answers have one of their own: they are always taken, so that two lanes never wait for each other. */
export interface Rings {
  readonly requests: SharedArrayBuffer;
  readonly answers: SharedArrayBuffer;
}

/** What a lane is given of the way to another. */
export interface Link {
  /** The other lane. */
  readonly lane: number;
  /** The rings that this lane writes, and those that it reads. */
  readonly out: Rings;
  readonly in: Rings;
  /** Makes the other lane call `woken` of its mesh, soon. */
  readonly wake: () => void;
}

/** What all rings of a server may take together once every page of them was used, and the bounds of one ring: bytes. */
const ALL_RINGS_BYTES = 268_435_456;
const LARGEST_RING_BYTES = 262_144;
const SMALLEST_RING_BYTES = 16_384;
const RINGS_OF_A_PAIR = 2;

/** The rings between all lanes: `rings[from][to]`, undefined from a lane to itself. */
export function createRings(lanes: number): (Rings | undefined)[][] {
  const rings = RINGS_OF_A_PAIR * lanes * (lanes - 1);
  const share = 2 ** Math.floor(Math.log2(ALL_RINGS_BYTES / Math.max(1, rings)));
  const capacity = Math.min(LARGEST_RING_BYTES, Math.max(SMALLEST_RING_BYTES, share));
  const pair = (): Rings => ({ requests: createRing(capacity), answers: createRing(capacity) });
  const indexes = Array.from({ length: lanes }, (_, lane) => lane);
  return indexes.map((from) => indexes.map((to) => (from === to ? undefined : pair())));
}

/** Writes messages into a ring. What the ring has no room for waits here, in order, and goes through in pieces. */
export class Outlet {
  readonly #ring: RingWriter;
  readonly #wake: () => void;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;

  constructor(ring: SharedArrayBuffer, wake: () => void) {
    this.#ring = new RingWriter(ring);
    this.#wake = wake;
  }

  /** Bytes that wait for room. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Besides, what the other lane has not taken yet. */
  get pendingBytes(): number {
    return this.#queuedBytes + this.#ring.usedBytes();
  }

  /** The bytes of one message, copied. */
  send(message: Uint8Array): void {
    const sent = this.#queuedBytes === 0 ? this.#write(message) : 0;
    if (sent === message.length) return;
    this.#queue.push(message.slice(sent));
    this.#queuedBytes += message.length - sent;
    if (this.#queue.length === 1) this.pump();
  }

  /** Writes what waits, as far as there is room. To be called when this lane was woken. */
  pump(): void {
    while (this.#queuedBytes > 0) {
      const next = this.#queue[0] as Uint8Array;
      const sent = this.#write(next);
      this.#queuedBytes -= sent;
      if (sent === next.length) this.#queue.shift();
      else if (sent > 0) this.#queue[0] = next.subarray(sent);
      else if (this.#ring.waits()) return;
    }
  }

  #write(bytes: Uint8Array): number {
    const sent = this.#ring.write(bytes);
    if (sent > 0 && this.#ring.wakesReader()) this.#wake();
    return sent;
  }
}

/** Reads messages out of a ring. */
export class Inlet {
  readonly #ring: RingReader;
  readonly #wake: () => void;
  /** Where bytes of a ring are copied to. One may serve all rings of a lane. */
  readonly #chunk: Uint8Array;
  // The other lane has checked what it sends: its lengths are true
  readonly #frames = new FrameReader(0xffff_ffff);
  #rest: Uint8Array | undefined;
  #isAsleep = false;

  constructor(ring: SharedArrayBuffer, wake: () => void, chunk: Uint8Array) {
    this.#ring = new RingReader(ring);
    this.#wake = wake;
    this.#chunk = chunk;
  }

  /**
   * Hands out the messages that are there, each valid during its call, until `isHeld`, which is asked after each; what is
   * left then comes first next time. Returns whether there was anything.
   */
  take(onMessage: (message: FrameView) => void, isHeld: () => boolean = () => false): boolean {
    if (this.#isAsleep) {
      this.#isAsleep = false;
      this.#ring.wakes();
    }
    let taken = 0;
    let held = false;
    // Not more than the ring holds at a time, so that other work has its turn
    while (!held && taken < this.#ring.capacity) {
      const chunk = this.#rest ?? this.#read();
      if (chunk.length === 0) break;
      taken += chunk.length;
      const used = this.#frames.push(chunk, (message) => {
        onMessage(message);
        held = isHeld();
        if (held) this.#frames.stop();
      });
      this.#rest = used < chunk.length ? chunk.slice(used) : undefined;
    }
    return taken > 0;
  }

  /** Whether there is nothing to take, so that the lane may sleep: the other one will wake it. */
  sleeps(): boolean {
    if (this.#rest) return false;
    this.#isAsleep = this.#ring.sleeps();
    return this.#isAsleep;
  }

  #read(): Uint8Array {
    const count = this.#ring.read(this.#chunk);
    if (count > 0 && this.#ring.wakesWriter()) this.#wake();
    return this.#chunk.subarray(0, count);
  }
}
