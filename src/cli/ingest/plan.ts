import { TallystickError } from '../../errors.js';
import { COMBINED_FIELDS, type CombinedField, CombinedReader } from './combined.js';
import { CsvReader } from './csv.js';
import { NdjsonReader } from './ndjson.js';
import { type FieldReader, Unreadable } from './record.js';
import type { Sighting, Sum, Template, Where } from './template.js';
import { parseLogTime, parseTime } from './time.js';

export const FORMATS = ['combined', 'csv', 'ndjson'] as const;
export type Format = (typeof FORMATS)[number];

/** What an ingest was asked to do with each record. */
export interface Recipe {
  readonly format: Format;
  readonly counts: readonly Template[];
  readonly sums: readonly Sum[];
  readonly sightings: readonly Sighting[];
  readonly wheres: readonly Where[];
  /** The field that says when a record's increments happened; without one it is when they are counted. */
  readonly time?: string;
}

/** Each template adds at most one operation per record; this keeps the operations of one record far below a batch. */
export const MAX_TEMPLATES = 100;
export const MAX_NAME_BYTES = 1024;

const MIN_I64 = -(2n ** 63n);
const MAX_I64 = 2n ** 63n - 1n;
const MINUTE = 60_000;
const INTEGER = /^-?[0-9]{1,19}$/;

const TOO_LONG = new Unreadable('longer than 1 MiB');
const NOT_A_TIME = new Unreadable('the field of --time holds no time that can be read');
const NAME_EMPTY = new Unreadable('a template gives an empty name');
const ITEM_UNUSABLE = new Unreadable('a template gives an item that has not 1 to 1,024 bytes');
const NAME_TOO_LONG = new Unreadable('a template gives a name of more than 1,024 bytes');

/** A template whose fields are indexes among the distinct fields of the recipe. */
interface BoundTemplate {
  readonly literals: readonly string[];
  readonly fields: readonly number[];
}

export type Verdict = 'used' | 'filtered' | Unreadable;

/**
 * A recipe bound to a reader. Of a record it makes all increments and sightings or none: `names` and `deltas`, `seenUnder` and `seen`, in the order
 * of the templates, are valid after the verdict 'used' and until the next call.
 */
export class Plan {
  readonly names: string[] = [];
  readonly deltas: bigint[] = [];
  /** Names, and beside each the item that was seen under it. */
  readonly seenUnder: string[] = [];
  readonly seen: string[] = [];
  /** Where the minute begins in which the record's increments happened, in milliseconds since 1970, if the recipe has times. */
  minute: number | undefined;

  readonly #reader: FieldReader;
  readonly #wheres: readonly { readonly field: number; readonly value: string }[];
  readonly #templates: readonly BoundTemplate[];
  readonly #sightings: readonly { readonly name: BoundTemplate; readonly item: BoundTemplate }[];
  /** For each template the field that is added, or -1 to add 1. */
  readonly #addends: readonly number[];
  readonly #time: { readonly field: number; readonly parse: (text: string) => number | undefined } | undefined;
  readonly #missing: readonly Unreadable[];
  readonly #notANumber: readonly Unreadable[];

  /** @throws TallystickError INVALID_ARGUMENT if a field is unknown to the format, naming those that it has */
  constructor(recipe: Recipe, header: readonly string[]) {
    const fields = fieldsOf(recipe);
    const indexOf = (field: string): number => fields.indexOf(field);
    this.#reader = readerOf(recipe.format, fields, header);
    this.#wheres = recipe.wheres.map(({ field, value }) => ({ field: indexOf(field), value }));
    const templates = [...recipe.counts, ...recipe.sums.map((sum) => sum.template)];
    const bound = ({ literals, fields }: Template) => ({ literals, fields: fields.map(indexOf) });
    this.#templates = templates.map(bound);
    this.#sightings = recipe.sightings.map(({ name, item }) => ({ name: bound(name), item: bound(item) }));
    this.#addends = [...recipe.counts.map(() => -1), ...recipe.sums.map((sum) => indexOf(sum.field))];
    const parse = recipe.format === 'combined' ? parseLogTime : parseTime;
    this.#time = recipe.time === undefined ? undefined : { field: indexOf(recipe.time), parse };
    this.#missing = fields.map((field) => new Unreadable(`no ${field}`));
    this.#notANumber = fields.map((field) => new Unreadable(`${field} is not a 64-bit integer`));
  }

  read(bytes: Buffer, start: number, end: number, tooLong: boolean): Verdict {
    if (tooLong) return TOO_LONG;
    this.#reader.load(bytes, start, end);
    for (const where of this.#wheres) {
      const value = this.#reader.field(where.field);
      if (value instanceof Unreadable) return value;
      if (value !== where.value) return 'filtered';
    }
    const untimed = this.#readMinute();
    if (untimed !== undefined) return untimed;
    for (let index = 0; index < this.#templates.length; index += 1) {
      const problem = this.#makeName(index) ?? this.#makeDelta(index);
      if (problem !== undefined) return problem;
    }
    for (let index = 0; index < this.#sightings.length; index += 1) {
      const problem = this.#makeSighting(index);
      if (problem !== undefined) return problem;
    }
    return 'used';
  }

  #readMinute(): Unreadable | undefined {
    if (this.#time === undefined) return undefined;
    const { field, parse } = this.#time;
    const value = this.#reader.field(field);
    if (typeof value !== 'string') return value ?? this.#missing[field];
    const time = parse(value);
    if (time === undefined) return NOT_A_TIME;
    this.minute = time - (time % MINUTE);
    return undefined;
  }

  #makeName(index: number): Unreadable | undefined {
    const name = this.#fill(this.#templates[index] as BoundTemplate);
    if (typeof name !== 'string') return name;
    if (name === '') return NAME_EMPTY;
    if (isTooLong(name)) return NAME_TOO_LONG;
    this.names[index] = name;
    return undefined;
  }

  #makeSighting(index: number): Unreadable | undefined {
    const sighting = this.#sightings[index] as { readonly name: BoundTemplate; readonly item: BoundTemplate };
    const [name, item] = [this.#fill(sighting.name), this.#fill(sighting.item)];
    if (typeof name !== 'string') return name;
    if (typeof item !== 'string') return item;
    if (name === '') return NAME_EMPTY;
    if (isTooLong(name)) return NAME_TOO_LONG;
    if (item === '' || isTooLong(item)) return ITEM_UNUSABLE;
    this.seenUnder[index] = name;
    this.seen[index] = item;
    return undefined;
  }

  /** The text that a template gives of the record, or why there is none. */
  #fill({ literals, fields }: BoundTemplate): string | Unreadable {
    let text = literals[0] as string;
    for (let at = 0; at < fields.length; at += 1) {
      const field = fields[at] as number;
      const value = this.#reader.field(field);
      if (typeof value !== 'string') return value ?? (this.#missing[field] as Unreadable);
      text += value + (literals[at + 1] as string);
    }
    return text;
  }

  #makeDelta(index: number): Unreadable | undefined {
    const field = this.#addends[index] as number;
    if (field < 0) {
      this.deltas[index] = 1n;
      return undefined;
    }
    const value = this.#reader.field(field);
    if (typeof value !== 'string') return value ?? this.#missing[field];
    if (value === '-') {
      this.deltas[index] = 0n;
      return undefined;
    }
    if (!INTEGER.test(value)) return this.#notANumber[field];
    const delta = BigInt(value);
    if (delta < MIN_I64 || delta > MAX_I64) return this.#notANumber[field];
    this.deltas[index] = delta;
    return undefined;
  }
}

/** Names and items alike. */
function isTooLong(text: string): boolean {
  return text.length * 3 > MAX_NAME_BYTES && Buffer.byteLength(text) > MAX_NAME_BYTES;
}

/** The distinct fields that a recipe uses. */
function fieldsOf({ counts, sums, sightings, wheres, time }: Recipe): string[] {
  const seen = sightings.flatMap(({ name, item }) => [name, item]);
  const templates = [...counts, ...sums.map((sum) => sum.template), ...seen];
  const names = [...wheres, ...sums].map(({ field }) => field);
  return [...new Set([...templates.flatMap(({ fields }) => fields), ...names, ...(time === undefined ? [] : [time])])];
}

function readerOf(format: Format, fields: readonly string[], header: readonly string[]): FieldReader {
  if (format === 'ndjson') return new NdjsonReader(fields);
  const known = format === 'csv' ? header : COMBINED_FIELDS;
  for (const field of fields) checkField(field, known);
  return format === 'csv' ? new CsvReader(header, fields) : new CombinedReader(fields as CombinedField[]);
}

function checkField(field: string, known: readonly string[]): void {
  const list = `The fields are: ${known.join(', ')}.`;
  if (!known.includes(field)) throw new TallystickError('INVALID_ARGUMENT', `There is no field '${field}'. ${list}`);
  if (known.indexOf(field) !== known.lastIndexOf(field))
    throw new TallystickError('INVALID_ARGUMENT', `The header has more than one '${field}'. ${list}`);
}
