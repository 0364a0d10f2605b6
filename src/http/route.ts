import { z } from 'zod';
import type { Client } from '../client/index.js';
import { type ErrorCode, TallystickError } from '../errors.js';
import type { Admission, Load } from './admission.js';
import type { Figures } from './figures.js';
import type { Gatherer } from './gatherer.js';
import { refuse } from './schemas.js';
import type { Source } from './stream.js';

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
  /** `Last-Event-ID`. */
  readonly lastEventId: string | undefined;
  /** Of a stream: so many feeds of lanes it will have. Throws OVERLOADED. */
  readonly claim: (feeds: number) => void;
}

type UncheckedCall = RouteCall<string | undefined, unknown>;

/** Where the answer to a request goes. One of the two is called, once. */
export interface Ending {
  /** With the text of the answer, or what is to be written as JSON. */
  answered(result: unknown): void;
  failed(error: unknown): void;
}

interface RouteHead {
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
  /** Of a stream: whether Last-Event-ID means anything to it. */
  readonly resumes?: true;
  /** Codes of its problems, besides those that every route may have. */
  readonly codes: readonly ErrorCode[];
}

/** Answered by how `run` ends, or by what `open` gives for as long as the client stays. Both throw for what is wrong with the request. */
export type Route = RouteHead &
  (
    | { readonly run: (call: UncheckedCall, ending: Ending) => void; readonly open?: never }
    | { readonly open: (call: UncheckedCall) => Source; readonly run?: never }
  );

interface RowHead<Q extends z.ZodRawShape> extends Omit<RouteHead, 'query' | 'body' | 'codes' | 'key'> {
  readonly query: Q;
  readonly codes?: readonly ErrorCode[];
}

type QueryOf<Q extends z.ZodRawShape> = z.output<z.ZodObject<Q>>;

interface AnsweredRow<Q extends z.ZodRawShape, B extends z.ZodType> extends RowHead<Q> {
  readonly body?: B;
  readonly key?: Route['key'];
}

interface RouteRow<Q extends z.ZodRawShape, B extends z.ZodType> extends AnsweredRow<Q, B> {
  readonly handle: (call: RouteCall<QueryOf<Q>, z.output<B>>) => Promise<unknown>;
}

interface GatheredRow<Q extends z.ZodRawShape, B extends z.ZodType> extends AnsweredRow<Q, B> {
  readonly gather: (call: RouteCall<QueryOf<Q>, z.output<B>>, ending: Ending) => void;
}

interface StreamRow<Q extends z.ZodRawShape> extends RowHead<Q> {
  readonly open: (call: RouteCall<QueryOf<Q>, undefined>) => Source;
}

/** Makes a route of a row: what `run` is given is checked before `handle` sees it. */
export function route<const Q extends z.ZodRawShape, B extends z.ZodType = z.ZodUndefined>({
  handle,
  ...rest
}: RouteRow<Q, B>): Route {
  return gatheredRoute<Q, B>({ ...rest, gather: (call, ending) => endAs(handle(call), ending) });
}

/** The same of one that many ask at a time: `gather` ends its requests itself, without a promise for each. */
export function gatheredRoute<const Q extends z.ZodRawShape, B extends z.ZodType = z.ZodUndefined>(
  row: GatheredRow<Q, B>,
): Route {
  const { gather, body, codes = [], key = 'needless', ...rest } = row;
  const { query, read } = queryOf(row.query);
  return {
    ...rest,
    key,
    codes,
    query,
    body,
    run: (call, ending) => {
      const asked = read(call.query);
      const sent = body === undefined ? undefined : checked(body, call.body);
      gather({ ...call, query: asked, body: sent as z.output<B> }, ending);
    },
  };
}

/** Ends a request as the promise ends. */
export function endAs(promise: Promise<unknown>, ending: Ending): void {
  promise.then(
    (result) => ending.answered(result),
    (error: unknown) => ending.failed(error),
  );
}

/** The same of one that answers for as long as its client stays. */
export function streamRoute<const Q extends z.ZodRawShape>(row: StreamRow<Q>): Route {
  const { open, codes = [], ...rest } = row;
  const { query, read } = queryOf(row.query);
  const head = { ...rest, key: 'needless', codes, query, body: undefined } as const;
  return { ...head, open: (call) => open({ ...call, query: read(call.query), body: undefined }) };
}

/** The schema of a query, and what reads one. */
function queryOf<Q extends z.ZodRawShape>(shape: Q) {
  const query = z.strictObject(shape);
  const lists = new Set(Object.keys(shape).filter((key) => isList(shape[key] as z.ZodType)));
  // What a request without a query is given; undefined where it needs one
  const empty = query.safeParse({});
  const read = (text: string | undefined): QueryOf<Q> => {
    const asked = text === undefined && empty.success ? empty.data : checked(query, parseQuery(text ?? '', lists));
    return asked as QueryOf<Q>;
  };
  return { query, read };
}

const isList = (schema: z.ZodType): boolean =>
  schema instanceof z.ZodOptional ? isList(schema.unwrap() as z.ZodType) : schema instanceof z.ZodArray;

/** Throws INVALID_ARGUMENT. */
function checked<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : refuse(parsed.error);
}

/** A parameter that is given twice becomes a list, which no schema takes that is not one of `lists`. Throws INVALID_ARGUMENT for what is no UTF-8. */
function parseQuery(text: string, lists: ReadonlySet<string>): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = Object.create(null);
  for (const part of text.split('&')) {
    if (part === '') continue;
    const mark = part.indexOf('=');
    const key = decode(mark < 0 ? part : part.slice(0, mark));
    const value = mark < 0 ? '' : decode(part.slice(mark + 1));
    const known = found[key];
    if (Array.isArray(known)) known.push(value);
    else found[key] = known !== undefined ? [known, value] : lists.has(key) ? [value] : value;
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
