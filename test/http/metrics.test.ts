import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { StatsAnswer } from '../../src/client/index.js';
import { DURATION_BUCKETS, Figures } from '../../src/http/figures.js';
import { metricsOf } from '../../src/http/metrics.js';
import { sharedHttp } from './http-harness.js';

const EXPORTED = ['m:told', 'm:never', 'said "so"'];
const shared = sharedHttp({ exported: EXPORTED });
const ROOT = join(import.meta.dirname, '../..');
const SUFFIXES = {
  counter: ['_total'],
  gauge: [''],
  histogram: ['_bucket', '_count', '_sum'],
} as const;

interface Parsed {
  readonly types: Map<string, keyof typeof SUFFIXES>;
  /** By name and labels, as they are written. */
  readonly samples: Map<string, number>;
}

/** Reads OpenMetrics as strictly as the specification has it, for the types that are here. */
function parse(text: string): Parsed {
  const lines = text.split('\n');
  expect(lines.splice(-2)).toEqual(['# EOF', '']);
  const types = new Map<string, keyof typeof SUFFIXES>();
  const samples = new Map<string, number>();
  let open = '';
  for (const line of lines) {
    const [, kind, name = '', rest = ''] = /^# (TYPE|UNIT|HELP) ([a-z_]+) (.+)$/.exec(line) ?? [];
    if (kind === 'TYPE') {
      expect(types.has(name)).toBe(false);
      types.set(name, rest as keyof typeof SUFFIXES);
      open = name;
    } else if (kind) {
      expect(name).toBe(open);
      if (kind === 'UNIT') expect(name.endsWith(`_${rest}`)).toBe(true);
    } else {
      const [, key = '', sample = '', value = ''] =
        /^(([a-z_]+)(?:\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="[^"\\\n]*")*\})?) (\S+)$/.exec(line) ?? [];
      expect(SUFFIXES[types.get(open) as 'gauge'].map((suffix) => `${open}${suffix}`)).toContain(sample);
      expect(samples.has(key)).toBe(false);
      if (open !== 'tallystick_counter_value') expect(Number(value)).toBeGreaterThanOrEqual(0);
      samples.set(key, Number(value));
    }
  }
  return { types, samples };
}

async function scrape(): Promise<Parsed> {
  const { status, headers, text } = await shared().http.get('/metrics', {
    Accept: 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1',
  });
  expect([status, headers['content-type']]).toEqual([
    200,
    'application/openmetrics-text; version=1.0.0; charset=utf-8',
  ]);
  return parse(text);
}

const sum = ({ samples }: Parsed, name: string): number =>
  [...samples].filter(([key]) => key.split('{')[0] === name).reduce((total, [, value]) => total + value, 0);

describe('/metrics', () => {
  it('counts what was applied, refused, flushed and answered', async () => {
    const { http } = shared();
    const before = await scrape();
    for (let i = 0; i < 5; i++)
      await http.post('/v1/increment', { operations: [{ name: `m:${i}` }, { name: 'm:all' }] });
    await http.post('/v1/increment', { name: 'm:all', delta: -9, min: 0 });
    await http.get('/v1/counters/m:all');
    await http.get('/nowhere');
    const after = await scrape();
    const grown = (name: string) => sum(after, name) - sum(before, name);
    expect(grown('tallystick_operations_total')).toBe(10);
    expect(grown('tallystick_operations_refused_total')).toBe(1);
    expect(grown('tallystick_counters')).toBe(6);
    expect(grown('tallystick_log_groups_total')).toBeGreaterThanOrEqual(5);
    expect(grown('tallystick_received_bytes_total')).toBeGreaterThan(0);
    expect(grown('tallystick_http_request_seconds_count')).toBe(7);
    const answers = (key: string) => (after.samples.get(key) ?? 0) - (before.samples.get(key) ?? 0);
    expect(answers('tallystick_http_answers_total{route="increment",status="200"}')).toBe(5);
    expect(answers('tallystick_http_answers_total{route="increment",status="409"}')).toBe(1);
    expect(answers('tallystick_http_answers_total{route="none",status="404"}')).toBe(1);
    expect(answers('tallystick_http_problems_total{code="OUT_OF_BOUNDS"}')).toBe(1);
    expect(sum(after, 'tallystick_http_connections')).toBeGreaterThanOrEqual(1);
    // What was asked for is flushed, the tick of a minute may just not be
    while (sum(await scrape(), 'tallystick_unflushed_entries') !== 0);
  });

  it('has figures of every lane and every partition', async () => {
    const { samples } = await scrape();
    for (const lane of [0, 1])
      expect(samples.has(`tallystick_flush_seconds_bucket{lane="${lane}",le="0.0025"}`)).toBe(true);
    const partitions = [...samples.keys()].filter((key) => key.startsWith('tallystick_operations_total{'));
    expect(partitions.map((key) => /partition="(\d+)"/.exec(key)?.[1]).sort()).toEqual(['0', '1', '2', '3']);
  });

  it('tells acknowledgements by kind and how long they took, and refusals by code', async () => {
    const { http } = shared();
    const before = await scrape();
    await Promise.all(Array.from({ length: 30 }, (_, i) => http.post('/v1/increment', { name: `a:${i}` })));
    await http.post('/v1/increment', { name: 'a:0', delta: -9, min: 0 });
    const after = await scrape();
    const grown = (key: string) => (after.samples.get(key) ?? 0) - (before.samples.get(key) ?? 0);
    const ofLanes = (name: string, labels: string) =>
      grown(`${name}{lane="0",${labels}}`) + grown(`${name}{lane="1",${labels}}`);
    expect(ofLanes('tallystick_acks_total', 'kind="durable"')).toBeGreaterThan(1);
    expect(ofLanes('tallystick_operations_refused_total', 'code="OUT_OF_BOUNDS"')).toBe(1);
    expect(after.samples.get('tallystick_requests_refused_total{lane="0",code="STORAGE_FULL"}')).toBe(0);
    for (const name of ['tallystick_ack_seconds', 'tallystick_flush_seconds', 'tallystick_group_bytes']) {
      const keys = [...after.samples.keys()].filter((key) => key.startsWith(`${name}_bucket{lane="0"`));
      const counts = keys.filter((key) => !key.includes('applied')).map((key) => after.samples.get(key) as number);
      expect(counts.length).toBeGreaterThan(5);
      expect(counts).toEqual([...counts].sort((a, b) => a - b));
    }
    const flushes = 'tallystick_flush_seconds_count{lane="0"}';
    expect(after.samples.get(flushes)).toBe(after.samples.get('tallystick_flush_seconds_bucket{lane="0",le="+Inf"}'));
    expect(after.samples.get(flushes)).toBe(after.samples.get('tallystick_log_groups_total{lane="0"}'));
  });

  it('tells the counters that are named for it, where they exist', async () => {
    const { http } = shared();
    await http.post('/v1/increment', { name: 'm:told', delta: -3 });
    await http.post('/v1/increment', { name: 'said "so"', delta: '9007199254740993' });
    const { text } = await http.get('/metrics');
    const lines = text.split('\n').filter((line) => line.startsWith('tallystick_counter_value'));
    expect(lines).toEqual([
      'tallystick_counter_value{name="m:told"} -3',
      'tallystick_counter_value{name="said \\"so\\""} 9007199254740993',
    ]);
    parse(text);
  });

  it('has no family without a sample, but for those of what has not been yet', async () => {
    const { types, samples } = await scrape();
    const named = new Set([...samples.keys()].map((key) => key.split('{')[0] as string));
    const silent = [...types].filter(([name, type]) => !SUFFIXES[type].some((suffix) => named.has(name + suffix)));
    const later = ['tallystick_checkpoint_age_seconds', 'tallystick_large_counters', 'tallystick_counter_value'];
    expect(silent.map(([name]) => name).filter((name) => !later.includes(name))).toEqual([]);
  });

  it('never says a name of a counter, however hot or wrong', async () => {
    const { http } = shared();
    const name = 'secret"name\\of\na-user';
    for (let i = 0; i < 20; i++) await http.post('/v1/increment', { name, id: 'secret-id' });
    await http.get(`/v1/window?last=1h&name=${encodeURIComponent(name)}`);
    await http.get(`/v1/counters/${encodeURIComponent(name)}`);
    await http.get(`/secret/${encodeURIComponent(name)}`);
    const { text } = await http.get('/metrics');
    expect(text).not.toContain('secret');
  });

  it('is no answer to those who take none of it', async () => {
    expect((await shared().http.get('/metrics', { Accept: 'application/json' })).status).toBe(406);
  });
});

describe('durations', () => {
  it('are added up by the bucket that they end in', () => {
    const figures = new Figures();
    for (const milliseconds of [0, 0.25, 0.26, 5_000, 5_001]) figures.took('read', milliseconds);
    figures.took('probe', 1);
    const { samples } = parse(
      metricsOf([], [], figures, { requests: 0, bodyBytes: 0 }, { residentBytes: 1, processorSeconds: 1 }),
    );
    const at = (le: string) => samples.get(`tallystick_http_request_seconds_bucket{load="read",le="${le}"}`);
    expect([at('0.00025'), at('0.0005'), at('1'), at('5'), at('+Inf')]).toEqual([2, 3, 3, 4, 5]);
    expect(samples.get('tallystick_http_request_seconds_sum{load="read"}')).toBeCloseTo(10.001_51, 6);
    expect(samples.get('tallystick_http_request_seconds_count{load="write"}')).toBe(0);
    expect([...DURATION_BUCKETS]).toEqual([...DURATION_BUCKETS].sort((a, b) => a - b));
  });

  it('and figures that a lane does not tell are left out', () => {
    const lane = { lane: 0, partitions: [], bytesIn: 2n ** 63n } as unknown as StatsAnswer;
    const own = { residentBytes: 1, processorSeconds: 1 };
    const { samples } = parse(metricsOf([lane], [], new Figures(), { requests: 0, bodyBytes: 0 }, own));
    expect(samples.get('tallystick_received_bytes_total{lane="0"}')).toBe(2 ** 63);
    expect(samples.has('tallystick_sent_bytes_total{lane="0"}')).toBe(false);
  });
});

describe('what is drawn and warned of', () => {
  const files = ['ops/grafana-dashboard.json', 'ops/alerts.yml'].map((file) => readFileSync(join(ROOT, file), 'utf8'));

  it('is there', async () => {
    const { types } = await scrape();
    const samples = [...types].flatMap(([name, type]) => SUFFIXES[type].map((suffix) => name + suffix));
    for (const text of files) {
      const named = new Set(text.match(/\btallystick_[a-z_]+/g));
      expect(named.size).toBeGreaterThan(3);
      expect([...named].filter((name) => !samples.includes(name))).toEqual([]);
    }
  });

  it('draws each figure in one place at least, and counters as rates', () => {
    const { panels } = JSON.parse(files[0] as string) as { panels: { id: number; targets: { expr: string }[] }[] };
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { expr } of panels.flatMap(({ targets }) => targets)) {
      expect(expr).toContain('instance="$instance"');
      if (/_(total|bucket)\{/.test(expr)) expect(expr).toMatch(/rate\(/);
    }
  });

  it('says of each alert what it is and what to do', () => {
    const alerts = (files[1] as string).split(/^ {6}- alert: /m).slice(1);
    expect(alerts.length).toBeGreaterThan(4);
    for (const alert of alerts) {
      expect(alert).toMatch(/^Tallystick\w+\n {8}expr: .+\n/);
      expect(alert).toMatch(
        /\n {8}labels:\n {10}severity: (page|ticket)\n {8}annotations:\n {10}summary: .+\n {10}description: .+\n/,
      );
    }
  });
});
