import { Ingest, type IngestLimits } from '../../src/cli/ingest/ingest.js';
import { Input } from '../../src/cli/ingest/input.js';
import type { Format, Recipe } from '../../src/cli/ingest/plan.js';
import { parseSighting, parseSum, parseTemplate, parseWhere } from '../../src/cli/ingest/template.js';
import { ManualClock } from '../support/manual-clock.js';
import type { FakeTarget } from './fake-target.js';

export function recipe(
  format: Format,
  {
    count = [],
    sum = [],
    unique = [],
    where = [],
    time,
  }: { count?: string[]; sum?: string[]; unique?: string[]; where?: string[]; time?: string },
): Recipe {
  return {
    format,
    counts: count.map(parseTemplate),
    sums: sum.map(parseSum),
    sightings: unique.map(parseSighting),
    wheres: where.map(parseWhere),
    ...(time !== undefined && { time }),
  };
}

/** An input that comes in chunks of a size, and can seek if asked to. */
export function inputOf(text: string | Buffer, { chunk = 1 << 16, seekable = false } = {}): Input {
  const bytes = Buffer.from(text);
  async function* chunksFrom(offset: number): AsyncGenerator<Buffer> {
    for (let at = offset; at < bytes.length; at += chunk) yield bytes.subarray(at, at + chunk);
  }
  return new Input(chunksFrom(0), seekable ? { length: bytes.length, reopenAt: chunksFrom } : {});
}

export function ingestOf(
  input: Input,
  target: FakeTarget,
  what: Recipe,
  {
    resumable = false,
    limits = {},
    clock = new ManualClock(),
  }: {
    resumable?: boolean;
    limits?: Partial<IngestLimits>;
    clock?: ManualClock;
  } = {},
): Ingest {
  const all = { operations: 8_192, bytes: 512 * 1024, roundBytes: 4 << 20, idleMilliseconds: 1_000, ...limits };
  return new Ingest(input, target, { recipe: what, resumable, clock, limits: all });
}

export const sorted = (values: ReadonlyMap<string, bigint>): [string, bigint][] =>
  [...values].sort(([a], [b]) => (a < b ? -1 : 1));
