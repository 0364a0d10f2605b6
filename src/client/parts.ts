import { TallystickError } from '../errors.js';
import { ByteWriter, encodeUtf8 } from '../protocol/bytes.js';
import { Flag } from '../protocol/opcode.js';
import { partitionOf } from '../protocol/partition-hash.js';
import type { Key } from '../protocol/request.js';
import type { Progress } from '../protocol/response.js';
import { Call } from './call.js';
import { Position } from './position.js';
import type { ReadOptions } from './reader.js';
import { Request } from './request.js';
import type { Session } from './session.js';

/** Names of one partition that are asked for with one request, by their indexes among those of the caller. */
export interface Part {
  readonly partition: number;
  readonly names: readonly string[];
  readonly indexes: readonly number[];
}

/** What came of a part. */
export interface PartAnswer<A> {
  readonly part: Part;
  readonly answer: A;
  /** Whether no crash can take back what it shows. */
  readonly durable: boolean;
  /** What it is as of, in the partition. */
  readonly position: Position;
}

/** A request that reads several names of a partition. */
export interface Question<A extends Progress> {
  readonly opcode: number;
  readonly encode: (writer: ByteWriter, asked: { readonly after?: After; readonly keys: readonly Key[] }) => void;
  readonly decode: (body: Uint8Array) => A;
}
type After = { readonly epoch: number; readonly sequence: number };

/** Names by their partitions, `most` to a part. @throws TallystickError NAME_INVALID */
export function partsOf({ partitions, limits }: Session, names: readonly string[], most: number): Part[] {
  const open = new Map<number, { partition: number; names: string[]; indexes: number[] }>();
  const parts: Part[] = [];
  for (const [index, name] of names.entries()) {
    const bytes = encodeUtf8(name);
    if (bytes.length < 1 || bytes.length > limits.name) throw new TallystickError('NAME_INVALID');
    const partition = partitionOf(bytes, 0, bytes.length, partitions);
    let part = open.get(partition);
    if (!part || part.names.length === most) {
      part = { partition, names: [], indexes: [] };
      open.set(partition, part);
      parts.push(part);
    }
    part.names.push(name);
    part.indexes.push(index);
  }
  return parts;
}

/** Asks all parts at once; rejects with the first failure. */
export function askParts<A extends Progress>(
  session: Session,
  parts: readonly Part[],
  question: Question<A>,
  options: ReadOptions,
  timeout: number,
): Promise<PartAnswer<A>[]> {
  if (parts.length === 0) return Promise.resolve([]);
  return new Promise((resolve, reject) => {
    const call = new Call<PartAnswer<A>[]>(resolve, reject);
    if (!session.begin(call, options, timeout)) return;
    const answers: PartAnswer<A>[] = [];
    for (const part of parts) {
      ask(session, part, question, options, call, (answer) => {
        if (answers.push(answer) === parts.length) call.resolve(answers);
      });
    }
  });
}

function ask<A extends Progress>(
  session: Session,
  part: Part,
  { opcode, encode, decode }: Question<A>,
  { read, after }: ReadOptions,
  call: Call<PartAnswer<A>[]>,
  take: (answer: PartAnswer<A>) => void,
): void {
  const { partition } = part;
  const sequence = after?.sequenceOf(partition);
  const isLatest = read === 'latest';
  const body = new ByteWriter();
  encode(body, {
    ...(after && sequence !== undefined && { after: { epoch: after.epoch, sequence } }),
    keys: part.names.map((name) => ({ name })),
  });
  const flags = (isLatest ? Flag.LATEST : 0) | (sequence === undefined ? 0 : Flag.AFTER);
  session.laneOf(partition).submit(
    new Request({ opcode, flags, partition }, body.view(), {
      onAnswer: (bytes) => {
        const answer = decode(bytes);
        const position = new Position(session.epoch, new Map([[partition, answer.position]]));
        take({ part, answer, durable: !isLatest || answer.position <= answer.flushed, position });
      },
      onError: (error) => call.reject(error),
      isWanted: () => !call.isSettled,
    }),
  );
}
