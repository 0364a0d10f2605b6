import type { LogEntry } from '../../src/log/record.js';
import { Kind } from '../../src/partition/partition.js';
import { decodeSteps } from '../../src/partition/steps.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { decodeAdd, type Operation, type Sequence } from '../../src/protocol/request.js';
import type { PartitionModel } from './partition-model.js';

/** The name that a lane has under an id now; undefined where there is none any more. */
export type NameOf = (
  partition: number,
  id: { readonly slot: number; readonly generation: number },
) => string | undefined;

/** What a batch has behind `sequence` and `unanswered`; undefined where nobody made it. */
type PayloadOf = (batch: string) => Uint8Array | undefined;

/**
 * What was sent for the STEPS of a log, which have ids where that had names. The model takes what was sent, so that it knows of no ids that
 * the server made up; and whoever sent names must find the ids to be theirs.
 */
export class SentAdds {
  /** Bodies without a sequence, by their partition and what they add. */
  readonly #bodies = new Map<string, Uint8Array[]>();

  /** A client sends an ADD without a sequence. */
  sent(partition: number, flags: number, body: Uint8Array): void {
    const key = keyOf(partition, flags, operationsOf(body, 0) ?? []);
    const known = this.#bodies.get(key) ?? [];
    if (!known.some((other) => Buffer.compare(other, body) === 0)) this.#bodies.set(key, [...known, body]);
  }

  /** The entry of an ADD that a STEPS stands for, or what is wrong with it, in words. */
  entryOf(steps: LogEntry, model: PartitionModel, payloadOf: PayloadOf, nameOf: NameOf): LogEntry | string {
    const { flags, partition } = steps;
    const { sequence, operations } = decodeSteps(steps.body, flags);
    const bodies = sequence
      ? this.#batch(steps, sequence, model, payloadOf)
      : (this.#bodies.get(keyOf(partition, flags, operations)) ?? []);
    const body = bodies.find((sent) => {
      const asked = operationsOf(sent, flags) ?? [];
      return asked.length === operations.length && asked.every((one, i) => isOf(one, operations[i], partition, nameOf));
    });
    if (!body) return 'steps that nobody sent';
    return (
      this.#learn(steps, operations, operationsOf(body, flags) ?? [], model) ?? { ...steps, kind: Opcode.ADD, body }
    );
  }

  #batch(steps: LogEntry, sequence: Sequence, model: PartitionModel, payloadOf: PayloadOf): Uint8Array[] {
    const id = model.producers[steps.producer]?.id;
    const payload = payloadOf(`${id}/${steps.incarnation}/${sequence.sequence}`);
    if (!payload) return [];
    const writer = new ByteWriter();
    writer.varint(sequence.sequence);
    writer.varint(sequence.unanswered);
    writer.bytes(payload);
    return [writer.copy()];
  }

  /** The ids are those of the names: what is wrong with that, in words. */
  #learn(
    { sequence: position }: LogEntry,
    operations: readonly Operation[],
    asked: readonly Operation[],
    model: PartitionModel,
  ): string | undefined {
    for (const [i, { key }] of asked.entries()) {
      const id = operations[i]?.key;
      if (!id || !('slot' in id) || !('name' in key)) continue;
      const wrong = model.learnId(id.slot, id.generation, key.name, position - 1);
      if (wrong) return wrong;
    }
    return undefined;
  }
}

export const isSteps = ({ kind }: LogEntry): boolean => kind === Kind.STEPS;

function isOf(asked: Operation, step: Operation | undefined, partition: number, nameOf: NameOf): boolean {
  if (!step || !('slot' in step.key) || asked.delta !== step.delta) return false;
  const { slot, generation } = step.key;
  if ('slot' in asked.key) return asked.key.slot === slot && asked.key.generation === generation;
  const name = nameOf(partition, step.key);
  return name === undefined || name === asked.key.name;
}

/** Of a body that can't be read, undefined: it can't be applied either. */
function operationsOf(body: Uint8Array, flags: number): readonly Operation[] | undefined {
  try {
    return decodeAdd(body, flags).operations;
  } catch {
    return undefined;
  }
}

function keyOf(partition: number, flags: number, operations: readonly Operation[]): string {
  const deltas = operations.map(({ delta }) => delta);
  return `${partition} ${flags & (Flag.ATOMIC | Flag.VALUES)} ${deltas.join(' ')}`;
}
