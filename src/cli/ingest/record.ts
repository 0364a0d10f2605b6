import { isUtf8 } from 'node:buffer';

/** Gives the fields of one record at a time, each only when it is asked for. */
export interface FieldReader {
  /** Turns to the record in [start, end) of `bytes`. */
  load(bytes: Buffer, start: number, end: number): void;
  /**
   * The text of a field, by its index among the fields that the reader was made for; null if the record does not
   * have it; or why the record can't give it.
   */
  field(index: number): string | null | Unreadable;
}

/** Why a field or a record can't be used. Made once, not for each record. */
export class Unreadable {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

export const NOT_UTF8 = new Unreadable('not valid UTF-8');

/** The text of [start, end); bytes that are not UTF-8 are never patched up, since two names could become one. */
export function text(bytes: Buffer, start: number, end: number): string | Unreadable {
  const decoded = bytes.toString('utf8', start, end);
  return decoded.includes('\ufffd') && !isUtf8(bytes.subarray(start, end)) ? NOT_UTF8 : decoded;
}
