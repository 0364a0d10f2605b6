import { type FieldReader, NOT_UTF8, text, Unreadable } from './record.js';

/**
 * One JSON object a line. Strings give their content, numbers and booleans their JSON text as it stands, so that
 * a 64-bit number keeps all its digits, which JSON.parse would round. Fields are keys of the object itself.
 */
const NOT_JSON = new Unreadable('not valid JSON');
const NOT_AN_OBJECT = new Unreadable('not a JSON object');
const NOT_A_VALUE = new Unreadable('an object, an array or null where text, a number or a boolean is needed');
/** Half of a character, which an escape like "\\ud800" can make: UTF-8 can't hold it. */
const LONE_SURROGATE = /\p{Surrogate}/u;

export class NdjsonReader implements FieldReader {
  readonly #fields: readonly string[];
  readonly #values: (string | null | Unreadable)[];

  constructor(fields: readonly string[]) {
    this.#fields = fields;
    this.#values = fields.map(() => null);
  }

  load(bytes: Buffer, start: number, end: number): void {
    const line = text(bytes, start, end);
    const problem = typeof line === 'string' ? checkObject(line) : NOT_UTF8;
    this.#values.fill(problem ?? null);
    if (problem === undefined) this.#readKeys(line as string);
  }

  field(index: number): string | null | Unreadable {
    return this.#values[index] as string | null | Unreadable;
  }

  /** Walks over the keys of the outermost object. The line is known to be valid JSON, so only its shape matters. */
  #readKeys(line: string): void {
    let at = skipSpace(line, line.indexOf('{') + 1);
    while (line[at] !== '}') {
      const keyEnd = stringEnd(line, at);
      const key = JSON.parse(line.slice(at, keyEnd)) as string;
      const value = skipSpace(line, line.indexOf(':', keyEnd) + 1);
      const end = valueEnd(line, value);
      const index = this.#fields.indexOf(key);
      if (index >= 0) this.#values[index] = valueText(line, value, end);
      at = skipSpace(line, end);
      if (line[at] === ',') at = skipSpace(line, at + 1);
    }
  }
}

function checkObject(line: string): Unreadable | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : NOT_AN_OBJECT;
  } catch {
    return NOT_JSON;
  }
}

function valueText(line: string, start: number, end: number): string | Unreadable {
  const first = line[start] as string;
  if (first === '"') {
    const value = JSON.parse(line.slice(start, end)) as string;
    return LONE_SURROGATE.test(value) ? NOT_UTF8 : value;
  }
  return first === '{' || first === '[' || first === 'n' ? NOT_A_VALUE : line.slice(start, end);
}

function skipSpace(line: string, from: number): number {
  let at = from;
  while (' \t\r\n'.includes(line[at] as string)) at += 1;
  return at;
}

/** Behind the closing quote of the string that begins at `start`. */
function stringEnd(line: string, start: number): number {
  let at = start + 1;
  while (line[at] !== '"') at += line[at] === '\\' ? 2 : 1;
  return at + 1;
}

function valueEnd(line: string, start: number): number {
  let depth = 0;
  let at = start;
  for (;;) {
    const char = line[at] as string;
    if (char === '"') {
      at = stringEnd(line, at);
      if (depth === 0) return at;
    } else if (depth === 0 && ',} \t\r\n'.includes(char)) {
      return at;
    } else {
      if (char === '{' || char === '[') depth += 1;
      if (char === '}' || char === ']') depth -= 1;
      at += 1;
      if (depth === 0 && (char === '}' || char === ']')) return at;
    }
  }
}
