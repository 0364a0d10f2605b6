import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { Input, openInput } from '../../src/cli/ingest/input.js';
import { TallystickError } from '../../src/errors.js';
import { ManualClock } from '../support/manual-clock.js';
import { FakeServer, FakeTarget } from './fake-target.js';
import { ingestOf, inputOf, recipe, sorted } from './ingesting.js';

const csv = recipe('csv', { count: ['n:{shop}'], sum: ['cents:{shop}=cents'] });

describe('ingesting', () => {
  it('counts and sums, and reports every line that it could not use', async () => {
    const server = new FakeServer(4);
    const text = 'shop,cents\nUlm,5\nBonn,x\nUlm,-\n\n"Bad\nUrach",7\nUlm\n';
    const ingest = ingestOf(inputOf(text), new FakeTarget(server), csv);
    await ingest.run();
    expect(sorted(server.values)).toEqual([
      ['cents:Bad\nUrach', 7n],
      ['cents:Ulm', 5n],
      ['n:Bad\nUrach', 1n],
      ['n:Ulm', 2n],
    ]);
    expect(ingest.report).toMatchObject({ lines: 6, used: 3, filtered: 0, unusable: 3, resumedFrom: undefined });
    expect(ingest.report.unusableLines).toEqual([
      { line: 3, reason: 'cents is not a 64-bit integer' },
      { line: 5, reason: 'fewer fields than the header' },
      { line: 8, reason: 'fewer fields than the header' },
    ]);
    expect(ingest.outbox.increments).toBe(6);
    expect(ingest.names).toEqual({ count: 4, exact: true });
  });

  it('keeps a thousand unusable lines by number, and counts all', async () => {
    const ingest = ingestOf(
      inputOf('x\n'.repeat(1_500)),
      new FakeTarget(new FakeServer(1)),
      recipe('ndjson', { count: ['{a}'] }),
    );
    await ingest.run();
    expect(ingest.report.unusable).toBe(1_500);
    expect(ingest.report.unusableLines.length).toBe(1_000);
  });

  it('reads the header of a csv from its first bytes, however they come', async () => {
    const text = `"${'long\n'.repeat(2_000)}",shop,cents\r\nx,Ulm,5\r\n`;
    for (const chunk of [1_000, 1 << 16]) {
      const server = new FakeServer(2);
      await ingestOf(inputOf(text, { chunk }), new FakeTarget(server), csv).run();
      expect(sorted(server.values)).toEqual([
        ['cents:Ulm', 5n],
        ['n:Ulm', 1n],
      ]);
    }
    const endless = ingestOf(inputOf(`"${'x'.repeat(70_000)}`), new FakeTarget(new FakeServer(1)), csv);
    await expect(endless.run()).rejects.toThrow('not a csv header');
    const empty = ingestOf(inputOf(''), new FakeTarget(new FakeServer(1)), csv);
    await expect(empty.run()).rejects.toThrow('not a csv header');
  });

  it('never sends more in a batch than the protocol allows, and never two of a partition at once', async () => {
    const limits = { operations: 20, bytes: 5_000 };
    const names = Array.from({ length: 3_000 }, (_, index) => `${index}`.padEnd(index % 300, 'x'));
    const text = names.map((name) => `{"a":"${name}"}\n`).join('');
    const server = new FakeServer(3);
    const target = new FakeTarget(server, { limits, turns: (batch) => (batch * 7) % 11 });
    const what = recipe('ndjson', { count: ['{a}', 'x:{a}', 'y:{a}', 'y:{a}'] });
    await ingestOf(inputOf(text), target, what, { limits }).run();
    expect(server.total).toBe(12_000n);
    expect(Math.max(...target.batchSizes)).toBeGreaterThan(10);
    expect(target.mostInFlight).toBeGreaterThan(1);
    expect(server.emptyBatches).toBe(0);
  });

  it('tells each item as seen under its name, once a batch, and a line without one is unusable', async () => {
    const lines = [
      '{"p":"/","ip":"1"}',
      '{"p":"/","ip":"2"}',
      '{"p":"/","ip":"1"}',
      '{"p":"/a","ip":"2"}',
      '{"p":"/a"}',
      '{"p":"/a","ip":""}',
    ];
    const server = new FakeServer(3);
    const what = recipe('ndjson', { count: ['views:{p}'], unique: ['visitors:{p}={ip}', 'visitors={ip}'] });
    const ingest = ingestOf(inputOf(`${lines.join('\n')}\n`), new FakeTarget(server), what);
    await ingest.run();
    expect(server.uniques).toEqual(
      new Map([
        ['visitors:/', new Set(['1', '2'])],
        ['visitors:/a', new Set(['2'])],
        ['visitors', new Set(['1', '2'])],
      ]),
    );
    expect(server.values.get('views:/a')).toBe(1n); // its other lines are unusable
    expect(ingest.outbox.sightings).toBe(5);
    expect(ingest.report).toMatchObject({ used: 4, filtered: 0, unusable: 2 });
  });

  it('counts a gzip file like its content', async () => {
    const { input } = await openInput('-', Readable.from([gzipSync('shop,cents\nUlm,5\n')]));
    const server = new FakeServer(1);
    await ingestOf(input, new FakeTarget(server), csv).run();
    expect(server.values.get('cents:Ulm')).toBe(5n);
  });

  it('sends what it has when a pipe is silent for a second', async () => {
    const clock = new ManualClock();
    const server = new FakeServer(2);
    let end = (): void => {};
    async function* pipe(): AsyncGenerator<Buffer> {
      yield Buffer.from('{"a":1}\n{"a":2}\n{"a"');
      await new Promise<void>((resolve) => {
        end = resolve;
      });
      yield Buffer.from(':1}\n');
    }
    const ingest = ingestOf(new Input(pipe()), new FakeTarget(server), recipe('ndjson', { count: ['a:{a}'] }), {
      clock,
    });
    const run = ingest.run();
    await setImmediate();
    clock.advance(999);
    await setImmediate();
    expect(server.total).toBe(0n);
    clock.advance(1);
    await setImmediate();
    expect(server.total).toBe(2n);
    end();
    await run;
    expect(server.total).toBe(3n);
    expect(clock.pendingTimers).toBe(0);
  });

  it('stops at a batch that failed for good, after those in flight, and says why', async () => {
    const server = new FakeServer(4);
    const target = new FakeTarget(server, { crash: { at: 5, applied: false }, turns: () => 5 });
    const text = Array.from({ length: 1_000 }, (_, index) => `{"a":${index}}\n`).join('');
    const ingest = ingestOf(inputOf(text, { chunk: 100 }), target, recipe('ndjson', { count: ['a:{a}'] }), {
      limits: { operations: 10 },
    });
    await expect(ingest.run()).rejects.toThrow('TIMEOUT');
    expect(ingest.report.lines).toBeLessThan(200);
    expect(ingest.outbox.batches).toBe(5);
    expect(BigInt(ingest.outbox.increments)).toBe(server.total);
  });

  it('goes on after a step that the server refused for good, and lists it', async () => {
    const server = new FakeServer(1);
    server.values.set('cents:Ulm', 2n ** 63n - 3n);
    const ingest = ingestOf(inputOf('shop,cents\nUlm,5\nBonn,5\n'), new FakeTarget(server), csv);
    await ingest.run();
    expect(ingest.outbox.refused).toBe(1);
    expect(ingest.outbox.refusals).toEqual([{ name: 'cents:Ulm', delta: 5n, code: 'OVERFLOW' }]);
    expect(server.values.get('cents:Bonn')).toBe(5n);
  });

  it('stops at a refusal that the next batches would meet too', async () => {
    const server = new FakeServer(1);
    const target = new FakeTarget(server);
    target.batchTo = async (_, operations) =>
      operations.map(({ name }, index) => ({ index, name, error: new TallystickError('MEMORY_FULL') }));
    const ingest = ingestOf(inputOf('shop,cents\nUlm,5\n'), target, csv);
    await expect(ingest.run()).rejects.toThrow('MEMORY_FULL');
    expect(ingest.outbox.refusals.map(({ name }) => name)).toEqual(['n:Ulm', 'cents:Ulm']);
  });

  it('takes a batch as applied that was applied before, although its answer is lost', async () => {
    const server = new FakeServer(1);
    const target = new FakeTarget(server);
    target.batchTo = async (partition, operations, { cursor }) => {
      server.apply(partition, operations, cursor);
      throw new TallystickError('ALREADY_APPLIED');
    };
    const ingest = ingestOf(inputOf('shop,cents\nUlm,5\n'), target, csv);
    await ingest.run();
    expect(ingest.outbox).toMatchObject({ answersLost: 1, batches: 1, increments: 2 });
  });

  it('meets an input that breaks off with what it was', async () => {
    async function* broken(): AsyncGenerator<Buffer> {
      yield Buffer.from('{"a":1}\n');
      throw new TallystickError('INPUT_FAILED', 'gone.');
    }
    const ingest = ingestOf(new Input(broken()), new FakeTarget(new FakeServer(1)), recipe('ndjson', { count: ['a'] }));
    await expect(ingest.run()).rejects.toThrow('INPUT_FAILED: gone.');
  });
});
