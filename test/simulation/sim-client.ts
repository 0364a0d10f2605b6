import {
  decodeHelloAnswer,
  encodeHelloRequest,
  type HelloAnswer,
  PRODUCER_ID_BYTES,
  type ProducerRef,
} from '../../src/protocol/control.js';
import { decodeExpireAnswer } from '../../src/protocol/expiry.js';
import { decodeOnceAnswer } from '../../src/protocol/once.js';
import { Flag, LANE, Opcode } from '../../src/protocol/opcode.js';
import { type AddAnswer, decodeAddAnswer, decodeSetAnswer, decodeSyncAnswer } from '../../src/protocol/response.js';
import { bitsOfSeen, decodeSeeAnswer } from '../../src/protocol/uniques.js';
import { bodyOf, Link, refusalOf } from './link.js';
import type { Answer } from './requests.js';
import { LANES, PARTITIONS, partitionsOf } from './shape.js';
import { type Batch, type BatchContent, type Ending, Stream } from './stream.js';
import type { World } from './world.js';

export interface ClientOptions {
  readonly name: string;
  readonly producer: ProducerRef;
  /** Whether another client opens the same producer. */
  readonly isRaced: boolean;
  /** Whether it connects to every lane, or reaches all partitions by whichever lane it finds. */
  readonly isDirect: boolean;
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
  /** One for each lane if it is direct, else one for all of them. */
  readonly #routes: readonly Route[];
  #producerId = '';

  constructor(world: World, options: ClientOptions) {
    this.#world = world;
    this.options = options;
    const route = (lane: number | undefined, partitions: readonly number[]): Route => {
      return { lane, partitions, link: undefined, isConnecting: false, notBefore: 0 };
    };
    this.#routes = options.isDirect
      ? LANES.map((lane) => route(lane, partitionsOf(lane)))
      : [route(undefined, PARTITIONS)];
  }

  /** The connection over which a partition's requests go; none while there is none. */
  link(partition: number): Link | undefined {
    const { link } = this.#routeOf(partition);
    return link?.state === 'open' ? link : undefined;
  }

  get isIdle(): boolean {
    return this.streams.every(({ kept }) => kept.length === 0) && this.#routes.every(({ link }) => !link?.waiting);
  }

  /** Asks for everything to be flushed where nothing else is owed but that batches become durable. */
  settle(): void {
    for (const { link, partitions } of this.#routes) {
      const isKept = partitions.some((partition) => this.#stream(partition).kept.length > 0);
      if (isKept && link?.state === 'open' && link.waiting === 0) this.sync(link);
    }
  }

  checkPatience(): void {
    for (const { link } of this.#routes) link?.checkPatience();
  }

  /** Makes sure that there is, or soon will be, a connection to everything. */
  connect(): void {
    const { clock, random } = this.#world;
    for (const route of this.#routes) {
      if (route.isConnecting || route.notBefore > clock.now || (route.link && route.link.state !== 'closed')) continue;
      route.notBefore = clock.now + random.milliseconds(2, 40);
      this.#connect(route);
    }
  }

  dropConnection(): void {
    this.#world.random.pick(this.#routes).link?.drop();
  }

  /** The same session over another connection, while the old one goes on; what is kept goes over both. */
  connectAgain(): void {
    const route = this.#world.random.pick(this.#routes);
    if (route.link?.state === 'open') this.#connect(route);
  }

  /** Forgets everything but the producer. */
  restart(): void {
    for (const stream of this.streams) stream.incarnation = 0;
    for (const route of this.#routes) {
      route.link?.drop();
      route.link = undefined;
    }
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

  /** Asks to be told when all that was applied is flushed, and releases what that covers. */
  sync(link: Link): void {
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

  #routeOf(partition: number): Route {
    return this.#routes.find(({ partitions }) => partitions.includes(partition)) as Route;
  }

  #stream(partition: number): Stream {
    return this.streams[partition] as Stream;
  }

  #register({ partition, key, content: { flags }, payload }: Batch): void {
    this.#world.oracle.addBatch(partition, key, flags, payload);
  }

  // --- HELLO ---

  #connect(route: Route): void {
    const { name, producer, isDirect } = this.options;
    const link = new Link(this.#world, name, route.lane ?? this.#world.random.pick(LANES));
    if (link.state === 'closed') return;
    route.isConnecting = true;
    const streams = route.partitions.map((partition) => this.#stream(partition));
    const resumes = streams.every(({ incarnation }) => incarnation > 0);
    const resume = streams.map(({ partition, incarnation }) => ({ partition, incarnation }));
    const known = this.#producerId && resumes ? { id: Buffer.from(this.#producerId, 'hex') } : producer;
    const direct = isDirect ? undefined : { direct: false };
    const hello = { version: 1, client: name, producer: known, ...direct, ...(resumes && { resume }) };
    const body = bodyOf((writer) => encodeHelloRequest(writer, hello));
    const done = new Map(streams.map(({ partition, lastDone }) => [partition, lastDone]));
    link.send(Opcode.HELLO, 0, LANE, body, {
      resumes,
      done: (answer) => {
        route.isConnecting = false;
        this.#greeted(route, link, answer, resumes ? done : undefined);
      },
      lost: () => {
        route.isConnecting = false;
      },
    });
  }

  #greeted(route: Route, link: Link, answer: Answer, doneBefore: ReadonlyMap<number, number> | undefined): void {
    const refusal = refusalOf(answer);
    if (refusal) {
      this.#notGreeted(route, link, refusal.code);
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
    route.link = link;
    for (const partition of route.partitions) this.resend(partition);
  }

  #notGreeted(route: Route, link: Link, code: string): void {
    link.drop();
    if (code === 'PRODUCER_FENCED' && this.options.isRaced) this.#isFenced(route);
    else if (!MAY_REFUSE.has(code)) this.#world.violate(`HELLO of ${this.options.name} is refused with ${code}`);
  }

  /** Another session has the producer: here it begins anew. */
  #isFenced({ partitions, link }: Route): void {
    for (const partition of partitions) this.#stream(partition).incarnation = 0;
    link?.drop();
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
    const { opcode, flags, operations, once, sightings } = batch.content;
    const body = batch.body(stream.unansweredBefore(batch));
    const { incarnation } = stream;
    batch.copies++;
    link.send(opcode, flags | applied | Flag.SEQUENCED, batch.partition, body, {
      batch: batch.key,
      count: (once ?? sightings ?? operations).length,
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
    // Read late, of a server that died over it: another one has applied the batch anew since.
    const isUndone = !isDurable && batch.ending !== undefined && link.life < batch.ending.life;
    if (isUndone) return;
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
      this.#isFenced(this.#routeOf(batch.partition));
      link.drop();
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

/** A way to some partitions. */
interface Route {
  /** The lane to connect to; any if undefined. */
  readonly lane: number | undefined;
  readonly partitions: readonly number[];
  link: Link | undefined;
  isConnecting: boolean;
  /** When it tries to connect again. */
  notBefore: number;
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
  const { opcode, operations, flags, once, sightings } = batch.content;
  const values = (flags & Flag.VALUES) !== 0;
  if (opcode === Opcode.EXPIRE) {
    const { position, flushed, status, expires } = decodeExpireAnswer(body);
    return { ending: { life, position, refused: new Set(), text: `${status} ${expires}` }, flushed };
  }
  if (once) {
    const { position, flushed, ...answer } = decodeOnceAnswer(body, once.length, values);
    const text = `${textOf(answer.refused)} ${answer.counted} ${answer.values}`;
    return { ending: { life, position, refused: new Set(answer.refused.map(({ index }) => index)), text }, flushed };
  }
  if (sightings) {
    const { position, flushed, refused, seen } = decodeSeeAnswer(body, sightings.length, values);
    const text = `${textOf(refused)} ${seen.map(bitsOfSeen)}`;
    return { ending: { life, position, refused: new Set(refused.map(({ index }) => index)), text }, flushed };
  }
  if (opcode !== Opcode.ADD) {
    const { position, flushed, status, previous } = decodeSetAnswer(body);
    return { ending: { life, position, refused: new Set(), text: `${status} ${previous}` }, flushed };
  }
  const { position, flushed, refused, ...answer } = decodeAddAnswer(body, operations.length, values);
  const text = `${textOf(refused)} ${answer.values}`;
  return { ending: { life, position, refused: new Set(refused.map(({ index }) => index)), text }, flushed };
}

function textOf(refused: AddAnswer['refused']): string {
  return refused.map(({ index, status }) => `${index}:${status}`).join();
}
