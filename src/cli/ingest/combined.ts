import { type FieldReader, text, Unreadable } from './record.js';

/**
 * The "combined" format of the Apache HTTP server (mod_log_config), and "common", which ends after the bytes:
 *
 *     ip ident user [time] "method path protocol" status bytes "referrer" "agent"
 *
 * Within quotes a backslash escapes the next byte; escapes stay as they are in the log. The line is read from
 * the left, and only as far as the asked fields go, so whatever is wrong behind them does no harm.
 */
export const COMBINED_FIELDS = ['ip', 'time', 'method', 'path', 'status', 'bytes', 'referrer', 'agent'] as const;

export type CombinedField = (typeof COMBINED_FIELDS)[number];

const BREAKS_OFF = COMBINED_FIELDS.map(
  (field) => new Unreadable(`no ${field}: the line breaks off or is of no combined format`),
);
const NOT_A_REQUEST = new Unreadable('no method and path: the request is not of the form "METHOD PATH PROTOCOL"');

const SPACE = 0x20;
const QUOTE = 0x22;
const DASH = 0x2d;
const SLASH = 0x2f;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;

const [IP, TIME, METHOD, PATH, STATUS, BYTES, REFERRER, AGENT] = [0, 1, 2, 3, 4, 5, 6, 7];

export class CombinedReader implements FieldReader {
  readonly #fields: readonly number[];
  /** The rightmost field that is asked for. */
  readonly #last: number;
  /** Where each field begins and ends in the bytes, in the order of COMBINED_FIELDS; begin -1: not there. */
  readonly #begins = new Int32Array(COMBINED_FIELDS.length);
  readonly #ends = new Int32Array(COMBINED_FIELDS.length);
  #bytes: Buffer = Buffer.alloc(0);
  #requestOpen = false;

  constructor(fields: readonly CombinedField[]) {
    this.#fields = fields.map((field) => COMBINED_FIELDS.indexOf(field));
    this.#last = Math.max(-1, ...this.#fields);
  }

  load(bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes;
    this.#begins.fill(-1);
    this.#requestOpen = true;
    this.#locate(start, end);
  }

  field(index: number): string | Unreadable {
    const field = this.#fields[index] as number;
    const begin = this.#begins[field] as number;
    if (begin >= 0) return text(this.#bytes, begin, this.#ends[field] as number);
    const garbage = (field === METHOD || field === PATH) && !this.#requestOpen;
    return garbage ? NOT_A_REQUEST : (BREAKS_OFF[field] as Unreadable);
  }

  /** Says whether there is more to find. */
  #set(field: number, begin: number, end: number): boolean {
    this.#begins[field] = begin;
    this.#ends[field] = end;
    return field < this.#last;
  }

  /** Finds the fields up to the last one that is asked for, or up to where the line stops following the format. */
  #locate(start: number, end: number): void {
    const bytes = this.#bytes;
    const ip = find(bytes, SPACE, start, end);
    if (ip <= start || !this.#set(IP, start, ip)) return;
    const open = findPair(bytes, SPACE, OPEN_BRACKET, ip + 1, end);
    if (open < 0) return;
    const close = find(bytes, CLOSE_BRACKET, open + 2, end);
    if (close < 0 || !this.#set(TIME, open + 2, close)) return;
    const request = quoted(bytes, close + 1, end);
    if (request < 0) return;
    this.#requestOpen = false;
    if (!this.#splitRequest(close + 3, request)) return;
    const status = request + 2;
    if (!isStatus(bytes, request + 1, end) || !this.#set(STATUS, status, status + 3)) return;
    const size = bytesEnd(bytes, status + 3, end);
    if (size < 0 || !this.#set(BYTES, status + 4, size)) return;
    const referrer = quoted(bytes, size, end);
    if (referrer < 0 || !this.#set(REFERRER, size + 2, referrer)) return;
    const agent = quoted(bytes, referrer + 1, end);
    if (agent >= 0) this.#set(AGENT, referrer + 3, agent);
  }

  /** A request that is garbage leaves method and path out; whether there is more to find behind it is the answer. */
  #splitRequest(start: number, end: number): boolean {
    const more = this.#last > PATH;
    const bytes = this.#bytes;
    const method = methodEnd(bytes, start, end);
    if (method < 0) return more;
    const path = protocolBegin(bytes, method + 1, end);
    if (path <= method + 1) return more;
    this.#set(METHOD, start, method);
    this.#set(PATH, method + 1, path);
    return more;
  }
}

function find(bytes: Buffer, byte: number, from: number, end: number): number {
  for (let at = from; at < end; at += 1) if (bytes[at] === byte) return at;
  return -1;
}

function findPair(bytes: Buffer, first: number, second: number, from: number, end: number): number {
  for (let at = from; at + 1 < end; at += 1) if (bytes[at] === first && bytes[at + 1] === second) return at;
  return -1;
}

/** The closing quote of the ` "…"` that begins at `at`; -1 if it is not there or not closed. */
function quoted(bytes: Buffer, at: number, end: number): number {
  if (at + 1 >= end || bytes[at] !== SPACE || bytes[at + 1] !== QUOTE) return -1;
  for (let next = at + 2; next < end; next += 1) {
    const byte = bytes[next];
    if (byte === QUOTE) return next;
    if (byte === BACKSLASH) next += 1;
  }
  return -1;
}

/** The space behind a method: letters, as all registered ones are, with "-" and "_" for the others. */
function methodEnd(bytes: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] as number;
    if (byte === SPACE) return at > start ? at : -1;
    const letter = (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a;
    if (!letter && byte !== DASH && byte !== 0x5f) return -1;
  }
  return -1;
}

/**
 * The space between path and protocol: the last one of the request, with "HTTP/" behind it, since a path may have
 * been sent with spaces in it. A request without a protocol is of HTTP/0.9: then the path is the rest, without a space.
 */
function protocolBegin(bytes: Buffer, from: number, end: number): number {
  let last = end;
  while (last > from && bytes[last - 1] !== SPACE) last -= 1;
  if (last === from) return end;
  const http = last + 4 < end && bytes[last] === 0x48 && bytes[last + 1] === 0x54 && bytes[last + 4] === SLASH;
  return http ? last - 1 : -1;
}

/** Whether a space and three digits begin at `at`, and nothing else follows them directly. */
function isStatus(bytes: Buffer, at: number, end: number): boolean {
  if (at + 3 >= end || bytes[at] !== SPACE) return false;
  for (let next = at + 1; next <= at + 3; next += 1) if (!isDigit(bytes[next] as number)) return false;
  return at + 4 === end || bytes[at + 4] === SPACE;
}

/** The end of ` 123` or ` -` that begins at `at`, or -1. */
function bytesEnd(bytes: Buffer, at: number, end: number): number {
  if (at >= end || bytes[at] !== SPACE) return -1;
  let next = at + 1;
  if (next < end && bytes[next] === DASH) next += 1;
  else while (next < end && isDigit(bytes[next] as number)) next += 1;
  return next > at + 1 && (next === end || bytes[next] === SPACE) ? next : -1;
}

const isDigit = (byte: number): boolean => byte >= ZERO && byte <= NINE;
