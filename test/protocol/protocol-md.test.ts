import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { codeOfStatus, OK } from '../../src/errors.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import * as control from '../../src/protocol/control.js';
import * as expiry from '../../src/protocol/expiry.js';
import { encodeFrame, FrameReader } from '../../src/protocol/frame.js';
import * as history from '../../src/protocol/history.js';
import * as once from '../../src/protocol/once.js';
import { ANSWER, Flag, LANE, Opcode, requestRule } from '../../src/protocol/opcode.js';
import { murmur3, partitionHash, partitionOf } from '../../src/protocol/partition-hash.js';
import * as request from '../../src/protocol/request.js';
import * as response from '../../src/protocol/response.js';
import * as tail from '../../src/protocol/tail.js';
import * as uniques from '../../src/protocol/uniques.js';
import * as window from '../../src/protocol/window.js';

const page = readFileSync(new URL('../../protocol.md', import.meta.url), 'utf8');
const utf8 = (text: string) => new TextEncoder().encode(text);

interface Meaning {
  readonly request?: keyof typeof Opcode;
  readonly answer?: keyof typeof Opcode;
  readonly flags: readonly (keyof typeof Flag)[];
  readonly partition: number | 'lane';
  readonly requestId: number;
  readonly body: unknown;
}

interface Frame {
  readonly opcode: number;
  readonly flags: number;
  readonly partition: number;
  readonly requestId: number;
  readonly body: Uint8Array;
}

/** A title, lines of hexadecimal, and JSON from the first line with a brace on. */
function parseExample(block: string): { title: string; bytes: Uint8Array; meaning: Meaning } {
  const [title = '', ...lines] = block.trimEnd().split('\n');
  const json = lines.findIndex((line) => line.startsWith('{'));
  const hex = lines.slice(0, json).join('').replaceAll(/[ |]/g, '');
  return {
    title,
    bytes: Uint8Array.from(Buffer.from(hex, 'hex')),
    meaning: JSON.parse(lines.slice(json).join('\n')),
  };
}

const examples = [...page.matchAll(/^```example\n(.*?)^```$/gms)].map((match) => parseExample(match[1] ?? ''));

/** A decoder, and the encoder that undoes it. */
interface Codec<T> {
  decode(frame: Frame, meaning: Meaning): T;
  encode(writer: ByteWriter, value: T): void;
}
const codec = <T>(decode: Codec<T>['decode'], encode: Codec<T>['encode']) => ({ decode, encode }) as Codec<unknown>;

const ping = codec(
  ({ body }) => body.slice(),
  (writer, value) => writer.bytes(value),
);
/** What the feed follows whose frames are shown. */
const FOLLOWED = ['likes{post:7}', 'views{post:7}'];
const CODECS: Record<string, Codec<unknown>> = {
  'request HELLO': codec(({ body }) => control.decodeHelloRequest(body), control.encodeHelloRequest),
  'answer HELLO': codec(({ body }) => control.decodeHelloAnswer(body), control.encodeHelloAnswer),
  'request PING': ping,
  'answer PING': ping,
  'request OPEN': codec(({ body }) => request.decodeOpen(body), request.encodeOpen),
  'answer OPEN': codec(({ body }) => response.decodeOpenAnswer(body), response.encodeOpenAnswer),
  'request ADD': codec(({ body, flags }) => request.decodeAdd(body, flags), request.encodeAdd),
  'answer ADD': codec(({ body }, meaning) => {
    const { values } = meaning.body as { values: unknown[] };
    return response.decodeAddAnswer(body, values.length, values.length > 0);
  }, response.encodeAddAnswer),
  'request GET': codec(({ body, flags }) => request.decodeGet(body, flags), request.encodeGet),
  'answer GET': codec(({ body }) => response.decodeGetAnswer(body), response.encodeGetAnswer),
  'request SET': codec(({ body, flags }) => request.decodeSet(body, flags), request.encodeSet),
  'answer SET': codec(({ body }) => response.decodeSetAnswer(body), response.encodeSetAnswer),
  'request DELETE': codec(({ body, flags }) => request.decodeDelete(body, flags), request.encodeDelete),
  'answer DELETE': codec(({ body }) => response.decodeSetAnswer(body), response.encodeSetAnswer),
  'request LIST': codec(({ body }) => request.decodeList(body), request.encodeList),
  'answer LIST': codec(({ body }) => response.decodeListAnswer(body), response.encodeListAnswer),
  'request SEE': codec(({ body, flags }) => uniques.decodeSee(body, flags), uniques.encodeSee),
  'answer SEE': codec(({ body }, meaning) => {
    const { seen } = meaning.body as { seen: unknown[] };
    return uniques.decodeSeeAnswer(body, seen.length, seen.length > 0);
  }, uniques.encodeSeeAnswer),
  'request MERGE': codec(({ body, flags }) => uniques.decodeMerge(body, flags), uniques.encodeMerge),
  'answer MERGE': codec(({ body }) => uniques.decodeMergeAnswer(body), uniques.encodeMergeAnswer),
  'request UNIQUES': codec(({ body, flags }) => uniques.decodeUniques(body, flags), uniques.encodeUniques),
  'answer UNIQUES': codec(({ body }, meaning) => {
    const { wanted } = meaning.body as { wanted: uniques.Wanted };
    return uniques.decodeUniquesAnswer(body, wanted);
  }, uniques.encodeUniquesAnswer),
  'request WINDOW': codec(({ body, flags }) => window.decodeWindow(body, flags), window.encodeWindow),
  'answer WINDOW': codec(({ body }) => window.decodeWindowAnswer(body), window.encodeWindowAnswer),
  'request HISTORY': codec(({ body, flags }) => history.decodeHistory(body, flags), history.encodeHistory),
  'answer HISTORY': codec(({ body }) => history.decodeHistoryAnswer(body), history.encodeHistoryAnswer),
  'request EXPIRE': codec(({ body, flags }) => expiry.decodeExpire(body, flags), expiry.encodeExpire),
  'answer EXPIRE': codec(({ body }) => expiry.decodeExpireAnswer(body), expiry.encodeExpireAnswer),
  'request ONCE': codec(({ body, flags }) => once.decodeOnce(body, flags), once.encodeOnce),
  'answer ONCE': codec(({ body }, meaning) => {
    const { counted, values } = meaning.body as { counted: unknown[]; values: unknown[] };
    return once.decodeOnceAnswer(body, counted.length, values.length > 0);
  }, once.encodeOnceAnswer),
  'request EXPIRY': codec(({ body, flags }) => request.decodeGet(body, flags), request.encodeGet),
  'answer EXPIRY': codec(({ body }) => expiry.decodeExpiryAnswer(body), expiry.encodeExpiryAnswer),
  'request TAIL': codec(({ body, flags }) => tail.decodeTail(body, flags), tail.encodeTail),
  'answer TAIL': codec(
    ({ body }) => tail.decodeTailAnswer(body, FOLLOWED),
    (writer, answer) => tail.encodeTailAnswer(writer, answer, FOLLOWED),
  ),
  'request SYNC': codec(
    ({ body }) => {
      expect(body).toHaveLength(0);
    },
    () => {},
  ),
  'answer SYNC': codec(({ body }) => response.decodeSyncAnswer(body), response.encodeSyncAnswer),
  'request STATS': codec(({ body }) => control.decodeStatsRequest(body), control.encodeStatsRequest),
  'answer STATS': codec<control.StatsAnswer | { lanes: control.StatsAnswer[] }>(
    ({ body }, meaning) =>
      'lanes' in (meaning.body as object) ? { lanes: control.decodeAllStats(body) } : control.decodeStatsAnswer(body),
    (writer, value) =>
      Array.isArray(value.lanes)
        ? control.encodeAllStats(writer, value.lanes)
        : control.encodeStatsAnswer(writer, value as control.StatsAnswer),
  ),
  'answer ERROR': codec(({ body }) => response.decodeError(body), response.encodeError),
};

/** A decoded value as the page writes it. */
function asOnThePage(key: string, value: unknown): unknown {
  if (key === 'status') return value === OK ? 'OK' : value === 1 ? 'ABSENT' : codeOfStatus(value as number);
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map((item) => asOnThePage('', item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, asOnThePage(name, item)]));
}

function readFrame(bytes: Uint8Array): Frame {
  const frames: Frame[] = [];
  new FrameReader().push(bytes, (frame) => frames.push({ ...frame, body: frame.body.slice() }));
  expect(frames).toHaveLength(1);
  return frames[0] as Frame;
}

function namesIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) =>
    typeof item === 'string' && key !== 'name' ? [] : namesIn(item),
  );
}

describe('The examples of protocol.md', () => {
  test('show every request and every answer', () => {
    const shown = examples.map(({ meaning }) =>
      meaning.request ? `request ${meaning.request}` : `answer ${meaning.answer}`,
    );
    expect([...new Set(shown)].sort()).toEqual(Object.keys(CODECS).sort());
    expect(examples.length).toBeGreaterThan(25);
  });

  for (const { title, bytes, meaning } of examples) {
    test(`${title}: decodes to what it says and encodes to its bytes`, () => {
      const name = meaning.request ?? meaning.answer ?? 'ERROR';
      const frame = readFrame(bytes);
      expect(frame.opcode).toBe(name === 'ERROR' ? Opcode.ERROR : Opcode[name] | (meaning.answer ? ANSWER : 0));
      expect(frame.flags).toBe(meaning.flags.reduce((flags, flag) => flags | Flag[flag], 0));
      expect(frame.partition).toBe(meaning.partition === 'lane' ? LANE : meaning.partition);
      expect(frame.requestId).toBe(meaning.requestId);

      const { decode, encode } = CODECS[`${meaning.request ? 'request' : 'answer'} ${name}`] as Codec<unknown>;
      const value = decode(frame, meaning);
      if (value !== undefined) expect(asOnThePage('', value)).toStrictEqual(meaning.body);

      const writer = new ByteWriter();
      encode(writer, value);
      const again = encodeFrame(frame.opcode, frame.flags, frame.partition, frame.requestId, writer.view());
      expect(Buffer.from(again).toString('hex')).toBe(Buffer.from(bytes).toString('hex'));
    });

    if (meaning.request) {
      test(`${title}: has the flags and the partition that its opcode allows`, () => {
        const rule = requestRule(Opcode[meaning.request ?? 'ERROR']);
        expect(meaning.flags.filter((flag) => !((rule?.flags ?? 0) & Flag[flag]))).toEqual([]);
        expect(meaning.partition === 'lane').toBe(rule?.addresses === 'lane');
        if (typeof meaning.partition !== 'number') return;
        const { operations, sightings, names, keys, key } = meaning.body as {
          operations?: { key: unknown }[];
          sightings?: { key: unknown }[];
          names?: string[];
          keys?: unknown;
          key?: unknown;
        };
        const named = namesIn(
          (operations ?? sightings)?.map((operation) => operation.key) ??
            names?.map((name) => ({ name })) ??
            keys ??
            key ??
            meaning.body,
        );
        for (const counter of named) {
          const encoded = utf8(counter);
          expect([counter, partitionOf(encoded, 0, encoded.length, 4)]).toEqual([counter, meaning.partition]);
        }
      });
    }
  }
});

test('The table of hashes of protocol.md holds', () => {
  const rows = [...page.matchAll(/^\| `(.+)` \| `(.+)` \| `([0-9a-f]{8})` \|$/gm)];
  expect(rows).toHaveLength(7);
  for (const [, name = '', key = '', hash] of rows) {
    const [nameBytes, keyBytes] = [utf8(name), utf8(key)];
    expect([name, partitionHash(nameBytes, 0, nameBytes.length).toString(16).padStart(8, '0')]).toEqual([name, hash]);
    expect([key, murmur3(keyBytes, 0, keyBytes.length).toString(16).padStart(8, '0')]).toEqual([key, hash]);
  }
});

test('The tables of opcodes and flags of protocol.md are those of opcode.ts', () => {
  const rows = [...page.matchAll(/^\| (\d+) \| ([A-Z]+) \| (lane|partition) \|.*\| (\d+)(?:,|\b)/gm)];
  expect(rows.map(([, , name]) => name)).toEqual(Object.keys(Opcode).filter((name) => name !== 'ERROR'));
  for (const [, opcode, name = '', addresses, answer] of rows) {
    expect(Opcode[name as keyof typeof Opcode]).toBe(Number(opcode));
    expect(requestRule(Number(opcode))?.addresses).toBe(addresses);
    expect(Number(opcode) | ANSWER).toBe(Number(answer));
  }
  const flags = [...page.matchAll(/^\| ([A-Z]+) \| (\d+) \| ([A-Za-z, ]+) \|/gm)];
  expect(Object.fromEntries(flags.map(([, name, bit]) => [name, Number(bit)]))).toEqual(Flag);
  for (const [, name = '', bit, on = ''] of flags) {
    if (name === 'REPEATED' || name === 'MORE') continue;
    const allowed = Object.values(Opcode).filter((opcode) => (requestRule(opcode)?.flags ?? 0) & Number(bit));
    expect([name, allowed]).toEqual([name, on.split(', ').map((opcode) => Opcode[opcode as keyof typeof Opcode])]);
  }
});
