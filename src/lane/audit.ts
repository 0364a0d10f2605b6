import { Packr } from 'msgpackr';
import { ABSENT, codeOfStatus, OK } from '../errors.js';
import { ByteReader } from '../protocol/bytes.js';
import { Opcode } from '../protocol/opcode.js';
import { decodeDelete, decodeSet } from '../protocol/request.js';
import type { AuditRecord } from './audit-record.js';

/** The audit log: one item for each SET and DELETE, stored by the same transaction as the change. */

const packr = new Packr({ useRecords: false });

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
