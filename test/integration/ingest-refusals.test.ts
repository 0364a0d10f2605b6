import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ScratchServer, startScratchServer } from './ingest-programs.js';

let server: ScratchServer;
beforeAll(async () => {
  server = await startScratchServer();
});
afterAll(() => server.stop());

/** Each test has a producer, a file and counters of its own. */
let name: string;
let file: string;
let tests = 0;
beforeEach(() => {
  tests += 1;
  name = `t${tests}`;
  file = join(server.directory, `${name}.ndjson`);
});

/** Lines with the numbers `from` to `to`; each counts one `even` or `odd` and sums its number. */
function lines(from: number, to: number): string {
  const records = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  return records.map((n) => `{"n":${n},"kind":"${n % 2 === 0 ? 'even' : 'odd'}"}\n`).join('');
}

/** What `lines(1, to)` gives. */
function countsOf(to: number): Record<string, string> {
  const [even, odd] = [Math.floor(to / 2), Math.ceil(to / 2)];
  return { [`${name}:even`]: String(even), [`${name}:odd`]: String(odd), [`${name}:sum`]: String((to * (to + 1)) / 2) };
}

const counts = (): Promise<Record<string, string>> => server.values(Object.keys(countsOf(0)));
const recipe = (): string[] => ['--count', `${name}:{kind}`, '--sum', `${name}:sum=n`, '--producer', name];
const ingest = (...options: string[]) => server.run(['ingest', file, '--format', 'ndjson', ...options]);

describe('under a producer that has counted something else', () => {
  beforeEach(async () => {
    writeFileSync(file, lines(1, 1_000));
    expect((await ingest(...recipe())).status).toBe(0);
  });

  async function expectRefusal(reason: string, ...options: string[]): Promise<void> {
    const before = await server.counters();
    const { status, out, err } = await ingest(...options);
    expect({ status, out }).toEqual({ status: 1, out: '' });
    expect(err).toContain('INPUT_CHANGED: ');
    expect(err).toContain(reason);
    expect(err).toContain('or name another --producer');
    expect(await counts()).toEqual(countsOf(1_000));
    expect(await server.counters()).toBe(before);
  }

  it('another file is refused', async () => {
    writeFileSync(file, lines(2, 2_000));
    await expectRefusal('its first bytes differ', ...recipe());
  });

  it('a shorter file is refused', async () => {
    writeFileSync(file, lines(1, 999));
    await expectRefusal('shorter than', ...recipe());
  });

  it('other templates are refused, even where there is more to count', async () => {
    appendFileSync(file, lines(1_001, 1_010));
    await expectRefusal('what differs: --count.', ...recipe(), '--count', `${name}:new:{kind}`);
    await expectRefusal('what differs: --sum.', '--count', `${name}:{kind}`, '--producer', name);
    await expectRefusal('what differs: --where.', ...recipe(), '--where', 'kind=odd');
  });

  it('the refusal is in the JSON summary too', async () => {
    writeFileSync(file, lines(2, 2_000));
    const { status, out } = await ingest(...recipe(), '--json');
    expect(status).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ finished: false, error: { code: 'INPUT_CHANGED' }, lines: 0, batches: 0 });
  });

  it('the same file that has grown goes on, and the order of options is no change', async () => {
    appendFileSync(file, lines(1_001, 1_500));
    const swapped = ['--producer', name, '--sum', `${name}:sum=n`, '--count', `${name}:{kind}`];
    const { status, out } = await ingest(...swapped);
    expect(status).toBe(0);
    expect(out).toMatch(/^lines +500$/m);
    expect(out).toContain('Resumed behind line 1000,');
    expect(await counts()).toEqual(countsOf(1_500));
  });
});

describe('a second ingest under the same producer at the same time', () => {
  it('fences the first one, and what the two have counted is exact', async () => {
    // Names for all partitions, so that each has something to be refused.
    const options = [...recipe(), '--count', `${name}:each:{n}`, '--json'];
    const first = server.start('ingest', '-', '--format', 'ndjson', ...options);
    first.stdin.write(lines(1, 1_000));
    await shown(countsOf(1_000));

    writeFileSync(file, lines(1, 2_000));
    const second = await ingest(...options);
    expect(second).toMatchObject({ status: 0, err: '' });
    expect(JSON.parse(second.out)).toMatchObject({ lines: 1_000, reread: 0, resumedFrom: { lines: 1_000 } });

    first.stdin.end(lines(1_001, 2_000));
    const { status, out, err } = await first.outcome;
    expect(status).toBe(1);
    expect(err).toContain('PRODUCER_FENCED: ');
    expect(JSON.parse(out)).toMatchObject({ finished: false, error: { code: 'PRODUCER_FENCED' }, increments: 3_000 });
    expect(await counts()).toEqual(countsOf(2_000));
  });

  /** Resolves when the server shows these values as durable. */
  async function shown(values: Record<string, string>): Promise<void> {
    while (JSON.stringify(await server.values(Object.keys(values))) !== JSON.stringify(values));
  }
});
