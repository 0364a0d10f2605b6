import { OK } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import { Opcode } from '../protocol/opcode.js';
import { writeNameKey } from '../protocol/request.js';
import { decodeOpenAnswer } from '../protocol/response.js';
import type { BatchLimits } from './batcher.js';
import type { CounterList, CounterTable } from './counters.js';
import type { Lane } from './lane.js';
import { Request } from './request.js';

/**
 * Asks for the ids of counters of one partition. A counter that gets none (memory may be full) goes on by its name, where
 * its increments meet the same error and report it.
 */
export function openIds(lane: Lane, partition: number, counters: CounterList, limits: BatchLimits): void {
  const { tables, rows } = counters;
  const names = new ByteWriter();
  let first = 0;
  for (let i = 0; i < tables.length; i++) {
    writeNameKey(names, (tables[i] as CounterTable).names[rows[i] as number] as string);
    const isLast = i + 1 === tables.length;
    if (!isLast && i + 1 - first < limits.operations && names.length + 2 * limits.name < limits.bytes) continue;
    submit(lane, partition, { tables: tables.slice(first, i + 1), rows: rows.slice(first, i + 1) }, names);
    first = i + 1;
    names.reset();
  }
}

function submit(lane: Lane, partition: number, { tables, rows }: CounterList, names: ByteWriter): void {
  const body = new ByteWriter(names.length + 4);
  body.varint(tables.length);
  body.bytes(names.view());
  const onAnswer = (answer: Uint8Array) => {
    const { ids } = decodeOpenAnswer(answer);
    for (const [i, table] of tables.entries()) {
      const id = ids[i];
      if (id?.status === OK && id.slot !== undefined) table.opened(rows[i] as number, id.slot, id.generation);
      else table.forgetId(rows[i] as number);
    }
  };
  const onError = () => {
    for (const [i, table] of tables.entries()) table.forgetId(rows[i] as number);
  };
  const header = { opcode: Opcode.OPEN, flags: 0, partition };
  lane.submit(new Request(header, body.view(), { onAnswer, onError, isWanted: () => true }));
}
