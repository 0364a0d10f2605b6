import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ABSENT, ERRORS, OK } from '../../src/errors.js';
import { KERNEL_VERSION, Kind, MAXIMUM_PAGES, PAGE_BYTES, REPEATED, UNCHANGED } from '../../src/partition/partition.js';
import { ByteReader } from '../../src/protocol/bytes.js';
import { DEFAULT_LIMITS, Flag, Opcode } from '../../src/protocol/opcode.js';
import { OPERATION_ID_BYTES } from '../../src/protocol/request.js';

/** What holds the parts together: the module's shape, and constants that are written down twice. */

const Section = { IMPORT: 2, MEMORY: 5, GLOBAL: 6, START: 8, DATA: 11, CODE: 10, DATA_COUNT: 12 } as const;

/** The sections of a WebAssembly module: a number, a length, the bytes. */
function sectionsOf(module: Uint8Array): Map<number, Uint8Array> {
  const reader = new ByteReader(module, 8);
  const sections = new Map<number, Uint8Array>();
  while (reader.remaining > 0) {
    const id = reader.u8();
    sections.set(id, reader.bytes(reader.varint()));
  }
  return sections;
}

/** The mutability of each global; the kernel has none, so its initial expression need only be passed over. */
function mutableGlobals(section: Uint8Array | undefined): number {
  if (!section) return 0;
  const reader = new ByteReader(section);
  let mutable = 0;
  for (let count = reader.varint(); count > 0; count--) {
    reader.u8(); // type
    mutable += reader.u8();
    while (reader.u8() !== 0x0b); // up to the end of the expression; constants of the kernel hold no such byte
  }
  return mutable;
}

const wasm = readFileSync(new URL('../../dist/wasm/kernel.wasm', import.meta.url));

describe('The module', () => {
  const sections = sectionsOf(wasm);

  test('has no global that could change, no data, no table of its own and nothing that runs at the start', () => {
    expect(sections.has(Section.CODE)).toBe(true);
    expect(mutableGlobals(sections.get(Section.GLOBAL))).toBe(0);
    for (const id of [Section.DATA, Section.DATA_COUNT, Section.START, Section.MEMORY])
      expect(sections.has(id)).toBe(false);
  });

  test('the reader of globals sees a mutable one', () => {
    expect(mutableGlobals(Uint8Array.of(2, 0x7f, 0, 0x41, 5, 0x0b, 0x7f, 1, 0x41, 5, 0x0b))).toBe(1);
  });

  test('imports its memory and nothing else: neither time nor chance comes in', () => {
    expect(WebAssembly.Module.imports(new WebAssembly.Module(wasm))).toEqual([
      { module: 'env', name: 'memory', kind: 'memory' },
    ]);
  });

  test('has no floating point but the milliseconds that it is given, and what reads estimate or tell as the host has numbers', () => {
    const folder = new URL('../../src/kernel/', import.meta.url);
    const others = new Set(['checksum.ts', 'sketch.ts', 'marked.ts']);
    const sources = readdirSync(folder).filter((file) => !others.has(file));
    const lines = sources.flatMap((file) => readFileSync(new URL(file, folder), 'utf8').split('\n'));
    expect(lines.filter((line) => /\bf(32|64)\b/.test(line)).map((line) => line.match(/\w+: f64/)?.[0])).toEqual([
      'milliseconds: f64',
      'milliseconds: f64',
      'milliseconds: f64',
      'milliseconds: f64',
      'milliseconds: f64',
    ]);
  });
});

/** `export const NAME: u32 = value` of a file, with sums and products of names and numbers. */
function constantsOf(path: string, pattern: RegExp): Map<string, number> {
  const constants = new Map<string, number>();
  const numberOf = (text: string): number => {
    const terms = text
      .split(' + ')
      .map((term) => term.split(' * ').map((factor) => constants.get(factor) ?? Number(factor.replaceAll('_', ''))));
    return terms.reduce((sum, factors) => sum + factors.reduce((product, factor) => product * factor, 1), 0);
  };
  const source = readFileSync(new URL(path, import.meta.url), 'utf8');
  for (const [, name = '', text = ''] of source.matchAll(pattern)) constants.set(name, numberOf(text));
  return constants;
}

describe('The constants of the kernel', () => {
  const layout = constantsOf('../../src/kernel/layout.ts', /^export const (\w+): u(?:32|64) = ([^;]+);/gm);
  const host = new Map(
    ['partition', 'configuration', 'partition-state', 'marks'].flatMap((file) => [
      ...constantsOf(`../../src/partition/${file}.ts`, /^(?:export )?const ([A-Z]\w+) = ([\w +]+);/gm),
    ]),
  );
  const at = (name: string) => layout.get(name) ?? Number.NaN;

  test('are all read as numbers', () => {
    expect(layout.size).toBeGreaterThan(80);
    expect([...layout.values(), ...host.values()].every(Number.isSafeInteger)).toBe(true);
  });

  test('agree with the table of errors', () => {
    const statuses = {
      OK,
      ABSENT,
      ...Object.fromEntries(Object.entries(ERRORS).map(([code, { status }]) => [code, status])),
    };
    const known = Object.entries(statuses).filter(([code]) => layout.has(code));
    expect(known.length).toBe(27);
    for (const [code, status] of known) expect([code, at(code)]).toEqual([code, status]);
    expect(at('UNCHANGED')).toBe(UNCHANGED);
    expect(at('REPEATED')).toBe(REPEATED);
  });

  test('agree with the opcodes, flags and limits of the protocol', () => {
    for (const code of ['OPEN', 'ADD', 'SET', 'DELETE'] as const)
      expect([code, at(code)]).toEqual([code, Opcode[code]]);
    for (const flag of ['ATOMIC', 'VALUES', 'SEQUENCED'] as const) expect([flag, at(flag)]).toEqual([flag, Flag[flag]]);
    for (const kind of ['OPEN_PRODUCER', 'TICK', 'CONFIGURE', 'STEPS'] as const)
      expect([kind, at(kind)]).toEqual([kind, Kind[kind]]);
    expect({
      frame: at('RECEIVE_BYTES'),
      batch: at('MAX_OPERATIONS'),
      name: at('MAX_NAME'),
      cursor: at('MAX_CURSOR'),
      reason: at('MAX_REASON'),
      window: at('WINDOW'),
    }).toEqual({
      frame: DEFAULT_LIMITS.frame,
      batch: DEFAULT_LIMITS.batch,
      name: DEFAULT_LIMITS.name,
      cursor: DEFAULT_LIMITS.cursor,
      reason: DEFAULT_LIMITS.reason,
      window: DEFAULT_LIMITS.window,
    });
    expect(OPERATION_ID_BYTES).toBe(16);
  });

  test('agree with what its host has of them', () => {
    const shared = [...host].filter(([name]) => layout.has(name));
    expect(shared.length).toBeGreaterThanOrEqual(20);
    for (const [name, value] of shared) expect([name, value]).toEqual([name, at(name)]);
    expect([at('PAGE'), at('MAX_PAGES'), at('KERNEL_VERSION')]).toEqual([PAGE_BYTES, MAXIMUM_PAGES, KERNEL_VERSION]);
    expect(at('MARKS') + at('MARKED_SLOTS') / 8).toBe(at('SCRATCH'));
    const addresses = [...host.keys()].filter((name) =>
      /^(REGISTER|H)_|^(HEADER|ANSWER|RECEIVE|MAGIC|MARK)/.test(name),
    );
    expect(addresses.filter((name) => !layout.has(name))).toEqual([]);
  });

  test('leave each area room for the most that it takes', () => {
    const record = 40;
    const overread = 2048; // a name, two varints and an extension past the end of a body
    expect(at('RECEIVE') + at('RECEIVE_BYTES') + overread).toBeLessThanOrEqual(at('SCRATCH'));
    expect(at('SCRATCH') + at('MAX_OPERATIONS') * record).toBeLessThanOrEqual(at('ANSWER'));
    expect(at('ANSWER') + 40 + at('MAX_OPERATIONS') * 21).toBeLessThanOrEqual(at('DIRTY'));
    expect(at('ANSWER') + at('MARKS_OF_A_CALL') * 12).toBeLessThanOrEqual(at('DIRTY'));
    expect(at('DIRTY') + 2 * at('DIRTY_BYTES')).toBeLessThanOrEqual(at('TOUCHED'));
    expect(at('TOUCHED') + at('MAX_OPERATIONS') * 16).toBeLessThanOrEqual(at('GONE_NAMES'));
    expect(at('GONE_NAMES') + at('GONE_NAMES_BYTES')).toBe(at('EMITTED'));
    const row = 12 + 60 * 6; // an hour of minutes of 32 bits
    expect(at('EMITTED') + at('MAX_OPERATIONS') * row).toBeLessThanOrEqual(at('HEADER') - at('MAX_OPERATIONS') * 32);
    expect(at('SCRATCH') + at('LIST_NAMES') * 4).toBeLessThanOrEqual(at('ANSWER'));
    expect(at('ANSWER') + 10 + at('LIST_BYTES')).toBeLessThanOrEqual(at('DIRTY'));
    expect(at('LIST_BYTES')).toBeGreaterThan(at('MAX_NAME') + 12);
    expect(at('NAME_HOLES')).toBeGreaterThanOrEqual(at('OPERATION_INDEX_DIRECTORY') + 0x1000);
    expect(at('NAME_HOLES') + 2 * (at('MAX_NAME') + 2) + 4).toBeLessThanOrEqual(at('FREE_BLOCKS'));
    expect(at('FREE_BLOCKS') + 4 * 40).toBeLessThanOrEqual(at('CLASS_TABLES'));
    expect(at('CLASS_TABLES') + 2 * (at('MAX_CLASSES') + 1) * 128).toBeLessThanOrEqual(at('HEADER') + at('PAGE'));
    expect(at('SLOT_DIRECTORY') + (at('MAX_SLOTS') / 4096) * 4).toBeLessThanOrEqual(at('NAME_INDEX_DIRECTORY'));
    expect(at('PRODUCER_DIRECTORY') + (at('MAX_PRODUCERS') / 1024) * 4).toBeLessThanOrEqual(
      at('PRODUCER_INDEX_DIRECTORY'),
    );
    expect(at('OPERATION_DIRECTORY') + (at('MAX_OPERATION_IDS') / 4096) * 4).toBeLessThanOrEqual(
      at('OPERATION_INDEX_DIRECTORY'),
    );
    const buckets = 1024 * 6; // items that a segment of an index takes before it grows
    expect((at('FIRST_PAGE') * at('PAGE') - at('NAME_INDEX_DIRECTORY')) / 4).toBeGreaterThan(at('MAX_SLOTS') / buckets);
    expect(0x1000 / 4).toBeGreaterThan(at('MAX_OPERATION_IDS') / buckets);
    expect(0x1000 / 4).toBeGreaterThan(at('MAX_PRODUCERS') / buckets);
  });

  test('of the header do not overlap', () => {
    const source = readFileSync(new URL('../../src/kernel/layout.ts', import.meta.url), 'utf8');
    const fields = [...layout].filter(
      ([name]) => name.startsWith('H_') || /^(NAME|PRODUCER|OPERATION)_INDEX$/.test(name),
    );
    expect(fields.length).toBeGreaterThan(35);
    expect(new Set(fields.map(([, address]) => address)).size).toBe(fields.length);
    const drawn = [...source.matchAll(/(\d+) (?:[ui](?:32|64) |\w+ index \(32 B\))/g)].map(([, offset]) =>
      Number(offset),
    );
    for (const [name, address] of fields) expect([name, drawn.includes(address - at('HEADER'))]).toEqual([name, true]);
  });
});
