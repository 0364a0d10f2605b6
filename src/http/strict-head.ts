import { type Fields, fieldsOf } from './request-head.js';

/**
 * Reads the head of a request only where nobody can read it in another way. It takes a small part of what RFC 9112 allows, and says of all
 * else, right or wrong, that it is not for it:
 *
 *   request-line   (GET | POST) SP origin-form SP HTTP/1.1 CRLF     section 3; the characters of a path and a query (RFC 3986)
 *   field-line     token ":" OWS field-value OWS CRLF               section 5; visible ASCII, no obs-fold, no obs-text
 *   CRLF
 *
 * Where the body ends is said by one Content-Length of a POST, in digits, and of a GET by none (section 6.3).
 */
export interface StrictHead {
  readonly method: string;
  readonly target: string;
  readonly fields: Fields;
  /** Of the head, with its empty line. */
  readonly bytes: number;
  readonly bodyBytes: number;
}

/** Less than `node:http` takes, which counts in another way. */
const MOST_BYTES = 8_192;
const MOST_FIELDS = 100;

const REQUEST_LINE = /^(GET|POST) (\/[\w\-.~!$&'()*+,;=:@/?%]*) HTTP\/1\.1\r\n/;
/** Its value with the white space around it, which a pattern could only split off in time that grows with the square of it. */
const FIELD_LINE = /^([\w!#$%&'*+\-.^`|~]+):([\t -~]*)$/;
/** Of what may come in one piece. */
const LENGTH = /^(?:0|[1-9][0-9]{0,4})$/;

/** What changes how a message is read or answered, besides Connection, Content-Length and Host. `node:http` knows these. */
const NOT_PLAIN: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'upgrade',
  'expect',
  'proxy-connection',
  'trailer',
]);

interface FieldBlock {
  readonly fields: Fields;
  readonly bodyBytes: number | undefined;
}

/** Of one connection, whose requests mostly have the same fields: these are read once. */
export class StrictHeadReader {
  #text = '';
  #block: FieldBlock | undefined;

  /** Undefined for what is not whole, or not for it. */
  read(bytes: Buffer): StrictHead | undefined {
    const text = bytes.toString('latin1', 0, MOST_BYTES);
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const [line, method, target] = REQUEST_LINE.exec(text) ?? [];
    if (line === undefined || method === undefined || target === undefined) return undefined;
    const block = this.#read(text.slice(line.length, end));
    if (!block || (block.bodyBytes === undefined) !== (method === 'GET')) return undefined;
    return { method, target, fields: block.fields, bytes: end + 4, bodyBytes: block.bodyBytes ?? 0 };
  }

  #read(text: string): FieldBlock | undefined {
    if (text !== this.#text) {
      this.#block = readFields(text);
      this.#text = text;
    }
    return this.#block;
  }
}

function readFields(text: string): FieldBlock | undefined {
  const lines = text.split('\r\n');
  if (lines.length > MOST_FIELDS) return undefined;
  const found: string[] = [];
  const seen = new Set<string>();
  let bodyBytes: number | undefined;
  for (const line of lines) {
    const [, name, padded] = FIELD_LINE.exec(line) ?? [];
    if (name === undefined || padded === undefined) return undefined;
    const value = padded.trim();
    const key = name.toLowerCase();
    if (NOT_PLAIN.has(key) || seen.has(key)) return undefined;
    if (key === 'connection' && value.toLowerCase() !== 'keep-alive') return undefined;
    if (key === 'content-length') {
      if (!LENGTH.test(value)) return undefined;
      bodyBytes = Number(value);
    }
    seen.add(key);
    found.push(name, value);
  }
  return { fields: fieldsOf(found), bodyBytes };
}
