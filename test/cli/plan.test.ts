import { describe, expect, it } from 'vitest';
import { type Format, Plan } from '../../src/cli/ingest/plan.js';
import { Unreadable } from '../../src/cli/ingest/record.js';
import { parseSum, parseTemplate, parseWhere } from '../../src/cli/ingest/template.js';
import { recipe } from './ingesting.js';

describe('a template', () => {
  it.each([
    ['views:{path}', ['views:', ''], ['path']],
    ['{a}{b}-{a}', ['', '', '-', ''], ['a', 'b', 'a']],
    ['plain', ['plain'], []],
    ['likes{{post:{id}}}', ['likes{post:', '}'], ['id']],
    ['{{{id}}}', ['{', '}'], ['id']],
    ['}}{{', ['}{'], []],
  ])('parses %s', (source, literals, fields) => {
    expect(parseTemplate(source)).toEqual({ source, literals, fields });
  });

  it.each(['{', '}', 'a{b', 'a}b', '{}', '{id}}', '{{id}', '{a{b}', ''])('refuses %j', (source) => {
    expect(() => parseTemplate(source)).toThrow(/^INVALID_ARGUMENT: .*\{\{/);
  });
});

describe('a sum and a condition', () => {
  it('splits a sum at its last equals sign and a condition at its first', () => {
    expect(parseSum('a=b:{c}=d')).toMatchObject({ template: { source: 'a=b:{c}' }, field: 'd' });
    expect(parseWhere('a=b=c')).toEqual({ field: 'a', value: 'b=c' });
    expect(parseWhere('a=')).toEqual({ field: 'a', value: '' });
  });

  it.each(['abc', '=a', 'a='])('refuses the sum %j', (source) => {
    expect(() => parseSum(source)).toThrow('TEMPLATE=FIELD');
  });

  it.each(['abc', '=a'])('refuses the condition %j', (source) => {
    expect(() => parseWhere(source)).toThrow('FIELD=VALUE');
  });
});

describe('a plan', () => {
  const run = (plan: Plan, line: string): unknown => {
    const bytes = Buffer.from(line);
    const verdict = plan.read(bytes, 0, bytes.length, false);
    if (verdict instanceof Unreadable) return verdict.reason;
    return verdict === 'used' ? plan.names.map((name, index) => [name, plan.deltas[index]]) : verdict;
  };
  const csv = (what: Parameters<typeof recipe>[1], header = ['shop', 'cents', 'currency']): Plan =>
    new Plan(recipe('csv', what), header);

  it('makes all increments of a line', () => {
    const plan = csv({ count: ['sales:{shop}', 'sales'], sum: ['cents:{shop}=cents'] });
    expect(run(plan, 'Ulm,-250,EUR')).toEqual([
      ['sales:Ulm', 1n],
      ['sales', 1n],
      ['cents:Ulm', -250n],
    ]);
  });

  it('uses a line whole or not at all', () => {
    const plan = csv({ count: ['sales:{shop}'], sum: ['cents:{shop}=cents'] });
    expect(run(plan, 'Ulm,2.5,EUR')).toBe('cents is not a 64-bit integer');
    expect(run(plan, 'Ulm')).toBe('fewer fields than the header');
    expect(run(plan, 'Ulm,-,EUR')).toEqual([
      ['sales:Ulm', 1n],
      ['cents:Ulm', 0n],
    ]);
  });

  it.each([
    ['9223372036854775807', true],
    ['9223372036854775808', false],
    ['-9223372036854775808', true],
    ['-9223372036854775809', false],
    ['007', true],
    ['+1', false],
    ['', false],
    ['1e3', false],
    ['99999999999999999999', false],
  ])('sums %j: %s', (text, usable) => {
    const result = run(csv({ sum: ['x=cents'] }), `Ulm,${text},EUR`);
    expect(result).toEqual(usable ? [['x', BigInt(text)]] : 'cents is not a 64-bit integer');
  });

  it('filters out lines before it looks at their other fields', () => {
    const plan = csv({ sum: ['x=cents'], where: ['currency=EUR', 'shop=Ulm'] });
    expect(run(plan, 'Ulm,none,USD')).toBe('filtered');
    expect(run(plan, 'Bonn,1,EUR')).toBe('filtered');
    expect(run(plan, 'Ulm,1,EUR')).toEqual([['x', 1n]]);
    expect(run(plan, 'Ulm,1')).toBe('fewer fields than the header');
  });

  it('filters out an ndjson line that lacks the key of a condition, and reports one that lacks that of a template', () => {
    const plan = new Plan(recipe('ndjson', { count: ['e:{type}'], where: ['app=web'] }), []);
    expect(run(plan, '{"type":"view"}')).toBe('filtered');
    expect(run(plan, '{"app":"web"}')).toBe('no type');
    expect(run(plan, '{"app":"web","type":"view"}')).toEqual([['e:view', 1n]]);
  });

  it('refuses names that are empty or longer than 1,024 bytes', () => {
    const plan = csv({ count: ['{shop}'] });
    expect(run(plan, ',1,EUR')).toBe('a template gives an empty name');
    expect(run(plan, 'é'.repeat(512))).toEqual([['é'.repeat(512), 1n]]);
    expect(run(plan, `${'é'.repeat(512)}x`)).toBe('a template gives a name of more than 1,024 bytes');
  });

  it.each<[Format, string]>([
    ['combined', 'ip, time, method, path, status, bytes, referrer, agent'],
    ['csv', 'shop, cents'],
  ])('refuses an unknown field of %s and names the known ones', (format, known) => {
    for (const what of [{ count: ['{who}'] }, { sum: ['x=who'] }, { count: ['x'], where: ['who=1'] }])
      expect(() => new Plan(recipe(format, what), ['shop', 'cents'])).toThrow(
        `INVALID_ARGUMENT: There is no field 'who'. The fields are: ${known}.`,
      );
  });

  it('refuses a name that the header has twice', () => {
    expect(() => csv({ count: ['{a}'] }, ['a', 'b', 'a'])).toThrow("more than one 'a'");
    expect(run(csv({ count: ['{b}'] }, ['a', 'b', 'a']), '1,2,3')).toEqual([['2', 1n]]);
  });
});
