import { unpack } from 'msgpackr';
import { z } from 'zod';

/** What the audit log has of a SET or a DELETE, for those who read it. Lanes, which write it, load no schemas: those take megabytes a thread. */

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

export function decodeAudit(value: Uint8Array): AuditRecord {
  return auditSchema.parse(unpack(value));
}
