import { createHash } from 'node:crypto';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import { Kind, type Partition, type ProducerState } from '../partition/partition.js';
import { ByteWriter } from '../protocol/bytes.js';
import {
  decodeHelloRequest,
  encodeHelloAnswer,
  type HelloAnswer,
  type HelloRequest,
  PRODUCER_ID_BYTES,
  PROTOCOL_VERSION,
  type ProducerRef,
} from '../protocol/control.js';
import type { LaneParts } from './lane.js';

/** HELLO: what a connection is allowed to write as. */

/** What the answer to HELLO says of the whole server. */
export type ServerMap = Pick<HelloAnswer, 'server' | 'epoch' | 'lanes' | 'partitions' | 'limits'>;

/** The kernel's handle of a producer in one partition. */
export interface ProducerHandle {
  readonly producer: number;
  readonly incarnation: number;
}

/** A handle that no kernel has given: whatever is sequenced under it is refused. */
const NO_PRODUCER: ProducerHandle = { producer: 0xffffffff, incarnation: 0 };

/** What a connection is to its lane. */
export class Session {
  client = '';
  readonly #handles = new Map<number, ProducerHandle>();

  handle(partition: number): ProducerHandle {
    return this.#handles.get(partition) ?? NO_PRODUCER;
  }

  setHandle(partition: number, handle: ProducerHandle): void {
    this.#handles.set(partition, handle);
  }
}

/** The body of the answer to a HELLO, and whether the HELLO appended to the log, so that its answer must wait for a flush. */
export interface Greeting {
  readonly answer: Uint8Array;
  readonly isOpening: boolean;
}

/** Carries out a HELLO. @throws TallystickError what refuses it */
export function greet(parts: LaneParts, session: Session, body: Uint8Array): Greeting {
  const request = decodeHelloRequest(body);
  const producer = request.producer && openOrResume(parts, session, request.producer, request.resume);
  session.client = request.client;
  const writer = new ByteWriter();
  encodeHelloAnswer(writer, {
    version: PROTOCOL_VERSION,
    lane: parts.lane,
    ...parts.map,
    ...(producer && { producer }),
  });
  return { answer: writer.view(), isOpening: request.producer !== undefined && request.resume === undefined };
}

function openOrResume(
  parts: LaneParts,
  session: Session,
  reference: ProducerRef,
  resume: HelloRequest['resume'],
): HelloAnswer['producer'] {
  const id = 'id' in reference ? reference.id : idOfName(reference.name);
  const states = [...parts.partitions].map(([number, partition]) => {
    const state = resume
      ? resumed(partition, id, resume.find((item) => item.partition === number)?.incarnation)
      : opened(parts, number, partition, id, 'name' in reference);
    return { number, state };
  });
  for (const { number, state } of states) session.setHandle(number, state);
  return {
    id,
    partitions: states.map(({ number, state: { incarnation, next, cursor } }) => ({
      partition: number,
      incarnation,
      next,
      ...(cursor && { cursor }),
    })),
  };
}

function resumed(partition: Partition, id: Uint8Array, incarnation: number | undefined): ProducerState {
  const state = partition.producer(id);
  if (!state) throw new TallystickError('PRODUCER_UNKNOWN');
  if (incarnation === undefined) throw new TallystickError('BAD_REQUEST', '`resume` lacks a partition of this lane.');
  if (state.incarnation !== incarnation) throw new TallystickError('PRODUCER_FENCED');
  return state;
}

function opened(
  { commit, clock }: LaneParts,
  number: number,
  partition: Partition,
  id: Uint8Array,
  named: boolean,
): ProducerState {
  const body = new Uint8Array(PRODUCER_ID_BYTES + 1);
  body.set(id);
  body[PRODUCER_ID_BYTES] = named ? 1 : 0;
  const obstacle = commit.obstacle;
  if (obstacle) throw new TallystickError(obstacle.code, undefined, { outcome: 'refused' });
  if (!commit.canAppend(number, body.length)) throw new TallystickError('OVERLOADED');
  const milliseconds = clock.wallMilliseconds();
  const status = partition.apply(Kind.OPEN_PRODUCER, 0, 0, 0, milliseconds, body);
  if (status !== OK) throw new TallystickError(codeOfStatus(status));
  commit.append(number, { kind: Kind.OPEN_PRODUCER, flags: 0, producer: 0, incarnation: 0, milliseconds }, body);
  return partition.openedProducer;
}

/** A named producer's id: half of SHA-256, so that names and random ids do not meet. */
function idOfName(name: string): Uint8Array {
  return createHash('sha256').update('tallystick producer\0').update(name).digest().subarray(0, PRODUCER_ID_BYTES);
}
