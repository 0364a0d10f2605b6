import { OK } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { Opcode } from '../protocol/opcode.js';
import { writeNameKey } from '../protocol/request.js';
import { decodeOpenAnswer } from '../protocol/response.js';
import type { Batcher, BatchLimits } from './batcher.js';
import type { CounterHandle } from './counter.js';
import type { Lane } from './lane.js';
import { Request } from './request.js';

/**
 * Asks for the ids of counters. A counter that gets none (memory may be full) goes on by its name, where its
 * increments meet the same error and report it.
 */
export function openIds(lane: Lane, batcher: Batcher, handles: readonly CounterHandle[], limits: BatchLimits): void {
  const names = new ByteWriter();
  let first = 0;
  for (const [i, handle] of handles.entries()) {
    writeNameKey(names, handle.name);
    const isLast = i + 1 === handles.length;
    if (!isLast && i + 1 - first < limits.operations && names.length + 2 * limits.name < limits.bytes) continue;
    submit(lane, batcher, handles.slice(first, i + 1), names);
    first = i + 1;
    names.reset();
  }
}

function submit(lane: Lane, batcher: Batcher, handles: readonly CounterHandle[], names: ByteWriter): void {
  const body = new ByteWriter(names.length + 4);
  body.varint(handles.length);
  body.bytes(names.view());
  const onAnswer = (answer: Uint8Array) => {
    const { ids } = decodeOpenAnswer(answer);
    for (const [i, handle] of handles.entries()) {
      const id = ids[i];
      if (id?.status === OK && id.slot !== undefined) handle.opened(id.slot, id.generation, batcher.epoch);
      else handle.forgetId();
    }
  };
  const onError = () => {
    for (const handle of handles) handle.forgetId();
  };
  const header = { opcode: Opcode.OPEN, flags: 0, partition: batcher.sender.partition };
  lane.submit(new Request(header, body.view(), { onAnswer, onError, isWanted: () => true }));
}
