import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CsvReader, csvFields } from '../../src/cli/ingest/csv.js';
import { fieldsOf } from './reading.js';

const header = ['a', 'b', 'c'];
const read = (record: string, ...fields: string[]): (string | null)[] =>
  fieldsOf(new CsvReader(header, fields), record, fields.length);

describe('csv', () => {
  it('gives fields by the names of the header, in any order', () => {
    expect(read('1,2,3', 'c', 'a')).toEqual(['3', '1']);
    expect(read(',,', 'a', 'b', 'c')).toEqual(['', '', '']);
  });

  it('takes quoted fields with commas, doubled quotes and line ends', () => {
    expect(read('"x, ""y""\n",2,"', 'a', 'b', 'c')).toEqual(['x, "y"\n', '2', '!a quoted field is not closed']);
    expect(read('"",2,""""', 'a', 'c')).toEqual(['', '"']);
  });

  it('needs no more of the record than the fields that are asked for', () => {
    expect(read('1,2', 'a', 'b')).toEqual(['1', '2']);
    expect(read('1,2', 'c', 'a')).toEqual(['!fewer fields than the header', '1']);
    expect(read('1,"open', 'a')).toEqual(['1']);
    expect(read('1,2,3,4,5', 'c')).toEqual(['3']);
  });

  it('refuses text behind a closing quote, and takes a quote inside an unquoted field', () => {
    expect(read('"1"x,5" nails', 'a', 'b')).toEqual(['!text between a closing quote and the next comma', '5" nails']);
  });

  it('gives back what was written as RFC 4180 says', () => {
    const value = fc
      .array(fc.constantFrom('"', ',', '\n', '\r', 'x', 'é'), { maxLength: 6 })
      .map((all) => all.join(''));
    fc.assert(
      fc.property(fc.array(value, { minLength: 3, maxLength: 3 }), (values) => {
        const record = values.map((text) => `"${text.replaceAll('"', '""')}"`).join(',');
        expect(read(record, ...header)).toEqual(values);
        expect(csvFields(Buffer.from(record))).toEqual(values);
      }),
    );
  });
});
