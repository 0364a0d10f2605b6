import { z } from 'zod';
import type { ErrorCode } from '../errors.js';
import { HTTP_CODES, PROBLEM_TYPE, statusOf } from './problem.js';
import { JSON_TYPE } from './reply.js';
import type { Route } from './route.js';
import { errorOut } from './schemas.js';

/** The routes as OpenAPI 3.1, whose schemas are JSON Schema: those that check the requests, told in another way. */

type Json = Record<string, unknown>;

/** What any request may meet, and what one with a body. */
const ANY: readonly ErrorCode[] = [
  ...([
    'INVALID_ARGUMENT',
    'NAME_INVALID',
    'BAD_REQUEST',
    'NOT_ACCEPTABLE',
    'HOST_REFUSED',
    'INTERNAL',
    'OVERLOADED',
  ] as const),
  ...(['SHUTTING_DOWN', 'CONNECTION_LOST', 'TIMEOUT', 'VALUE_UNSAFE', 'HEADERS_TOO_LARGE', 'REQUEST_TIMEOUT'] as const),
];
const WITH_BODY: readonly ErrorCode[] = [
  'BODY_TOO_LARGE',
  'TOO_MANY_OPERATIONS',
  'FRAME_TOO_LARGE',
  'MEDIA_UNSUPPORTED',
];
const WRITING: readonly ErrorCode[] = ['MEMORY_FULL', 'STORAGE_FULL', 'QUOTA_EXCEEDED', 'PRODUCERS_FULL'];
const WITH_KEY: readonly ErrorCode[] = ['OPERATION_CONFLICT', 'KEY_IN_PROGRESS', 'OPERATIONS_FULL'];

const problemSchema = z
  .strictObject({
    type: z.string(),
    status: z.int(),
    ...errorOut.shape,
    code: z.enum(HTTP_CODES as [ErrorCode, ...ErrorCode[]]).or(z.string()),
    results: z.array(z.unknown()).optional().meta({ description: 'Of a batch of which nothing was applied.' }),
  })
  .meta({ id: 'Problem', description: 'RFC 9457: what went wrong, and what became of the operation.' });

/** The document of these routes. */
export function openApi(routes: readonly Route[]): Json {
  const schemas: Json = {};
  const problem = schemaOf(problemSchema, schemas);
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const methods = paths[route.path] ?? {};
    paths[route.path] = { ...methods, [route.method.toLowerCase()]: operationOf(route, problem, schemas) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Tallystick',
      version: '1',
      description: 'Counters over HTTP. Values go out as decimal strings; errors are problem documents (RFC 9457).',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: 'http://127.0.0.1:7080' }],
    paths,
    components: { schemas },
  };
}

function operationOf(route: Route, problem: Json, schemas: Json): Json {
  const { id, summary, body, answer, type = JSON_TYPE } = route;
  const good = { description: 'Done.', content: { [type]: { schema: schemaOf(answer, schemas) } } };
  return {
    operationId: id,
    summary,
    parameters: parametersOf(route, schemas),
    ...(body && {
      requestBody: { required: true, content: { [JSON_TYPE]: { schema: schemaOf(body, schemas) } } },
    }),
    responses: { 200: good, ...problemsOf(route, problem) },
  };
}

function parametersOf({ path, query, key, resumes }: Route, schemas: Json): Json[] {
  const named = path.endsWith('/{name}')
    ? [{ name: 'name', in: 'path', required: true, schema: { type: 'string', minLength: 1, maxLength: 1_024 } }]
    : [];
  const queried = Object.entries(query.shape as Record<string, z.ZodType>).map(([name, schema]) => ({
    name,
    in: 'query',
    required: !schema.safeParse(undefined).success,
    schema: schemaOf(schema, schemas),
  }));
  const header = {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description: 'The request happens once under it, within 10 minutes.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
  };
  const lastEventId = {
    name: 'Last-Event-ID',
    in: 'header',
    required: false,
    description: 'The id of an event: the stream goes on behind it. EventSource sends it by itself when it comes back.',
    schema: { type: 'string', pattern: '^[0-9a-f]{1,8}(-[0-9]{1,5}\\.[0-9]{1,15})*$' },
  };
  return [...named, ...queried, ...(key === 'taken' ? [header] : []), ...(resumes ? [lastEventId] : [])];
}

/** By status, with the codes that have it. */
function problemsOf({ body, load, key, codes }: Route, problem: Json): Record<number, Json> {
  const all = [...ANY, ...codes, ...(body ? WITH_BODY : []), ...(load === 'write' ? WRITING : [])];
  if (key === 'taken') all.push(...WITH_KEY);
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const code of all) byStatus.set(statusOf(code), (byStatus.get(statusOf(code)) ?? new Set()).add(code));
  return Object.fromEntries(
    [...byStatus].map(([status, found]) => {
      const description = [...found].sort().join(', ');
      return [status, { description, content: { [PROBLEM_TYPE]: { schema: problem } } }];
    }),
  );
}

/** A schema, with those that it names put among the document's. */
function schemaOf(schema: z.ZodType, schemas: Json): Json {
  const { $schema: _, $defs = {}, ...rest } = z.toJSONSchema(schema, { io: 'input' }) as Json;
  for (const [name, definition] of Object.entries($defs as Json)) schemas[name] = withRefs(definition);
  const found = withRefs(rest) as Json;
  const { id, ...own } = found;
  if (typeof id !== 'string') return found;
  schemas[id] = own;
  return { $ref: `#/components/schemas/${id}` };
}

/** References as a document has them. An id would make a schema a resource of its own, in which they lead nowhere. */
function withRefs(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withRefs);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, part]) => {
    if (key === '$ref') return [key, String(part).replace('#/$defs/', '#/components/schemas/')];
    return [key, withRefs(part)];
  });
  return Object.fromEntries(entries);
}
