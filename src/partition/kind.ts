/** Kinds of body that are no requests; requests have the kinds of their opcodes. */
export const Kind = {
  OPEN_PRODUCER: 64,
  TICK: 65,
  CONFIGURE: 66,
  CLASSIFY: 67,
  DAYS: 68,
  KEEP: 69,
  BRING: 70,
  /** An ADD as the log has it where all of its counters were there (src/kernel/logged.ts). */
  STEPS: 71,
} as const;

/** What `apply` returns besides 0 (applied) and the statuses of src/errors.ts. */
export const UNCHANGED = 256;
export const REPEATED = 257;
/** A counter, or the day of a class, is past its time: TICKs come first, and DAYS; nothing has changed. */
export const DUE = 258;
