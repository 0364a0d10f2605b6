import type { Clock } from '../clock.js';
import { ByteWriter } from '../protocol/bytes.js';
import type { FrameView } from '../protocol/frame.js';
import { Opcode } from '../protocol/opcode.js';
import type { Requester } from './answers.js';
import {
  decodeForwardedAnswer,
  decodeGone,
  END,
  encodeEnd,
  encodeForwarded,
  encodeGone,
  ForwardedRequest,
  GONE,
  identityOf,
} from './forwarding.js';
import { Inlet, type Link, Outlet } from './link.js';

/**
 * A lane's ways to all others: what its clients ask of them, and what their clients ask of this one.
 *
 *   client -> Connection -> Lane.request -> Mesh.forward ==requests==> Mesh -> Lane.forwarded -> kernel, log
 *   client <- Connection <- Answers.relay <- Mesh        <==answers==        <- ForwardedRequest <- Answers
 *
 * A pass takes what all rings hold. It is made when another lane woke this one, and again at the end of the turn for as long as
 * there was something; then the lane sleeps, as far as its rings go.
 *
 * Bounds: what waits for room in a ring of requests is at most one frame of each client that is read from, since none is read
 * from while anything waits. Requests of another lane are not taken while more than MOST_QUEUED_ANSWERS wait for it. Answers
 * are always taken, so two lanes cannot wait for each other.
 */

const MOST_QUEUED_ANSWERS = 1_048_576;
/** Bytes that are copied out of a ring at a time. */
const CHUNK_BYTES = 65_536;
const MOST_TOKEN = 0xffff_ffff;

/** Who is not read from while there is no room. */
export interface Source {
  readOn(): void;
}

/** What the mesh asks of its lane. */
export interface MeshHandler {
  /** A request that another lane forwards; valid during the call. */
  forwarded(from: Requester, frame: FrameView): void;
  /** Whether no more of them is taken; then `readOn` is called later. */
  isFull(source: Source): boolean;
  /** A client of another lane is gone: whoever answers it any more may stop. */
  gone(identity: unknown): void;
  /** The answer to a request that was forwarded, or ERROR; valid during the call. */
  relay(to: Requester, answer: FrameView): void;
}

export interface MeshStats {
  /** Requests sent to other lanes, and taken from them. */
  readonly forwarded: number;
  readonly served: number;
  /** How often another lane had to be woken, and how often a client was held because a ring was full. */
  readonly wakeUps: number;
  readonly held: number;
  /** Clients of this lane that have asked other lanes and are still there, and shares that are being gathered. */
  readonly requesters: number;
  /** Bytes on the way to other lanes: in the rings, and of what waits for room in them. */
  readonly requestBytes: number;
  readonly answerBytes: number;
}

/** One other lane. */
interface Peer extends Source {
  readonly lane: number;
  readonly requestsOut: Outlet;
  readonly answersOut: Outlet;
  readonly requestsIn: Inlet;
  readonly answersIn: Inlet;
  /** Whether its requests are not taken for now. */
  isHeld: boolean;
  sendsRequests: boolean;
  sendsAnswers: boolean;
}

export class Mesh {
  readonly #clock: Clock;
  readonly #handler: MeshHandler;
  readonly #peers: readonly Peer[];
  readonly #peerOf: ReadonlyMap<number, Peer>;
  readonly #writer = new ByteWriter();
  /** Whoever waits for answers of other lanes, by token. */
  readonly #waiting = new Map<number, Requester>();
  readonly #tokens = new Map<Requester, number>();
  /** Those of them to whom another lane may go on to answer. */
  readonly #followers = new Set<Requester>();
  #lastToken = 0;
  readonly #held = new Set<Source>();
  readonly #ends: { isOver: (peer: Peer) => boolean; resolve: () => void }[] = [];
  #isScheduled = false;
  #isClosed = false;
  #forwarded = 0;
  #served = 0;
  #wakeUps = 0;
  #holds = 0;

  constructor(links: readonly Link[], clock: Clock, handler: MeshHandler) {
    this.#clock = clock;
    this.#handler = handler;
    const chunk = new Uint8Array(links.length > 0 ? CHUNK_BYTES : 0);
    this.#peers = links.map((link) => this.#peer(link, chunk));
    this.#peerOf = new Map(this.#peers.map((peer) => [peer.lane, peer]));
    // Other lanes may have sent something before this one was there
    if (links.length > 0) this.#schedule();
  }

  /** The lanes that there are besides. */
  get lanes(): readonly number[] {
    return [...this.#peerOf.keys()];
  }

  get stats(): MeshStats {
    return {
      forwarded: this.#forwarded,
      served: this.#served,
      wakeUps: this.#wakeUps,
      held: this.#holds,
      requesters: this.#waiting.size,
      requestBytes: this.#peers.reduce((sum, { requestsOut }) => sum + requestsOut.pendingBytes, 0),
      answerBytes: this.#peers.reduce((sum, { answersOut }) => sum + answersOut.pendingBytes, 0),
    };
  }

  /** The lane has ended: its rings are left alone from now on. */
  close(): void {
    this.#isClosed = true;
  }

  /** Another lane has written, or has made room. */
  woken(): void {
    this.#pass();
  }

  /** Sends a request on to the lane that owns it; the answer is relayed, unless the requester was forgotten. */
  forward(lane: number, from: Requester, frame: FrameView): void {
    if (frame.opcode === Opcode.TAIL) this.#followers.add(from);
    const { requestsOut } = this.#peerOf.get(lane) as Peer;
    this.#writer.reset();
    encodeForwarded(this.#writer, this.#tokenOf(from), from, frame);
    requestsOut.send(this.#writer.view());
    this.#forwarded++;
  }

  /** Answers to it are dropped from now on. */
  forget(requester: Requester): void {
    const token = this.#tokens.get(requester);
    if (token === undefined) return;
    this.#tokens.delete(requester);
    this.#waiting.delete(token);
    if (!this.#followers.delete(requester) || this.#isClosed) return;
    this.#writer.reset();
    encodeGone(this.#writer, token);
    for (const { requestsOut } of this.#peers) requestsOut.send(this.#writer.view());
  }

  /** Whether requests wait for room in a ring, so that no more is read from this client until they have gone. */
  isFull(source: Source): boolean {
    if (!this.#peers.some(({ requestsOut }) => requestsOut.queuedBytes > 0)) return false;
    if (!this.#held.has(source)) this.#holds++;
    this.#held.add(source);
    return true;
  }

  /** Sends no more requests. Resolves when the other lanes send none either and theirs have been handled. */
  endRequests(): Promise<void> {
    for (const { requestsOut } of this.#peers) this.#end(requestsOut);
    return this.#whenOver((peer) => !peer.sendsRequests);
  }

  /** Sends no more answers. Resolves when the other lanes send none either and all have been relayed, in both directions. */
  endAnswers(): Promise<void> {
    for (const { answersOut } of this.#peers) this.#end(answersOut);
    // Ours have left once the rings have room for the last one
    return this.#whenOver(({ sendsAnswers, answersOut }) => !sendsAnswers && answersOut.queuedBytes === 0);
  }

  #peer({ lane, out, in: into, wake }: Link, chunk: Uint8Array): Peer {
    const counted = () => {
      this.#wakeUps++;
      wake();
    };
    return {
      lane,
      requestsOut: new Outlet(out.requests, counted),
      answersOut: new Outlet(out.answers, counted),
      requestsIn: new Inlet(into.requests, counted, chunk),
      answersIn: new Inlet(into.answers, counted, chunk),
      readOn: () => this.#schedule(),
      isHeld: false,
      sendsRequests: true,
      sendsAnswers: true,
    };
  }

  #tokenOf(requester: Requester): number {
    const known = this.#tokens.get(requester);
    if (known !== undefined) return known;
    do this.#lastToken = this.#lastToken === MOST_TOKEN ? 1 : this.#lastToken + 1;
    while (this.#waiting.has(this.#lastToken));
    this.#tokens.set(requester, this.#lastToken);
    this.#waiting.set(this.#lastToken, requester);
    return this.#lastToken;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.endOfTurn(() => {
      this.#isScheduled = false;
      this.#pass();
    });
  }

  #pass(): void {
    if (this.#isClosed) return;
    let isBusy = false;
    for (const peer of this.#peers) {
      peer.requestsOut.pump();
      peer.answersOut.pump();
      if (peer.answersIn.take((message) => this.#answer(peer, message))) isBusy = true;
      if (this.#takeRequests(peer)) isBusy = true;
    }
    this.#release();
    this.#settle();
    if (isBusy || !this.#sleeps()) this.#schedule();
  }

  #takeRequests(peer: Peer): boolean {
    const isHeld = () => {
      peer.isHeld = peer.answersOut.queuedBytes > MOST_QUEUED_ANSWERS || this.#handler.isFull(peer);
      return peer.isHeld;
    };
    return !isHeld() && peer.requestsIn.take((message) => this.#request(peer, message), isHeld);
  }

  #request(peer: Peer, message: FrameView): void {
    if (message.opcode === END) {
      peer.sendsRequests = false;
      return;
    }
    if (message.opcode === GONE) {
      this.#handler.gone(identityOf(peer.lane, decodeGone(message)));
      return;
    }
    this.#served++;
    const request = new ForwardedRequest(message, peer.lane, peer.answersOut);
    this.#handler.forwarded(request, request.frame);
  }

  #answer(peer: Peer, message: FrameView): void {
    if (message.opcode === END) {
      peer.sendsAnswers = false;
      return;
    }
    const { token, answer } = decodeForwardedAnswer(message);
    const requester = this.#waiting.get(token);
    if (requester) this.#handler.relay(requester, answer);
  }

  /** Whether all rings are empty, or not to be read for now, so that the next one who writes wakes this lane. */
  #sleeps(): boolean {
    return this.#peers.every((peer) => peer.answersIn.sleeps() && (peer.isHeld || peer.requestsIn.sleeps()));
  }

  #release(): void {
    if (this.#held.size === 0 || this.#peers.some(({ requestsOut }) => requestsOut.queuedBytes > 0)) return;
    const held = [...this.#held];
    this.#held.clear();
    for (const source of held) source.readOn();
  }

  #end(outlet: Outlet): void {
    this.#writer.reset();
    encodeEnd(this.#writer);
    outlet.send(this.#writer.view());
  }

  #whenOver(isOver: (peer: Peer) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#ends.push({ isOver, resolve });
      this.#settle();
    });
  }

  #settle(): void {
    while (this.#ends[0] && this.#peers.every(this.#ends[0].isOver)) this.#ends.shift()?.resolve();
  }
}
