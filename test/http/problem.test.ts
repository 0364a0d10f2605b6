import { describe, expect, it } from 'vitest';
import { ERRORS, type ErrorCode, TallystickError } from '../../src/errors.js';
import { HTTP_CODES, problem, statusOf } from '../../src/http/problem.js';

describe('a problem', () => {
  it('says what each error of ours says', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      const { retryable, outcome, message } = ERRORS[code];
      const { status, type, body } = problem(new TallystickError(code, 'It is so.'));
      expect(type).toBe('application/problem+json');
      const said = {
        type: `urn:tallystick:error:${code}`,
        title: message,
        detail: 'It is so.',
        code,
        retryable,
        outcome,
      };
      expect(JSON.parse(body)).toEqual({ status, ...said });
    }
  });

  it('has a status that fits it: none of the client where its request may be repeated as it is', () => {
    const kept = { KEY_IN_PROGRESS: 409, QUOTA_EXCEEDED: 429, ITEMS_FULL: 429, REQUEST_TIMEOUT: 408, TIME_AHEAD: 422 };
    for (const code of HTTP_CODES) {
      const status = statusOf(code);
      expect(status).toBeGreaterThanOrEqual(400);
      if (ERRORS[code].retryable)
        expect([code, status >= 500 || (kept as Record<string, number>)[code] === status]).toEqual([code, true]);
    }
  });

  it('is of the server where nobody knows what became of the operation', () => {
    for (const [code, { outcome }] of Object.entries(ERRORS)) {
      if (outcome === 'unknown' && code !== 'KEY_IN_PROGRESS')
        expect(statusOf(code as ErrorCode)).toBeGreaterThanOrEqual(500);
    }
  });

  it.each([
    ['OVERLOADED', 503, '1'],
    ['QUOTA_EXCEEDED', 429, '1'],
    ['STORAGE_FULL', 507, '5'],
  ] as const)('of %s says when to come again', (code, status, seconds) => {
    const found = problem(new TallystickError(code));
    expect([found.status, found.headers]).toEqual([status, ['Retry-After', seconds]]);
  });
});
