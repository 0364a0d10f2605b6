import { z } from 'zod';
import { TallystickError } from '../errors.js';

/** The values that requests and answers are made of. They check form alone and change nothing, so that OpenAPI can say the same. */

const DECIMAL = '-?(0|[1-9][0-9]{0,18})';

/** A signed 64-bit number of a request: JavaScript, like most readers of JSON, would round one beyond 2^53-1. */
export const int64In = z
  .union([z.int(), z.string().regex(new RegExp(`^${DECIMAL}$`))], {
    error: 'a whole number up to 2^53-1, or a string of one of 64 bits',
  })
  .meta({ description: 'A signed 64-bit number: as a number up to 2^53-1, as a decimal string beyond.' });

/** The same in a query, where all is text. */
export const int64Text = z
  .string()
  .regex(new RegExp(`^${DECIMAL}$`), 'a whole number of 64 bits')
  .meta({ description: 'A signed 64-bit number.' });

/** A signed 64-bit number of an answer. */
export const int64Out = z
  .union([z.string().regex(new RegExp(`^${DECIMAL}$`)), z.int()])
  .meta({ description: 'A decimal string; a number with `numbers=true`.' });

export const counterName = z
  .string()
  .min(1)
  .max(1_024)
  .meta({
    description: 'The name of a counter, 1 to 1,024 bytes of UTF-8.',
    examples: ['views:/', 'visitors:/', 'stock:lamp'],
  });

export const reason = z.string().min(1).max(256).meta({ description: 'For the audit log, 1 to 256 bytes of UTF-8.' });

export const ack = z
  .enum(['durable', 'applied'])
  .meta({ description: 'Answer when it is flushed to the device (`durable`, the default), or when it is in memory.' });

export const read = z
  .enum(['durable', 'latest'])
  .meta({ description: 'Show what is flushed (`durable`, the default), or all that was applied so far.' });

const instantMeta = {
  description: 'Milliseconds since 1970, or a time in ISO 8601 with its zone.',
  examples: ['2020-01-01T12:00:00Z'],
};

/** An instant in a query; the client's library says what counts as one. */
export const instantText = z.string().min(1).max(64).meta(instantMeta);

/** The same in a body. */
export const instant = z
  .union([z.int().min(0), z.string().min(1).max(64)], { error: 'a time such as "2026-11-27T12:00:00Z"' })
  .meta(instantMeta);

/** How long something is. */
export const duration = z
  .string()
  .regex(/^[0-9]{1,12}(ms|s|m|h|d)$/, 'a duration such as "90s", "5m", "1h" or "7d"')
  .meta({ description: 'A duration.', examples: ['5m', '1h', '1d'] });

export const milliseconds = z.int().min(0).meta({ description: 'Milliseconds since 1970.' });

/** What is seen, or counted once, under a name. */
export const item = z
  .string()
  .min(1)
  .max(1_024)
  .meta({ description: '1 to 1,024 bytes of UTF-8.', examples: ['203.0.113.9'] });

export const errorOut = z
  .strictObject({
    code: z.string(),
    title: z.string(),
    detail: z.string().optional(),
    retryable: z.boolean(),
    outcome: z.enum(['refused', 'unknown', 'applied']),
  })
  .meta({ id: 'Error', description: 'What went wrong, and what became of the operation.' });

const numbers = z
  .enum(['true', 'false'])
  .meta({ description: 'Whether values are numbers instead of strings; 422 for those beyond 2^53-1.' });

/** Of routes that answer values. */
export const valueQuery = { numbers: numbers.optional() };
/** Of routes that read. */
export const readQuery = { read: read.optional() };

export type ValueOut = string | number;

/** What an answer says of values. Throws VALUE_UNSAFE. */
export function valueWriter(query: { readonly numbers?: 'true' | 'false' | undefined }): (value: bigint) => ValueOut {
  return query.numbers === 'true' ? safeNumber : String;
}

function safeNumber(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new TallystickError('VALUE_UNSAFE', `The value is ${value}.`);
}

/** A number of a request, as the SDK takes it. */
export const toBigint = (value: string | number): bigint => BigInt(value);

/** The delta of a request: a number where it is one, which takes less. */
export const toAmount = (delta: string | number): bigint | number =>
  typeof delta === 'number' ? delta : BigInt(delta);

export const toInstant = (text: string): string | number => (/^[0-9]+$/.test(text) ? Number(text) : text);

/** Leaves out keys that have no value. */
export function given<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const all = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(all) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** What is wrong with a request, in a sentence. Throws INVALID_ARGUMENT. */
export function refuse(error: z.ZodError): never {
  throw new TallystickError('INVALID_ARGUMENT', `${describe(error.issues).slice(0, 1_000)}.`);
}

function describe(issues: readonly z.core.$ZodIssue[]): string {
  return issues.map((issue) => meantBy(issue) ?? `${pathOf(issue)}: ${issue.message}`).join('; ');
}

const pathOf = ({ path }: z.core.$ZodIssue): string => path.join('.') || 'the request';

/** Of a choice that nothing fits, what is wrong with the choice that was likely meant: with the fewest mistakes. */
function meantBy(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code !== 'invalid_union' || issue.path.length > 0) return undefined;
  const [likely] = [...issue.errors].sort((a, b) => a.length - b.length);
  return likely && describe(likely);
}
