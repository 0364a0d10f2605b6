import { createHash } from 'node:crypto';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import { Kind, type Partition, type ProducerState } from '../partition/partition.js';
import { ByteReader, type ByteWriter } from '../protocol/bytes.js';
import { type HelloAnswer, type HelloRequest, PRODUCER_ID_BYTES, type ProducerRef } from '../protocol/control.js';
import type { LaneParts } from './lane.js';
import type { Ticks } from './ticks.js';

/** HELLO: what a connection is allowed to write as. */

/** What the answer to HELLO says of the whole server. */
export interface ServerMap
  extends Pick<HelloAnswer, 'server' | 'epoch' | 'lanes' | 'partitions' | 'limits' | 'accuracy' | 'gross'> {
  /** Where the lanes speak WebSocket, for clients that came by it. */
  readonly webSocketLanes?: HelloAnswer['lanes'];
}

/** By which kind of transport a client came. */
export type Via = 'tcp' | 'webSocket';

/** The kernel's handle of a producer in one partition. */
export interface ProducerHandle {
  readonly producer: number;
  readonly incarnation: number;
}

/** A handle that no kernel has given: whatever is sequenced under it is refused. */
const NO_PRODUCER: ProducerHandle = { producer: 0xffffffff, incarnation: 0 };

/** What a connection is to its lane. */
export class Session {
  readonly via: Via;
  client = '';
  /** Whether it reaches only the partitions of the lane that it is connected to. */
  isDirect = true;
  readonly #handles = new Map<number, ProducerHandle>();

  constructor(via: Via = 'tcp') {
    this.via = via;
  }

  handle(partition: number): ProducerHandle {
    return this.#handles.get(partition) ?? NO_PRODUCER;
  }

  setHandle(partition: number, handle: ProducerHandle): void {
    this.#handles.set(partition, handle);
  }
}

/** As what a session writes in one partition, and how far it has come. */
export interface Grant extends ProducerState {
  readonly partition: number;
}

/**
 * Opens the producer in all partitions of the lane, or resumes it. Nothing to grant where the request names none.
 *
 * @throws TallystickError what refuses it
 */
export function grant(parts: LaneParts, ticks: Ticks, { producer, resume }: HelloRequest): Grant[] {
  if (!producer) return [];
  const id = producerId(producer);
  const incarnations = new Map(resume?.map(({ partition, incarnation }) => [partition, incarnation]));
  return [...parts.partitions].map(([number, partition]) => {
    if (resume) return { partition: number, ...resumed(partition, id, incarnations.get(number)) };
    const milliseconds = ticks.settle(number, partition);
    return { partition: number, ...opened(parts, number, partition, milliseconds, id, 'name' in producer) };
  });
}

/** A named producer's id is half of SHA-256, so that names and random ids do not meet. */
export function producerId(producer: ProducerRef): Uint8Array {
  if ('id' in producer) return producer.id;
  const hash = createHash('sha256').update('tallystick producer\0').update(producer.name);
  return hash.digest().subarray(0, PRODUCER_ID_BYTES);
}

/**
 * What one lane grants, for the lane that the client is connected to:
 *
 *   count varint | count × ( partition u16 | producer u32 | incarnation u32 | next varint | cursor length u8 | cursor )
 */
export function encodeGrants(writer: ByteWriter, grants: readonly Grant[]): void {
  writer.varint(grants.length);
  for (const { partition, producer, incarnation, next, cursor } of grants) {
    writer.u16(partition);
    writer.u32(producer);
    writer.u32(incarnation);
    writer.varint(next);
    writer.u8(cursor?.length ?? 0);
    if (cursor) writer.bytes(cursor);
  }
}

export function decodeGrants(body: Uint8Array): Grant[] {
  const reader = new ByteReader(body);
  return Array.from({ length: reader.varint() }, () => {
    const [partition, producer, incarnation, next] = [reader.u16(), reader.u32(), reader.u32(), reader.varint()];
    const cursor = reader.copy(reader.u8());
    return { partition, producer, incarnation, next, cursor: cursor.length > 0 ? cursor : null };
  });
}

function resumed(partition: Partition, id: Uint8Array, incarnation: number | undefined): ProducerState {
  const state = partition.producer(id);
  if (!state) throw new TallystickError('PRODUCER_UNKNOWN');
  if (incarnation === undefined) throw new TallystickError('BAD_REQUEST', '`resume` lacks a partition of this lane.');
  if (state.incarnation !== incarnation) throw new TallystickError('PRODUCER_FENCED');
  return state;
}

function opened(
  { commit }: LaneParts,
  number: number,
  partition: Partition,
  milliseconds: number,
  id: Uint8Array,
  named: boolean,
): ProducerState {
  const body = new Uint8Array(PRODUCER_ID_BYTES + 1);
  body.set(id);
  body[PRODUCER_ID_BYTES] = named ? 1 : 0;
  const obstacle = commit.obstacle;
  if (obstacle) throw new TallystickError(obstacle.code, undefined, { outcome: 'refused' });
  if (!commit.canAppend(number, body.length)) throw new TallystickError('OVERLOADED');
  const status = partition.apply(Kind.OPEN_PRODUCER, 0, 0, 0, milliseconds, body);
  if (status !== OK) throw new TallystickError(codeOfStatus(status));
  commit.append(number, { kind: Kind.OPEN_PRODUCER, flags: 0, producer: 0, incarnation: 0, milliseconds }, body);
  return partition.openedProducer;
}
