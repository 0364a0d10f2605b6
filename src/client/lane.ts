import type { Clock } from '../clock.js';
import { TallystickError } from '../errors.js';
import type { HelloAnswer, HelloRequest } from '../protocol/control.js';
import type { FrameView } from '../protocol/frame.js';
import { LANE, Opcode } from '../protocol/opcode.js';
import { decodeError, decodeSyncAnswer, errorOf } from '../protocol/response.js';
import { Backoff } from './backoff.js';
import type { Batch } from './batch.js';
import { Connection, type ConnectionOwner, type Exchange } from './connection.js';
import { Request, type Submission } from './request.js';
import type { Sender, SenderPort } from './sender.js';
import type { Telemetry } from './telemetry.js';
import type { Address, Transport } from './transport.js';

/** What all lanes of a client share. */
export interface LaneContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly transport: Transport;
  /** Any of these tells where the lanes are. */
  readonly seeds: readonly Address[];
  /** Whether a lane is asked only for what it owns. If not, whichever lane answers at a seed serves all. */
  readonly isDirect: boolean;
  /** Whether what is refused for now is sent again. */
  readonly resends: boolean;
  readonly telemetry: Telemetry | undefined;
  /** What to say to a lane; without one, what to say in order to ask for the addresses. */
  hello(lane: Lane | undefined): HelloRequest;
  /** The lane's connection stands: its senders are to be resumed. */
  greeted(lane: Lane, answer: HelloAnswer): void;
  /** The lanes may be elsewhere now. */
  located(answer: HelloAnswer, reachedAt: Address): void;
  fatal(error: TallystickError): void;
}

/** A batch on its way. */
class SentBatch implements Exchange {
  readonly #batch: Batch;
  readonly #sender: Sender;

  constructor(batch: Batch, sender: Sender) {
    this.#batch = batch;
    this.#sender = sender;
  }

  answered(frame: FrameView): void {
    this.#sender.answered(this.#batch, frame);
  }

  lost(): void {
    this.#sender.lost(this.#batch);
  }
}

/** A request on its way. */
class SentRequest implements Exchange {
  readonly #request: Submission;
  readonly #lane: Lane;

  constructor(request: Submission, lane: Lane) {
    this.#request = request;
    this.#lane = lane;
  }

  answered(frame: FrameView): void {
    this.#lane.finish(this.#request, frame);
  }

  lost(): void {
    this.#lane.requestLost(this.#request);
  }
}

/** Keeps a connection to one lane, or to the one that serves for all, and sends over it what its senders and the readers have. */
export class Lane implements ConnectionOwner, SenderPort {
  readonly index: number;
  address: Address;
  readonly senders: Sender[] = [];
  /** The life of the data directory that the lane last told of. */
  epoch: number | undefined;
  readonly #context: LaneContext;
  #connection: Connection | undefined;
  #isClosed = false;
  // To come back after a loss; every second attempt first asks a seed where the lane is
  readonly #redial: Backoff;
  #failures = 0;
  /** Senders that found no room. */
  readonly #blocked = new Set<Sender>();
  // Requests to be sent, and those that were refused and are tried again later
  #queue: Submission[] = [];
  #later: Submission[] = [];
  readonly #retry: Backoff;
  #isSyncing = false;

  constructor(index: number, address: Address, context: LaneContext) {
    this.index = index;
    this.address = address;
    this.#context = context;
    this.#redial = new Backoff(context.clock, context.random);
    this.#retry = new Backoff(context.clock, context.random);
  }

  connect(): void {
    const { isDirect, seeds } = this.#context;
    if (!isDirect) this.address = seeds[this.#failures % seeds.length] as Address;
    if (isDirect && this.#failures % 2 === 1) this.#locate();
    else this.#dial();
  }

  /** Takes over a connection that has been greeted. */
  adopt(connection: Connection, answer: HelloAnswer): void {
    this.#connection = connection;
    connection.owner = this;
    this.greeted(connection, answer);
  }

  submit(request: Submission): void {
    this.#queue.push(request);
    this.#pump();
  }

  hasRoom(sender: Sender): boolean {
    if (this.#connection?.hasRoom) return true;
    this.#blocked.add(sender);
    return false;
  }

  transmit(frame: Uint8Array, batch: Batch, sender: Sender): void {
    this.#connection?.send(frame, new SentBatch(batch, sender));
  }

  /** Sends now what was transmitted in this turn. */
  flush(): void {
    this.#connection?.flush();
  }

  reset(error: TallystickError): void {
    this.#connection?.fail(new TallystickError('CONNECTION_LOST', error.detail, { cause: error }));
  }

  close(): void {
    this.#isClosed = true;
    this.#redial.cancel();
    this.#retry.cancel();
    this.#connection?.close();
    for (const sender of this.senders) sender.disconnected();
  }

  /** Fails every request that waits. */
  fail(error: TallystickError): void {
    const requests = [...this.#queue, ...this.#later];
    this.#queue = [];
    this.#later = [];
    for (const request of requests) request.onError(error);
  }

  greeted(connection: Connection, answer: HelloAnswer): void {
    if (this.#context.isDirect && answer.lane !== this.index) {
      connection.fail(new TallystickError('CONNECTION_LOST', `Lane ${answer.lane} answers, not ${this.index}.`));
      return;
    }
    this.#failures = 0;
    this.#context.greeted(this, answer);
    this.#proceed();
  }

  answered(): void {
    this.#redial.reset();
    this.#proceed();
  }

  closed(_connection: Connection, error: TallystickError): void {
    this.#connection = undefined;
    for (const sender of this.senders) sender.disconnected();
    if (this.#isClosed) return;
    if (!error.retryable) {
      this.#context.fatal(error);
      return;
    }
    this.#failures++;
    this.#redial.wait(() => this.connect());
  }

  #dial(): void {
    const { transport, clock } = this.#context;
    this.#connection = new Connection(transport, clock, this.address, this.#context.hello(this), this);
  }

  #locate(): void {
    const { transport, clock, seeds } = this.#context;
    const seed = seeds[(this.#failures >> 1) % seeds.length] as Address;
    const greeted = (connection: Connection, answer: HelloAnswer) => {
      connection.close();
      this.#context.located(answer, seed);
      this.#dial();
    };
    const owner = {
      greeted,
      answered: () => undefined,
      closed: (connection: Connection, error: TallystickError) => this.closed(connection, error),
    };
    this.#connection = new Connection(transport, clock, seed, this.#context.hello(undefined), owner);
  }

  #proceed(): void {
    this.#pump();
    if (!this.#isSyncing && this.senders.some((sender) => sender.wantsSync)) this.#sync();
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#connection?.hasRoom) {
      const request = this.#queue.shift() as Submission;
      if (!request.isWanted) continue;
      this.#connection.send(request.frame, new SentRequest(request, this));
    }
    if (this.#blocked.size === 0) return;
    const blocked = [...this.#blocked];
    this.#blocked.clear();
    for (const sender of blocked) sender.pump();
  }

  /** Takes the answer to a request. */
  finish(request: Submission, frame: FrameView): void {
    if (frame.opcode !== Opcode.ERROR) {
      request.onAnswer(frame.body);
      this.#retry.reset();
      return;
    }
    const error = errorOf(decodeError(frame.body));
    this.#context.telemetry?.refused(error.code);
    if (!error.retryable || (error.code === 'OVERLOADED' && !this.#context.resends)) {
      request.onError(error);
      return;
    }
    request.onLost?.();
    this.#later.push(request);
    this.#retry.wait(() => {
      this.#resend(this.#later);
      this.#later = [];
      this.#pump();
    });
  }

  /** Sends a request again, whose connection is gone. */
  requestLost(request: Submission): void {
    request.onLost?.();
    this.#resend([request]);
  }

  #resend(requests: readonly Submission[]): void {
    this.#queue.push(...requests);
    for (let left = requests.length; left > 0; left--) this.#context.telemetry?.resent('request');
  }

  /** Asks what is flushed, so that batches that are only kept for that can go. */
  #sync(): void {
    this.#isSyncing = true;
    const onAnswer = (body: Uint8Array) => {
      const { positions } = decodeSyncAnswer(body);
      this.#isSyncing = false;
      for (const { partition, position } of positions) {
        this.senders.find((sender) => sender.partition === partition)?.flushedThrough(position);
      }
    };
    const onError = () => {
      this.#isSyncing = false;
    };
    const header = { opcode: Opcode.SYNC, flags: 0, partition: LANE };
    this.submit(new Request(header, new Uint8Array(0), { onAnswer, onError, isWanted: () => true }));
  }
}
