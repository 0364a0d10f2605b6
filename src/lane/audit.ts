import { Packr, unpack } from 'msgpackr';
import { z } from 'zod';
import { ABSENT, codeOfStatus, OK } from '../errors.js';
import { ByteReader } from '../protocol/bytes.js';
import { Opcode } from '../protocol/opcode.js';
import { decodeDelete, decodeSet } from '../protocol/request.js';

/** The audit log: one item for each SET and DELETE, stored by the same transaction as the change. */

const packr = new Packr({ useRecords: false });

const auditSchema = z.object({
  /** Milliseconds since 1970. */
  time: z.number(),
  operation: z.enum(['set', 'delete']),
  /** The counter's name, or `#slot.generation` where it was addressed by id. */
  counter: z.string(),
  /** What it was set to. */
  value: z.string().optional(),
  previous: z.string(),
  expect: z.string().optional(),
  /** OK, the code that refused it, or ABSENT where there was nothing to delete. */
  result: z.string(),
  reason: z.string(),
  /** What the client calls itself, and where it connected from. */
  client: z.string(),
  remote: z.string(),
});

export type AuditRecord = z.infer<typeof auditSchema>;

interface Audited {
  /** SET or DELETE. */
  readonly opcode: number;
  readonly body: Uint8Array;
  readonly flags: number;
  /** The kernel's answer to it. */
  readonly answer: Uint8Array;
  readonly milliseconds: number;
  readonly client: string;
  readonly remote: string;
}

export function encodeAudit({ opcode, body, flags, answer, milliseconds, client, remote }: Audited): Uint8Array {
  const set = opcode === Opcode.SET ? decodeSet(body, flags) : undefined;
  const { key, expect, reason } = set ?? decodeDelete(body, flags);
  const reader = new ByteReader(answer);
  const status = reader.u8();
  const record: AuditRecord = {
    time: milliseconds,
    operation: set ? 'set' : 'delete',
    counter: 'name' in key ? key.name : `#${key.slot}.${key.generation}`,
    ...(set && { value: String(set.value) }),
    previous: String(reader.zigzagBig()),
    ...(expect !== undefined && { expect: String(expect) }),
    result: status === OK ? 'OK' : status === ABSENT ? 'ABSENT' : codeOfStatus(status),
    reason,
    client,
    remote,
  };
  return packr.pack(record);
}

export function decodeAudit(value: Uint8Array): AuditRecord {
  return auditSchema.parse(unpack(value));
}
