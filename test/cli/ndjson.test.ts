import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NdjsonReader } from '../../src/cli/ingest/ndjson.js';
import { fieldsOf } from './reading.js';

const read = (line: string, ...fields: string[]): (string | null)[] =>
  fieldsOf(new NdjsonReader(fields), line, fields.length);

describe('ndjson', () => {
  it('gives strings by content, numbers and booleans by their JSON text', () => {
    const line = ' { "s" : "a\\u00e9\\n\\"", "n":12345678901234567890 , "f": 1.0e2, "t":true,"u":false } ';
    expect(read(line, 's', 'n', 'f', 't', 'u')).toEqual(['aé\n"', '12345678901234567890', '1.0e2', 'true', 'false']);
  });

  it('knows a missing key from one that holds no value', () => {
    const noValue = '!an object, an array or null where text, a number or a boolean is needed';
    expect(read('{"o":{"x":1},"a":[1,"]"],"z":null,"x":2}', 'o', 'a', 'z', 'x', 'y')).toEqual([
      noValue,
      noValue,
      noValue,
      '2',
      null,
    ]);
  });

  it('looks at the keys of the outermost object only, and takes the last of equal ones', () => {
    expect(read('{"in":{"k":"inner"},"k":"first","k":"last"}', 'k')).toEqual(['last']);
    expect(read('{"\\u006b":1,"__proto__":"p","a.b":3}', 'k', '__proto__', 'a.b')).toEqual(['1', 'p', '3']);
    expect(read('{}', 'k')).toEqual([null]);
  });

  it.each(['', '{"k":1', '{"k":1} x', '{k:1}', "{'k':1}", '{"k":01}'])('refuses %j as no JSON', (line) => {
    expect(read(line, 'k')).toEqual(['!not valid JSON']);
  });

  it.each(['1', '"k"', 'null', '[{"k":1}]'])('refuses %j as no object', (line) => {
    expect(read(line, 'k')).toEqual(['!not a JSON object']);
  });

  it('refuses half a character, which UTF-8 would turn into another name', () => {
    expect(read('{"k":"\\ud800"}', 'k')).toEqual(['!not valid UTF-8']);
    expect(read('{"k":"\\ud83d\\ude00"}', 'k')).toEqual(['😀']);
  });

  it('agrees with JSON.parse on any object', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })),
        fc.constantFrom(0, 1),
        (object, indent) => {
          const line = JSON.stringify(object, null, indent).replaceAll('\n', ' ');
          const keys = Object.keys(object);
          const naive = keys.map((key) => {
            const value = (object as Record<string, unknown>)[key];
            if (typeof value === 'string') return value;
            return typeof value === 'object' ? undefined : JSON.stringify(value);
          });
          for (const [index, value] of read(line, ...keys).entries())
            if (naive[index] !== undefined) expect(value).toBe(naive[index]);
            else expect(value).toMatch(/^!an object/);
        },
      ),
    );
  });
});
