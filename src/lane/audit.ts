import { Packr, unpack } from 'msgpackr';
import { z } from 'zod';
import { codeOfStatus, OK } from '../errors.js';
import { ByteReader } from '../protocol/bytes.js';
import { decodeSet } from '../protocol/request.js';

/** The audit log: one item for each SET, stored by the same transaction as the change. */

const packr = new Packr({ useRecords: false });

const auditSchema = z.object({
  /** Milliseconds since 1970. */
  time: z.number(),
  /** The counter's name, or `#slot.generation` where it was addressed by id. */
  counter: z.string(),
  value: z.string(),
  previous: z.string(),
  expect: z.string().optional(),
  /** OK, or the code that refused it. */
  result: z.string(),
  reason: z.string(),
  /** What the client calls itself, and where it connected from. */
  client: z.string(),
  remote: z.string(),
});

export type AuditRecord = z.infer<typeof auditSchema>;

interface AuditedSet {
  readonly body: Uint8Array;
  readonly flags: number;
  /** The kernel's answer to it. */
  readonly answer: Uint8Array;
  readonly milliseconds: number;
  readonly client: string;
  readonly remote: string;
}

export function encodeAudit({ body, flags, answer, milliseconds, client, remote }: AuditedSet): Uint8Array {
  const { key, value, expect, reason } = decodeSet(body, flags);
  const reader = new ByteReader(answer);
  const status = reader.u8();
  const record: AuditRecord = {
    time: milliseconds,
    counter: 'name' in key ? key.name : `#${key.slot}.${key.generation}`,
    value: String(value),
    previous: String(reader.zigzagBig()),
    ...(expect !== undefined && { expect: String(expect) }),
    result: status === OK ? 'OK' : codeOfStatus(status),
    reason,
    client,
    remote,
  };
  return packr.pack(record);
}

export function decodeAudit(value: Uint8Array): AuditRecord {
  return auditSchema.parse(unpack(value));
}
