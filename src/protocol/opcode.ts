/** The constants of protocol.md: opcodes, flags, where each may stand, and the default limits. */

export const Opcode = {
  HELLO: 1,
  PING: 2,
  OPEN: 3,
  ADD: 4,
  GET: 5,
  SET: 6,
  SYNC: 7,
  STATS: 8,
  DELETE: 9,
  LIST: 10,
  SEE: 11,
  UNIQUES: 12,
  WINDOW: 13,
  MERGE: 14,
  HISTORY: 15,
  EXPIRE: 16,
  ONCE: 17,
  EXPIRY: 18,
  TAIL: 19,
  ERROR: 255,
} as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

/** The opcode of an answer is that of its request with this bit. */
export const ANSWER = 0x80;

export const Flag = {
  /** Answer when applied in memory; without it, when flushed. */
  APPLIED: 1,
  /** Read from memory at once; without it, what is shown is flushed. */
  LATEST: 2,
  /** All operations or none. */
  ATOMIC: 4,
  /** Answer the value of each counter. */
  VALUES: 8,
  /** The body begins with a sequence. */
  SEQUENCED: 16,
  /** The body begins with a position to wait for. */
  AFTER: 32,
  /** On an answer: the kept first answer of a sequence that was applied before. */
  REPEATED: 64,
  /** On an answer: others follow under the same request id. */
  MORE: 128,
} as const;

/** The partition of a frame that addresses the lane. */
export const LANE = 0xffff;

/** length u32, opcode u8, flags u8, partition u16, request id u32. */
export const HEADER_BYTES = 12;

/** The part of the header that `length` counts. */
export const LENGTH_OF_EMPTY_FRAME = 8;

/** What the header of a request with this opcode may hold. */
export interface RequestRule {
  readonly addresses: 'lane' | 'partition';
  /** The union of the flags that have a meaning. */
  readonly flags: number;
  /** The most bytes of a body where it is less than the frame limit leaves. */
  readonly bodyBytes?: number;
}

export const DEFAULT_LIMITS = {
  /** Bytes that `length` may count. */
  frame: 1_048_576,
  /** The same, before HELLO is answered. */
  preHelloFrame: 1024,
  /** Bytes of a counter's name, and of an item. */
  name: 1024,
  /** Operations, items, keys or names of a request. */
  batch: 10_000,
  /** Requests of a connection that wait for their answers. */
  inFlight: 1024,
  /** Sequences of a producer in a partition that wait for their answers. */
  window: 1024,
  /** Bytes of a cursor. */
  cursor: 64,
  /** Bytes of the reason of a SET or DELETE. */
  reason: 256,
  /** Bytes of the body of a PING. */
  ping: 64,
} as const;

const REQUEST_RULES = new Map<number, RequestRule>([
  [Opcode.HELLO, { addresses: 'lane', flags: 0 }],
  [Opcode.PING, { addresses: 'lane', flags: 0, bodyBytes: DEFAULT_LIMITS.ping }],
  [Opcode.OPEN, { addresses: 'partition', flags: 0 }],
  [Opcode.ADD, { addresses: 'partition', flags: Flag.APPLIED | Flag.ATOMIC | Flag.VALUES | Flag.SEQUENCED }],
  [Opcode.GET, { addresses: 'partition', flags: Flag.LATEST | Flag.AFTER }],
  [Opcode.SET, { addresses: 'partition', flags: Flag.APPLIED | Flag.SEQUENCED }],
  [Opcode.SYNC, { addresses: 'lane', flags: 0, bodyBytes: 0 }],
  [Opcode.STATS, { addresses: 'lane', flags: 0 }],
  [Opcode.DELETE, { addresses: 'partition', flags: Flag.APPLIED | Flag.SEQUENCED }],
  [Opcode.WINDOW, { addresses: 'partition', flags: Flag.LATEST | Flag.AFTER }],
  [Opcode.LIST, { addresses: 'partition', flags: Flag.LATEST }],
  [Opcode.SEE, { addresses: 'partition', flags: Flag.APPLIED | Flag.VALUES | Flag.SEQUENCED }],
  [Opcode.MERGE, { addresses: 'partition', flags: Flag.APPLIED | Flag.SEQUENCED }],
  [Opcode.UNIQUES, { addresses: 'partition', flags: Flag.LATEST | Flag.AFTER }],
  [Opcode.HISTORY, { addresses: 'partition', flags: Flag.LATEST | Flag.AFTER }],
  [Opcode.EXPIRE, { addresses: 'partition', flags: Flag.APPLIED | Flag.SEQUENCED }],
  [Opcode.ONCE, { addresses: 'partition', flags: Flag.APPLIED | Flag.VALUES | Flag.SEQUENCED }],
  [Opcode.EXPIRY, { addresses: 'partition', flags: Flag.LATEST | Flag.AFTER }],
  [Opcode.TAIL, { addresses: 'partition', flags: Flag.AFTER }],
]);

/** The rule of a request's opcode; undefined where no request has it. */
export function requestRule(opcode: number): RequestRule | undefined {
  return REQUEST_RULES.get(opcode);
}
