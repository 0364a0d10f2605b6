import { TallystickError } from '../../errors.js';
import { CsvReader, csvFields } from '../ingest/csv.js';
import { NdjsonReader } from '../ingest/ndjson.js';
import { MAX_NAME_BYTES } from '../ingest/plan.js';
import { type FieldReader, Unreadable } from '../ingest/record.js';

/**
 * Counters as lines, in the two formats in which they leave and come back:
 *
 *   ndjson   {"name":"likes:post:7","value":"42"}
 *   csv      name,value          the first line; RFC 4180, so a quoted name may hold anything, line ends too
 *            likes:post:7,42
 *
 * Values are decimal and signed, of 64 bits. Names are what they are, byte for byte.
 */
export const ENTRY_FORMATS = ['ndjson', 'csv'] as const;
export type EntryFormat = (typeof ENTRY_FORMATS)[number];

export interface Entry {
  readonly name: string;
  readonly value: bigint;
}

const FIELDS = ['name', 'value'] as const;
const [NAME, VALUE] = [0, 1];
const NEEDS_QUOTES = /[",\r\n]/;
const INTEGER = /^-?[0-9]{1,19}$/;
const MIN_I64 = -(2n ** 63n);
const MAX_I64 = 2n ** 63n - 1n;

const NO_NAME = new Unreadable('no name');
const NO_VALUE = new Unreadable('no value');
const NAME_EMPTY = new Unreadable('the name is empty');
const NAME_TOO_LONG = new Unreadable('the name has more than 1,024 bytes');
const NOT_A_NUMBER = new Unreadable('value is not a 64-bit integer');

/** By the ending of a file's name; ndjson unless it is that of csv. */
export function formatOf(file: string | undefined): EntryFormat {
  return /\.csv(\.gz)?$/i.test(file ?? '') ? 'csv' : 'ndjson';
}

/** The line in front of all; none in ndjson. */
export function headerLine(format: EntryFormat): string | undefined {
  return format === 'csv' ? FIELDS.join(',') : undefined;
}

/** Without its line end. */
export function entryLine(format: EntryFormat, { name, value }: Entry): string {
  if (format === 'ndjson') return JSON.stringify({ name, value: String(value) });
  return `${NEEDS_QUOTES.test(name) ? `"${name.replaceAll('"', '""')}"` : name},${value}`;
}

/** Reads entries from records. */
export class EntryReader {
  readonly #fields: FieldReader;

  /** @param header of csv, its first record. @throws TallystickError INVALID_ARGUMENT where that names no name and value */
  constructor(format: EntryFormat, header: Buffer) {
    this.#fields = format === 'ndjson' ? new NdjsonReader(FIELDS) : csvReader(header);
  }

  /** The entry in [start, end) of `bytes`, or why there is none. */
  read(bytes: Buffer, start: number, end: number): Entry | Unreadable {
    this.#fields.load(bytes, start, end);
    const name = this.#fields.field(NAME) ?? NO_NAME;
    if (typeof name !== 'string') return name;
    const value = this.#fields.field(VALUE) ?? NO_VALUE;
    if (typeof value !== 'string') return value;
    if (name === '') return NAME_EMPTY;
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) return NAME_TOO_LONG;
    const number = INTEGER.test(value) ? BigInt(value) : MAX_I64 + 1n;
    return number < MIN_I64 || number > MAX_I64 ? NOT_A_NUMBER : { name, value: number };
  }
}

function csvReader(header: Buffer): CsvReader {
  const names = csvFields(header).map((field) => (typeof field === 'string' ? field : ''));
  const isThere = FIELDS.every(
    (field) => names.indexOf(field) >= 0 && names.indexOf(field) === names.lastIndexOf(field),
  );
  if (!isThere)
    throw new TallystickError(
      'INVALID_ARGUMENT',
      'The first line of csv names its columns, name and value among them.',
    );
  return new CsvReader(names, FIELDS);
}
