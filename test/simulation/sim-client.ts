import {
  decodeHelloAnswer,
  encodeHelloRequest,
  type HelloAnswer,
  PRODUCER_ID_BYTES,
  type ProducerRef,
} from '../../src/protocol/control.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { decodeAddAnswer, decodeSetAnswer, decodeSyncAnswer } from '../../src/protocol/response.js';
import { bodyOf, Link, refusalOf } from './link.js';
import type { Answer } from './requests.js';
import { LANE_OF, LANES, PARTITIONS, partitionsOf } from './shape.js';
import { Batch, type BatchContent, type Ending, Stream } from './stream.js';
import type { World } from './world.js';

export interface ClientOptions {
  readonly name: string;
  readonly producer: ProducerRef;
  /** Whether another client opens the same producer. */
  readonly isRaced: boolean;
  /** Makes up another content, for a sequence that the server refused. */
  readonly content: (partition: number) => BatchContent;
  /** A batch is durable. */
  readonly onDone: (batch: Batch) => void;
}

/**
 * A client that keeps the protocol's rules and nothing else: it numbers its batches, keeps each until its end is durable, comes
 * back after whatever happened and sends what it kept. What it is told is held against what it knows.
 */
export class SimClient {
  readonly options: ClientOptions;
  readonly streams = PARTITIONS.map((partition) => new Stream(partition));
  readonly #world: World;
  readonly #links: (Link | undefined)[] = LANES.map(() => undefined);
  readonly #isConnecting = LANES.map(() => false);
  /** When it tries to connect again. */
  readonly #notBefore = LANES.map(() => 0);
  #producerId = '';

  constructor(world: World, options: ClientOptions) {
    this.#world = world;
    this.options = options;
  }

  /** The connection over which a partition's requests go; none while there is none. */
  link(partition: number): Link | undefined {
    const link = this.#links[LANE_OF[partition] as number];
    return link?.state === 'open' ? link : undefined;
  }

  get isIdle(): boolean {
    return this.streams.every(({ kept }) => kept.length === 0) && this.#links.every((link) => !link?.waiting);
  }

  /** Whether a lane owes this client nothing but that its batches become durable. */
  isWaitingFor(lane: number): boolean {
    const isKept = partitionsOf(lane).some((partition) => this.#stream(partition).kept.length > 0);
    return isKept && this.#links[lane]?.waiting === 0;
  }

  checkPatience(): void {
    for (const link of this.#links) link?.checkPatience();
  }

  /** Makes sure that there is, or soon will be, a connection to every lane. */
  connect(): void {
    const { clock, random } = this.#world;
    for (const lane of LANES) {
      const state = this.#links[lane]?.state ?? 'closed';
      if (state !== 'closed' || this.#isConnecting[lane] || (this.#notBefore[lane] as number) > clock.now) continue;
      this.#notBefore[lane] = clock.now + random.milliseconds(2, 40);
      this.#connect(lane);
    }
  }

  dropConnection(lane: number): void {
    this.#links[lane]?.drop();
  }

  /** The same session over another connection, while the old one goes on; what is kept goes over both. */
  connectAgain(lane: number): void {
    if (this.#links[lane]?.state === 'open') this.#connect(lane);
  }

  /** Forgets everything but the producer. */
  restart(): void {
    for (const stream of this.streams) stream.incarnation = 0;
    for (const link of this.#links) link?.drop();
    this.#links.fill(undefined);
  }

  /** Makes a batch and sends it. */
  write(partition: number, content: BatchContent, isApplied: boolean): void {
    const stream = this.#stream(partition);
    if (stream.incarnation === 0) return;
    const batch = stream.add(`${this.#producerId}/${stream.incarnation}/${stream.next}`, content);
    this.#register(batch);
    const link = this.link(partition);
    if (link) this.#send(link, stream, batch, isApplied ? Flag.APPLIED : 0);
  }

  /** Sends a batch that was answered long ago once more. */
  retryOld(partition: number): boolean {
    const stream = this.#stream(partition);
    const link = this.link(partition);
    const old = stream.old[0];
    if (!link || !old) return false;
    this.#send(link, stream, old, 0);
    return true;
  }

  /** Sends everything that is kept, in order, unless this life of the server has answered it. */
  resend(partition: number): void {
    const stream = this.#stream(partition);
    const link = this.link(partition);
    if (!link) return;
    for (const batch of stream.kept) if (batch.ending?.life !== link.life) this.#send(link, stream, batch, 0);
  }

  /** Asks a lane to say when all of what it applied is flushed, and releases what that covers. */
  sync(lane: number): void {
    const link = this.#links[lane];
    if (link?.state !== 'open') return;
    link.send(Opcode.SYNC, 0, LANE, new Uint8Array(0), {
      done: (answer) => {
        const code = refusalOf(answer)?.code;
        if (code !== undefined && !MAY_REFUSE.has(code)) this.#world.violate(`SYNC is refused with ${code}`);
        if (code !== undefined) return;
        for (const { partition, position } of decodeSyncAnswer(answer.body).positions)
          this.#flushed(this.#stream(partition), link.life, position);
      },
    });
  }

  #stream(partition: number): Stream {
    return this.streams[partition] as Stream;
  }

  #register({ partition, key, content: { flags }, payload }: Batch): void {
    this.#world.oracle.addBatch(partition, key, flags, payload);
  }

  // --- HELLO ---

  #connect(lane: number): void {
    const { name, producer } = this.options;
    const link = new Link(this.#world, name, lane, () => {});
    if (link.state === 'closed') return;
    this.#isConnecting[lane] = true;
    const streams = partitionsOf(lane).map((partition) => this.#stream(partition));
    const resumes = streams.every(({ incarnation }) => incarnation > 0);
    const resume = streams.map(({ partition, incarnation }) => ({ partition, incarnation }));
    const known = this.#producerId && resumes ? { id: Buffer.from(this.#producerId, 'hex') } : producer;
    const hello = { version: 1, client: name, producer: known, ...(resumes && { resume }) };
    const body = bodyOf((writer) => encodeHelloRequest(writer, hello));
    const done = new Map(streams.map(({ partition, lastDone }) => [partition, lastDone]));
    link.send(Opcode.HELLO, 0, LANE, body, {
      resumes,
      done: (answer) => {
        this.#isConnecting[lane] = false;
        this.#greeted(link, answer, resumes ? done : undefined);
      },
      lost: () => {
        this.#isConnecting[lane] = false;
      },
    });
  }

  #greeted(link: Link, answer: Answer, doneBefore: ReadonlyMap<number, number> | undefined): void {
    const refusal = refusalOf(answer);
    if (refusal) {
      this.#notGreeted(link, refusal.code);
      return;
    }
    const { producer } = decodeHelloAnswer(answer.body);
    if (!producer || producer.id.length !== PRODUCER_ID_BYTES) return this.#world.violate('HELLO forgets the producer');
    this.#producerId = Buffer.from(producer.id).toString('hex');
    for (const state of producer.partitions) {
      const done = doneBefore?.get(state.partition);
      if (done !== undefined) this.#resumed(this.#stream(state.partition), state, done);
      else this.#opened(this.#stream(state.partition), state);
    }
    link.state = 'open';
    this.#links[link.lane] = link;
    for (const partition of partitionsOf(link.lane)) this.resend(partition);
  }

  #notGreeted(link: Link, code: string): void {
    link.drop();
    if (code === 'PRODUCER_FENCED' && this.options.isRaced) this.#isFenced(link);
    else if (!MAY_REFUSE.has(code)) this.#world.violate(`HELLO of ${this.options.name} is refused with ${code}`);
  }

  /** Another session has the producer: on this lane it begins anew. */
  #isFenced(link: Link): void {
    for (const partition of partitionsOf(link.lane)) this.#stream(partition).incarnation = 0;
    link.drop();
    this.#links[link.lane]?.drop();
  }

  #opened(stream: Stream, { incarnation, cursor }: ProducerState): void {
    if (incarnation <= stream.incarnation) this.#world.violate(`incarnation ${incarnation} is opened once more`);
    const found = Buffer.from(cursor ?? []).toString('hex');
    const expected = stream.cursorAt(stream.next);
    if (!this.options.isRaced && found !== expected && stream.kept.length === 0)
      this.#world.violate(`${this.options.name} finds the cursor ${found} instead of ${expected}`);
    stream.open(incarnation, found);
  }

  /** @param done the last sequence that was known to be durable when HELLO was sent */
  #resumed(stream: Stream, { incarnation, next, cursor }: ProducerState, done: number): void {
    const { violate } = this.#world;
    const { name, isRaced } = this.options;
    // While HELLO was under way another connection may have opened it anew.
    if (incarnation !== stream.incarnation) return;
    if (next > stream.next) violate(`${name} is to go on with ${next}, but has made nothing after ${stream.next - 1}`);
    if (next <= done) violate(`${name} is to go on with ${next}, but ${done} was durable`);
    const found = Buffer.from(cursor ?? []).toString('hex');
    if (!isRaced && found !== stream.cursorAt(next))
      violate(`${name} finds the cursor ${found} at ${next} instead of ${stream.cursorAt(next)}`);
  }

  // --- batches ---

  #send(link: Link, stream: Stream, batch: Batch, applied: number): void {
    const { opcode, flags, operations } = batch.content;
    const body = batch.body(stream.unansweredBefore(batch));
    const { incarnation } = stream;
    batch.copies++;
    link.send(opcode, flags | applied | Flag.SEQUENCED, batch.partition, body, {
      batch: batch.key,
      count: operations.length,
      done: (answer) => {
        batch.copies--;
        if (stream.incarnation === incarnation) this.#ended(link, stream, batch, answer, applied === 0);
      },
      lost: () => {
        batch.copies--;
        batch.isUncertain = true;
      },
    });
  }

  #ended(link: Link, stream: Stream, batch: Batch, answer: Answer, isDurable: boolean): void {
    const { violate } = this.#world;
    const refusal = refusalOf(answer);
    if (refusal) {
      this.#refused(link, stream, batch, refusal);
      return;
    }
    const { ending, flushed } = endingOf(batch, answer, link.life);
    const isSame = batch.ending?.text === ending.text && batch.ending.position === ending.position;
    if (batch.ending && !isSame && (batch.isDone || batch.ending.life === link.life))
      violate(`batch ${batch.key} is answered otherwise than before`);
    if (!batch.isDone) batch.ending = ending;
    if (isDurable && !batch.isDone) this.#release(stream, batch);
    this.#flushed(stream, link.life, flushed);
  }

  /** Everything up to that position is durable, says a life of the server. */
  #flushed(stream: Stream, life: number, flushed: number): void {
    for (const batch of [...stream.kept]) {
      if (batch.ending?.life === life && batch.ending.position <= flushed) this.#release(stream, batch);
    }
  }

  #release(stream: Stream, batch: Batch): void {
    stream.release(batch);
    this.options.onDone(batch);
  }

  #refused(link: Link, stream: Stream, batch: Batch, refusal: NonNullable<ReturnType<typeof refusalOf>>): void {
    const { random, violate, clock } = this.#world;
    const { code, outcome } = refusal;
    if (outcome === 'applied') {
      // What it still waits for is kept for it, unless it was idle for an hour.
      if (!batch.isDone && clock.now < 59_000) violate(`the answer to batch ${batch.key} is not kept`);
      if (!batch.isDone) this.#takeEnding(stream, batch, refusal.position, link.life);
      return;
    }
    if (code === 'PRODUCER_FENCED' && this.options.isRaced) {
      this.#isFenced(link);
      return;
    }
    if (!MAY_REFUSE.has(code) && code !== 'SEQUENCE_GAP') violate(`batch ${batch.key} is refused with ${code}`);
    if (batch.isDone) return;
    if (outcome === 'unknown') batch.isUncertain = true;
    else if (batch.copies === 0 && !batch.isUncertain && !batch.ending && random.chance(0.5)) {
      // Refused is refused: the sequence is free for something else.
      batch.replace(this.options.content(batch.partition));
      stream.replaced(batch);
      this.#register(batch);
    }
    this.#planResend(stream);
  }

  /** Applied, but the answer is not kept: what it was, only the model can tell. */
  #takeEnding(stream: Stream, batch: Batch, position: number, life: number): void {
    const model = this.#world.oracle.models[batch.partition];
    const applied = model?.applied.find((other) => other.batch === batch.key);
    const refused = applied?.result && 'refused' in applied.result ? applied.result.refused : [];
    batch.ending = { life, position, refused: new Set(refused.map(({ index }) => index)), text: '' };
    this.#release(stream, batch);
  }

  #planResend(stream: Stream): void {
    if (stream.isResendPlanned) return;
    stream.isResendPlanned = true;
    const { clock, random } = this.#world;
    clock.after(random.milliseconds(1, 60), () => {
      stream.isResendPlanned = false;
      this.resend(stream.partition);
    });
  }
}

type ProducerState = NonNullable<HelloAnswer['producer']>['partitions'][number];

/** Why a server may refuse what is right. */
export const MAY_REFUSE: ReadonlySet<string> = new Set([
  'STORAGE_FULL',
  'STORAGE_FAILED',
  'OVERLOADED',
  'SHUTTING_DOWN',
]);

function endingOf(batch: Batch, { body }: Answer, life: number): { ending: Ending; flushed: number } {
  const { opcode, operations, flags } = batch.content;
  if (opcode !== Opcode.ADD) {
    const { position, flushed, status, previous } = decodeSetAnswer(body);
    return { ending: { life, position, refused: new Set(), text: `${status} ${previous}` }, flushed };
  }
  const { position, flushed, refused, values } = decodeAddAnswer(body, operations.length, (flags & Flag.VALUES) !== 0);
  const text = `${refused.map(({ index, status }) => `${index}:${status}`)} ${values}`;
  return { ending: { life, position, refused: new Set(refused.map(({ index }) => index)), text }, flushed };
}
