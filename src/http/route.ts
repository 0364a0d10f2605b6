import { z } from 'zod';
import type { Client } from '../client/index.js';
import { type ErrorCode, TallystickError } from '../errors.js';
import type { Admission, Load } from './admission.js';
import type { Figures } from './figures.js';
import type { Gatherer } from './gatherer.js';
import { refuse } from './schemas.js';

/** What the routes share: each is a row that the router, the checks and OpenAPI read. */

export interface RouteCall<Q, B> {
  readonly client: Client;
  /** For what many ask at a time. */
  readonly gatherer: Gatherer;
  /** What /metrics tells of HTTP. */
  readonly figures: Figures;
  readonly admission: Admission;
  /** What stands for `{name}` in the path; empty where it has none. */
  readonly name: string;
  readonly query: Q;
  readonly body: B;
  /** `Idempotency-Key`. */
  readonly key: string | undefined;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** May end in `/{name}`. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly load: Load;
  /** Whether `Idempotency-Key` makes it happen once, means nothing as it can be repeated anyway, or would be a promise that is not kept. */
  readonly key: 'taken' | 'needless' | 'refused';
  readonly query: z.ZodObject;
  readonly body: z.ZodType | undefined;
  readonly answer: z.ZodType;
  /** The media type of its answer, where that is not JSON; `run` then gives its text. */
  readonly type?: string;
  /** Codes of its problems, besides those that every route may have. */
  readonly codes: readonly ErrorCode[];
  readonly run: (call: RouteCall<string | undefined, unknown>) => Promise<unknown>;
}

type RouteRow<Q extends z.ZodRawShape, B extends z.ZodType> = Omit<
  Route,
  'query' | 'body' | 'run' | 'codes' | 'key'
> & {
  readonly query: Q;
  readonly body?: B;
  readonly key?: Route['key'];
  readonly codes?: readonly ErrorCode[];
  readonly handle: (call: RouteCall<z.output<z.ZodObject<Q>>, z.output<B>>) => Promise<unknown>;
};

/** Makes a route of a row: what `run` is given is checked before `handle` sees it. */
export function route<const Q extends z.ZodRawShape, B extends z.ZodType = z.ZodUndefined>(row: RouteRow<Q, B>): Route {
  const { handle, body, codes = [], key = 'needless', ...rest } = row;
  const query = z.strictObject(row.query);
  type Query = z.output<z.ZodObject<Q>>;
  // What a request without a query is given; undefined where it needs one
  const empty = query.safeParse({});
  return {
    ...rest,
    key,
    codes,
    query,
    body,
    run: (call) => {
      const asked =
        call.query === undefined && empty.success ? empty.data : checked(query, parseQuery(call.query ?? ''));
      const sent = body === undefined ? undefined : checked(body, call.body);
      return handle({ ...call, query: asked as Query, body: sent as z.output<B> });
    },
  };
}

/** Throws INVALID_ARGUMENT. */
function checked<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : refuse(parsed.error);
}

/** A parameter that is given twice becomes a list, which no schema takes. Throws INVALID_ARGUMENT for what is no UTF-8. */
function parseQuery(text: string): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = Object.create(null);
  for (const part of text.split('&')) {
    if (part === '') continue;
    const mark = part.indexOf('=');
    const key = decode(mark < 0 ? part : part.slice(0, mark));
    const value = mark < 0 ? '' : decode(part.slice(mark + 1));
    found[key] = key in found ? [found[key] as string, value] : value;
  }
  return found;
}

/** As forms write it: not as URLSearchParams reads it, which makes one and the same name of all that is no UTF-8. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new TallystickError('INVALID_ARGUMENT', 'The query is no percent-encoded UTF-8.');
  }
}
