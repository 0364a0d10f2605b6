import type { RecordEnd } from './lines.js';
import { type FieldReader, text, Unreadable } from './record.js';

/**
 * CSV as RFC 4180 has it: fields separated by commas, quoted where they hold commas, quotes (doubled) or line
 * ends. A quote opens a quoted field only at its beginning; elsewhere in an unquoted field it is an ordinary byte,
 * so a stray one never swallows the lines behind it.
 */
const COMMA = 0x2c;
const QUOTE = 0x22;
const LF = 0x0a;

const MISSING = new Unreadable('fewer fields than the header');
const QUOTE_NOT_CLOSED = new Unreadable('a quoted field is not closed');
const TEXT_AFTER_QUOTE = new Unreadable('text between a closing quote and the next comma');

export const csvRecordEnd: RecordEnd = (bytes, from) => {
  let at = from;
  for (;;) {
    if (bytes[at] === QUOTE) {
      at = closingQuote(bytes, at + 1, bytes.length) + 1;
      if (at === 0) return -1;
    }
    for (; at < bytes.length && bytes[at] !== COMMA; at += 1) if (bytes[at] === LF) return at;
    if (at >= bytes.length) return -1;
    at += 1;
  }
};

export class CsvReader implements FieldReader {
  /** By column: its index among the asked fields, or -1. Ends with the last column that is asked for. */
  readonly #columns: readonly number[];
  readonly #values: (string | Unreadable)[];

  constructor(header: readonly string[], fields: readonly string[]) {
    const last = Math.max(-1, ...fields.map((field) => header.indexOf(field)));
    this.#columns = header.slice(0, last + 1).map((name) => fields.indexOf(name));
    this.#values = fields.map(() => MISSING);
  }

  load(bytes: Buffer, start: number, end: number): void {
    this.#values.fill(MISSING);
    let at = start;
    for (const index of this.#columns) {
      const next = fieldEnd(bytes, at, end);
      if (index >= 0) this.#values[index] = next < 0 ? QUOTE_NOT_CLOSED : fieldText(bytes, at, next);
      if (next < 0 || next >= end) return;
      at = next + 1;
    }
  }

  field(index: number): string | Unreadable {
    return this.#values[index] as string | Unreadable;
  }
}

/** The fields of one record, all of them; for the header. */
export function csvFields(record: Buffer): (string | Unreadable)[] {
  const fields: (string | Unreadable)[] = [];
  for (let at = 0; ; ) {
    const end = fieldEnd(record, at, record.length);
    fields.push(end < 0 ? QUOTE_NOT_CLOSED : fieldText(record, at, end));
    if (end < 0 || end >= record.length) return fields;
    at = end + 1;
  }
}

/** The comma behind the field that begins at `at`, or `end`; -1 if its quote is not closed. */
function fieldEnd(bytes: Buffer, at: number, end: number): number {
  let next = at;
  if (at < end && bytes[at] === QUOTE) {
    const closing = closingQuote(bytes, at + 1, end);
    if (closing < 0) return -1;
    next = closing + 1;
  }
  while (next < end && bytes[next] !== COMMA) next += 1;
  return next;
}

function fieldText(bytes: Buffer, start: number, end: number): string | Unreadable {
  if (start === end || bytes[start] !== QUOTE) return text(bytes, start, end);
  if (closingQuote(bytes, start + 1, end) !== end - 1) return TEXT_AFTER_QUOTE;
  const inner = text(bytes, start + 1, end - 1);
  return typeof inner === 'string' ? inner.replaceAll('""', '"') : inner;
}

/** The quote that closes a field whose content begins at `from`, passing over doubled ones; -1 if there is none. */
function closingQuote(bytes: Buffer, from: number, end: number): number {
  let at = bytes.indexOf(QUOTE, from);
  while (at >= 0 && at < end) {
    if (at + 1 >= end || bytes[at + 1] !== QUOTE) return at;
    at = bytes.indexOf(QUOTE, at + 2);
  }
  return -1;
}
