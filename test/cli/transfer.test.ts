import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Input } from '../../src/cli/ingest/input.js';
import { Unreadable } from '../../src/cli/ingest/record.js';
import {
  ENTRY_FORMATS,
  type Entry,
  type EntryFormat,
  EntryReader,
  entryLine,
  formatOf,
  headerLine,
} from '../../src/cli/transfer/entries.js';
import { Import, type ImportReport, type ImportTarget } from '../../src/cli/transfer/import.js';
import { TallystickError } from '../../src/errors.js';

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

/** Any text that is a name, and above all what a format could trip over. */
const name = fc
  .oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
    fc.string({
      unit: fc.constantFrom('"', ',', '\n', '\r', '\\', '\ufeff', '\u2028', '\u0000', ' ', 'é'),
      minLength: 1,
    }),
    fc.constantFrom('name', '__proto__', 'name,value', '"', '\r\n', '\u{1f600}', '{"name":"x"}', 'x'.repeat(1024)),
  )
  .filter((text) => Buffer.byteLength(text) <= 1024);
const value = fc.oneof(fc.bigInt({ min: MIN, max: MAX }), fc.constantFrom(MIN, MAX, 0n, -1n));

function fileOf(format: EntryFormat, entries: readonly Entry[]): Buffer {
  const header = headerLine(format);
  const lines = [...(header === undefined ? [] : [header]), ...entries.map((entry) => entryLine(format, entry))];
  return Buffer.from(lines.map((line) => `${line}\n`).join(''));
}

/** The bytes in pieces that end wherever they may. */
async function* pieces(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  const bounds = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  for (let index = 1; index < bounds.length; index += 1) yield bytes.subarray(bounds[index - 1], bounds[index]);
}

class Target implements ImportTarget {
  readonly values = new Map<string, bigint>();
  readonly reasons = new Set<string>();
  sets = 0;
  inFlight = 0;
  mostInFlight = 0;
  /** The SET that fails, by its number, and all behind it. */
  failsAt = Number.POSITIVE_INFINITY;

  async set(name: string, value: bigint, { reason }: { reason: string }): Promise<void> {
    const number = this.sets++;
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    await new Promise(setImmediate);
    this.inFlight -= 1;
    if (number >= this.failsAt) throw new TallystickError('MEMORY_FULL');
    this.values.set(name, value);
    this.reasons.add(reason);
  }
}

async function imported(
  format: EntryFormat,
  bytes: Buffer | string,
  { target = new Target(), cuts = [] as readonly number[] } = {},
): Promise<{ target: Target; report: ImportReport }> {
  const run = new Import(new Input(pieces(Buffer.from(bytes), cuts)), target, { format, reason: 'because' });
  await run.run();
  return { target, report: run.report };
}

describe.each(ENTRY_FORMATS)('%s', (format) => {
  it('gives back every name and value that was written, wherever the pieces of the file end', async () => {
    const entries = fc.uniqueArray(fc.record({ name, value }), { selector: (entry) => entry.name, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(entries, fc.array(fc.nat(), { maxLength: 8 }), async (entries, cuts) => {
        const { target, report } = await imported(format, fileOf(format, entries), { cuts });
        expect([...target.values]).toEqual(entries.map(({ name, value }) => [name, value]));
        expect(report).toEqual({ lines: entries.length, set: entries.length, unusable: 0, unusableLines: [] });
      }),
    );
  });

  it('has one line for a counter, whatever its name, to programs that know the format', () => {
    expect(entryLine(format, { name: 'likes:post:7', value: -42n })).toBe(
      format === 'csv' ? 'likes:post:7,-42' : '{"name":"likes:post:7","value":"-42"}',
    );
    expect(entryLine(format, { name: 'a "b",\nc', value: MAX })).toBe(
      format === 'csv'
        ? '"a ""b"",\nc",9223372036854775807'
        : '{"name":"a \\"b\\",\\nc","value":"9223372036854775807"}',
    );
  });

  it('quotes in csv what some program takes for a line end', () => {
    const line = entryLine(format, { name: 'a\rb', value: 1n });
    expect(line).toBe(format === 'csv' ? '"a\rb",1' : '{"name":"a\\rb","value":"1"}');
  });

  it('takes the same lines with CRLF, with a byte order mark, and without a line end at the end', async () => {
    const text = fileOf(format, [
      { name: 'a', value: 1n },
      { name: 'b', value: 2n },
    ]).toString();
    for (const variant of [text.replaceAll('\n', '\r\n'), `\ufeff${text}`, text.slice(0, -1)]) {
      const { target } = await imported(format, variant);
      expect([...target.values]).toEqual([
        ['a', 1n],
        ['b', 2n],
      ]);
    }
  });

  it('sets nothing from an empty input', async () => {
    if (format === 'ndjson') expect((await imported(format, '')).report.lines).toBe(0);
    else await expect(imported(format, '')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('a line that can not be used', () => {
  const reasonOf = (format: EntryFormat, header: string, line: string): string => {
    const bytes = Buffer.from(line);
    const read = new EntryReader(format, Buffer.from(header)).read(bytes, 0, bytes.length);
    return read instanceof Unreadable ? read.reason : `${read.name}=${read.value}`;
  };

  it.each([
    ['{"name":"a","value":"7"}', 'a=7'],
    ['{"value":7,"more":[1],"name":"a"}', 'a=7'],
    ['{"name":"a","value":-9223372036854775808}', 'a=-9223372036854775808'],
    ['{"name":"a","value":"9223372036854775808"}', 'value is not a 64-bit integer'],
    ['{"name":"a","value":-9223372036854775809}', 'value is not a 64-bit integer'],
    ['{"name":"a","value":1.5}', 'value is not a 64-bit integer'],
    ['{"name":"a","value":1e3}', 'value is not a 64-bit integer'],
    ['{"name":"a","value":true}', 'value is not a 64-bit integer'],
    ['{"name":"a","value":""}', 'value is not a 64-bit integer'],
    ['{"name":"a"}', 'no value'],
    ['{"value":"1"}', 'no name'],
    ['{"name":"","value":"1"}', 'the name is empty'],
    [`{"name":"${'é'.repeat(513)}","value":"1"}`, 'the name has more than 1,024 bytes'],
    ['{"name":"\\ud800","value":"1"}', 'not valid UTF-8'],
    ['{"name":{"a":1},"value":"1"}', 'an object, an array or null where text, a number or a boolean is needed'],
    ['', 'not valid JSON'],
    ['a,1', 'not valid JSON'],
  ])('of ndjson says why: %j', (line, reason) => {
    expect(reasonOf('ndjson', '', line)).toBe(reason);
  });

  it.each([
    ['name,value', 'a,7', 'a=7'],
    ['x,value,y,name', '1,7,,a', 'a=7'],
    ['"name","value"', '"a","7"', 'a=7'],
    ['name,value', 'a', 'fewer fields than the header'],
    ['name,value', ',7', 'the name is empty'],
    ['name,value', 'a, 7', 'value is not a 64-bit integer'],
    ['name,value', '"a"b,7', 'text between a closing quote and the next comma'],
    ['name,value', '', 'fewer fields than the header'],
  ])('of csv under %j says why: %j', (header, line, reason) => {
    expect(reasonOf('csv', header, line)).toBe(reason);
  });

  it.each([['a,1'], ['name'], ['name,value,name'], ['"name,value']])('is no header of csv: %j', (header) => {
    expect(() => new EntryReader('csv', Buffer.from(header))).toThrow(/INVALID_ARGUMENT: .*name and value/);
  });

  it('is counted and told by its number, and the others are set', async () => {
    const csv = 'name,value\na,1\nb,x\n"c\nd",2\n,3\ne,4\n';
    const { target, report } = await imported('csv', csv);
    expect([...target.values]).toEqual([
      ['a', 1n],
      ['c\nd', 2n],
      ['e', 4n],
    ]);
    expect(report).toEqual({
      lines: 5,
      set: 3,
      unusable: 2,
      unusableLines: [
        { line: 3, reason: 'value is not a 64-bit integer' },
        { line: 6, reason: 'the name is empty' },
      ],
    });
  });

  it('is told for the first thousand, and counted for all', async () => {
    const { report } = await imported('ndjson', 'x\n'.repeat(1_500));
    expect(report).toMatchObject({ lines: 1_500, set: 0, unusable: 1_500 });
    expect(report.unusableLines).toHaveLength(1_000);
    expect(report.unusableLines.at(-1)).toEqual({ line: 1_000, reason: 'not valid JSON' });
  });
});

describe('an import', () => {
  const many = fileOf(
    'ndjson',
    Array.from({ length: 5_000 }, (_, i) => ({ name: `n${i}`, value: BigInt(i) })),
  );

  it('has many SETs on their way, but no more than it may', async () => {
    const { target } = await imported('ndjson', many);
    expect(target.values.size).toBe(5_000);
    expect(target.mostInFlight).toBeGreaterThan(500);
    expect(target.mostInFlight).toBeLessThanOrEqual(1_000);
    expect([...target.reasons]).toEqual(['because']);
  });

  it('lets the later of two lines hold', async () => {
    const entries = [1n, 2n, 3n].map((value) => ({ name: 'a', value }));
    expect([...(await imported('csv', fileOf('csv', entries))).target.values]).toEqual([['a', 3n]]);
  });

  it('stops at a failure, awaits what is on its way, and says what was set', async () => {
    const target = new Target();
    target.failsAt = 700;
    const run = new Import(new Input(pieces(many, [])), target, { format: 'ndjson', reason: 'because' });
    await expect(run.run()).rejects.toMatchObject({ code: 'MEMORY_FULL' });
    expect(target.inFlight).toBe(0);
    expect(run.report.set).toBe(700);
    expect(target.sets).toBeLessThan(5_000);
  });
});

it('the format is known by the ending of a file', () => {
  const endings = ['a.csv', 'a.CSV.gz', 'a.ndjson', 'a.jsonl', 'csv', '-', undefined];
  expect(endings.map(formatOf)).toEqual(['csv', 'csv', 'ndjson', 'ndjson', 'ndjson', 'ndjson', 'ndjson']);
});
