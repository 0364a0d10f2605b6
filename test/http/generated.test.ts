import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Route } from '../../src/http/route.js';
import { openApiText, routes } from '../../src/http/routes.js';
import { type Answer, sharedHttp } from './http-harness.js';
import { fitting, type Schema, unfitting } from './json-schema.js';

/**
 * The document drives requests, right and broken ones: none fails the server, each answer is one that the document has, and
 * every error is a problem document. `npm run fuzz:http` sends more of them.
 */

const { TALLYSTICK_HTTP_REQUESTS: wished, TALLYSTICK_HTTP_SEED: seed } = process.env;
const REQUESTS = Number(wished ?? 2_000);
/** The same ones each time, unless more or others are wished. */
const SEED = seed ?? (wished === undefined ? '42' : undefined);
const TIMEOUT_MILLISECONDS = 300_000 + 50 * REQUESTS;
const shared = sharedHttp();

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required: boolean;
  readonly schema: Schema;
}
interface Operation {
  readonly operationId: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Schema }> };
  readonly responses: Readonly<Record<string, unknown>>;
}

const document = JSON.parse(openApiText) as {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, Schema> };
};
const resolve = (reference: string) => document.components.schemas[reference.split('/').at(-1) as string] as Schema;

interface Request {
  readonly operation: Operation;
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly { readonly parameter: Parameter; readonly value: unknown }[];
  readonly body: unknown;
}

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
);

/** Of each operation once, since to make them takes longer than to send what they give. */
const valid: fc.Arbitrary<Request> = fc.oneof(
  ...operations.map(({ path, method, operation }) => {
    const values = operation.parameters.map((parameter) => {
      const value = fitting(parameter.schema, resolve);
      const found = parameter.required ? value : fc.option(value, { nil: undefined });
      return found.map((value) => ({ parameter, value }));
    });
    const schema = operation.requestBody?.content['application/json']?.schema;
    const body = schema ? fitting(schema, resolve) : fc.constant(undefined);
    return fc.tuple(fc.tuple(...values), body).map(
      ([parameters, body]): Request => ({
        ...{ operation, method, path, body },
        parameters: parameters.filter(({ value }) => value !== undefined),
      }),
    );
  }),
);

/** As it is sent. */
interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

function sentOf({ method, path, parameters, body }: Request): Sent {
  const named = (place: Parameter['in']) => parameters.filter(({ parameter }) => parameter.in === place);
  const encode = (value: unknown) => encodeURIComponent(String(value).replace(/[\ud800-\udfff]/gu, ''));
  const [name] = named('path');
  const query = named('query').flatMap(({ parameter, value }) =>
    [value].flat().map((each) => `${parameter.name}=${encode(each)}`),
  );
  const filled = name ? path.replace('{name}', encode(name.value)) : path;
  return {
    method,
    path: query.length > 0 ? `${filled}?${query.join('&')}` : filled,
    headers: Object.fromEntries(named('header').map(({ parameter, value }) => [parameter.name, String(value)])),
    body: body === undefined ? undefined : JSON.stringify(body),
  };
}

/** The same request with something wrong: in its body, its text, its target or its head. */
const wrong = valid.chain((request) => {
  const sent = sentOf(request);
  const target = fc
    .tuple(fc.nat(sent.path.length), fc.constantFrom('%', '%ff', '&read=x', '?', '&a=1&a=2', '/', '+', '%00', '='))
    .map(([at, piece]) => ({
      ...sent,
      path: `${sent.path.slice(0, Math.max(1, at))}${piece}${sent.path.slice(Math.max(1, at))}`,
    }));
  const method = fc
    .constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS')
    .map((other) => ({ ...sent, method: other }));
  const head = fc
    .constantFrom(
      ['Accept', 'text/html'],
      ['Content-Type', 'text/plain'],
      ['Host', 'evil.example'],
      ['Idempotency-Key', 'a b'],
      ['Accept', ';q=,,'],
    )
    .map(([key = '', value = '']) => ({ ...sent, headers: { ...sent.headers, [key]: value } }));
  if (sent.body === undefined) return fc.oneof(target, method, head);
  const text = sent.body;
  const cut = fc.nat(text.length).map((at) => ({ ...sent, body: text.slice(0, at) }));
  const other = unfitting(request.body).map((body) => ({ ...sent, body: JSON.stringify(body) }));
  return fc.oneof({ weight: 4, arbitrary: other }, cut, target, method, head);
});

const ask = ({ method, path, headers, body }: Sent): Promise<Answer> =>
  shared().http.ask(method, path, { headers, body });

function expectProblem({ status, headers, json }: Answer): void {
  expect(headers['content-type']).toBe('application/problem+json');
  expect(json).toMatchObject({ status, code: expect.stringMatching(/^[A-Z_]+$/), title: expect.any(String) });
  expect(json.type).toBe(`urn:tallystick:error:${json.code}`);
  expect(json.retryable).toBeTypeOf('boolean');
  expect(['refused', 'unknown', 'applied']).toContain(json.outcome);
}

const options = { numRuns: REQUESTS / 2, ...(SEED !== undefined && { seed: Number(SEED) }) };

describe('requests that the document drives', () => {
  it(
    `are answered as it says (${REQUESTS / 2} of them)`,
    async () => {
      const statuses = new Map<string, Set<number>>();
      await fc.assert(
        fc.asyncProperty(valid, async (request) => {
          const { operationId, responses } = request.operation;
          const answer = await ask(sentOf(request));
          expect(answer.status).toBeLessThan(500);
          expect(Object.keys(responses)).toContain(String(answer.status));
          statuses.set(operationId, (statuses.get(operationId) ?? new Set()).add(answer.status));
          if (answer.status !== 200) expectProblem(answer);
          else if (answer.json) (routes.find(({ id }) => id === operationId) as Route).answer.parse(answer.json);
        }),
        options,
      );
      // It would be easy to be right about nothing but refusals
      for (const { operation } of operations)
        expect([operation.operationId, ...(statuses.get(operation.operationId) ?? [])]).toContain(200);
    },
    TIMEOUT_MILLISECONDS,
  );

  it(
    `and are broken then never fail the server (${REQUESTS / 2} of them)`,
    async () => {
      let refused = 0;
      await fc.assert(
        fc.asyncProperty(wrong, async (sent) => {
          const answer = await ask(sent);
          expect(answer.status).toBeLessThan(500);
          if (answer.status === 200) return;
          refused++;
          if (sent.method !== 'HEAD') expectProblem(answer);
        }),
        options,
      );
      expect(refused).toBeGreaterThan(REQUESTS / 8);
      const { service } = shared();
      expect(service.admission).toMatchObject({ requests: 0, bodyBytes: 0 });
      // All streams were left
      while (service.streams.count > 0) await new Promise((resolve) => setImmediate(resolve));
    },
    TIMEOUT_MILLISECONDS,
  );
});
