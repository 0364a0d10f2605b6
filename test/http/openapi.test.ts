import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { openApi } from '../../src/http/openapi.js';
import { openApiText, routes } from '../../src/http/routes.js';
import { sharedHttp } from './http-harness.js';

const shared = sharedHttp();
const PATH = join(import.meta.dirname, '../../docs/openapi.json');

describe('the OpenAPI document', () => {
  it('is valid, and one with a mistake is not', async () => {
    expect(await new Validator().validate(JSON.parse(openApiText))).toEqual({ valid: true });
    const broken = JSON.parse(openApiText);
    broken.paths['/v1/increment'].post.responses = undefined;
    broken.paths['/v1/increment'].post.parameters[0].in = 'nowhere';
    expect((await new Validator().validate(broken)).valid).toBe(false);
  });

  it('is docs/openapi.json: npm run openapi writes it anew', () => {
    expect(readFileSync(PATH, 'utf8')).toBe(openApiText);
  });

  it('is what the server answers', async () => {
    const answer = await shared().http.get('/openapi.json');
    expect(answer.headers['content-type']).toBe('application/json');
    expect(answer.text).toBe(openApiText);
  });

  it('leads each of its references somewhere', () => {
    const document = JSON.parse(openApiText);
    const references = [...openApiText.matchAll(/"\$ref": "#\/components\/schemas\/(\w+)"/g)].map(
      ([, name = '']) => name,
    );
    expect(new Set(references)).toContain('Problem');
    for (const name of references) expect(document.components.schemas).toHaveProperty(name);
    expect(openApiText).not.toContain('$defs');
  });

  it('has every route but itself, each under a name of its own', () => {
    const ids = routes.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const { paths } = openApi(routes) as { paths: Record<string, object> };
    expect(Object.values(paths).flatMap((methods) => Object.keys(methods))).toHaveLength(routes.length);
    for (const { id } of routes) if (id !== 'getOpenApi') expect(openApiText).toContain(`"operationId": "${id}"`);
  });
});
