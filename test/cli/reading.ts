import { type FieldReader, Unreadable } from '../../src/cli/ingest/record.js';

/** All fields of one record: text, null for an absent one, `!reason` for one that can't be read. */
export function fieldsOf(reader: FieldReader, record: string | Buffer, count: number): (string | null)[] {
  // Between other bytes, so that a reader which looks past the record's ends is seen.
  const bytes = Buffer.from(record);
  const around = Buffer.concat([Buffer.from('"x" ,'), bytes, Buffer.from('", "y": 1} 200 [')]);
  reader.load(around, 5, 5 + bytes.length);
  return Array.from({ length: count }, (_, index) => {
    const value = reader.field(index);
    return value instanceof Unreadable ? `!${value.reason}` : value;
  });
}
