import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { describe, expect, it } from 'vitest';
import { Client } from '../../src/client/client.js';
import { openTelemetry } from '../../src/client/opentelemetry.js';
import { type Telemetry, TOLD } from '../../src/client/telemetry.js';
import { Opcode } from '../../src/protocol/opcode.js';
import { Harness, once } from '../support/client-harness.js';
import type { SeenRequest } from '../support/model-server.js';

const isGet = ({ opcode }: SeenRequest) => opcode === Opcode.GET;
const isAdd = ({ opcode }: SeenRequest) => opcode === Opcode.ADD;

class Recorder implements Telemetry {
  readonly heard: string[] = [];
  open = 0;

  call(method: string) {
    this.open++;
    this.heard.push(`${method}`);
    return (error?: { readonly code: string }) => {
      this.open--;
      this.heard.push(`${method} ${error?.code ?? 'ok'}`);
    };
  }

  refused(code: string) {
    this.heard.push(`refused ${code}`);
  }

  resent(what: string) {
    this.heard.push(`resent ${what}`);
  }

  reconnected() {
    this.heard.push('reconnected');
  }

  take(): string[] {
    return this.heard.splice(0);
  }
}

async function world() {
  const harness = new Harness({ lanes: 1, partitions: 1 });
  const telemetry = new Recorder();
  return { harness, telemetry, client: await harness.connect({ telemetry }) };
}

describe('telemetry', () => {
  it('hears of each call once when it begins and once when it ends, with its error', async () => {
    const { harness, telemetry, client } = await world();
    expect(await harness.until(client.increment('a', 5))).toBe(5n);
    expect(await harness.until(client.decrement('a'))).toBe(4n);
    expect(telemetry.take()).toEqual(['increment', 'increment ok', 'decrement', 'decrement ok']);
    expect(await harness.failure(client.increment('a', -9, { min: 0 }))).toMatchObject({ code: 'OUT_OF_BOUNDS' });
    expect(await harness.failure(client.get(''))).toMatchObject({ code: 'NAME_INVALID' });
    expect(telemetry.take()).toEqual(['increment', 'increment OUT_OF_BOUNDS', 'get', 'get NAME_INVALID']);
    expect(() => client.partitionOf('')).toThrow('NAME_INVALID');
    client.counter('a').add(1);
    await harness.until(client.close());
    expect(telemetry.take()).toEqual(['close', 'close ok']);
    expect(telemetry.open).toBe(0);
  });

  it('hears of what callers do not: refusals that pass, what is sent again, connections that come back', async () => {
    const { harness, telemetry, client } = await world();
    harness.server.script = once(isAdd, { refuse: 'OVERLOADED' });
    await harness.until(client.increment('a'));
    expect(telemetry.take()).toEqual(['increment', 'refused OVERLOADED', 'resent batch', 'increment ok']);
    harness.server.script = once(isGet, { refuse: 'OVERLOADED' });
    await harness.until(client.get('a'));
    expect(telemetry.take()).toEqual(['get', 'refused OVERLOADED', 'resent request', 'get ok']);
    harness.server.script = once(isGet, { drop: 'before' });
    await harness.until(client.get('a'));
    expect(telemetry.take()).toEqual(['get', 'resent request', 'reconnected', 'get ok']);
    harness.server.script = once(isAdd, { drop: 'after' });
    expect(await harness.until(client.increment('a'))).toBe(2n);
    expect(telemetry.take()).toEqual(['increment', 'reconnected', 'resent batch', 'increment ok']);
    expect(client.statistics).toMatchObject({ resent: 2, repeated: 1, reconnections: 2 });
  });

  it('leaves the client what it is', async () => {
    const { harness, client } = await world();
    expect(client).toBeInstanceOf(Client);
    expect(client.increment).toBe(client.increment);
    const values: string[] = [];
    await harness.until(
      client.batch([
        { name: 'a', delta: 2 },
        { name: 'b', delta: 3 },
      ]),
    );
    const counters = (async () => {
      for await (const { name, value } of client.list()) values.push(`${name}=${value}`);
    })();
    await harness.until(counters);
    expect(values.sort()).toEqual(['a=2', 'b=3']);
    await harness.until(
      (async () => {
        await using again = client;
        await again.increment('a');
      })(),
    );
    expect(await harness.failure(client.get('a'))).toMatchObject({ code: 'CLOSED' });
  });

  it('knows every method that answers with a promise', () => {
    const methods = Object.getOwnPropertyNames(Client.prototype).filter(
      (name) => typeof Object.getOwnPropertyDescriptor(Client.prototype, name)?.value === 'function',
    );
    const others = ['constructor', 'partitionOf', 'list', 'subscribe', 'counter', 'counters'];
    expect([...TOLD, ...others].sort()).toEqual(methods.sort());
  });

  it('is absent unless it is asked for', async () => {
    const harness = new Harness({ lanes: 1, partitions: 1 });
    const client = await harness.connect();
    // A proxy has no own properties of its methods either, but binds them: this one has those of its class
    expect(client.increment).toBe(Client.prototype.increment);
  });
});

describe('OpenTelemetry', () => {
  const spans = new InMemorySpanExporter();
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  const telemetry = openTelemetry({ tracer: tracers.getTracer('test'), meter: meters.getMeter('test') });

  it('gets a span for each call, and durations, refusals and what was sent again as metrics', async () => {
    const harness = new Harness({ lanes: 1, partitions: 1 });
    const client = await harness.connect({ telemetry });
    harness.server.script = once(isAdd, { refuse: 'OVERLOADED' });
    await harness.until(client.increment('secret', 5));
    await harness.failure(client.increment('secret', -9, { min: 0 }));
    harness.server.script = once(isGet, { drop: 'before' });
    await harness.until(client.get('secret'));

    const finished = spans.getFinishedSpans();
    expect(finished.map(({ name, kind, status }) => [name, kind, status.code, status.message])).toEqual([
      ['increment', SpanKind.CLIENT, SpanStatusCode.UNSET, undefined],
      ['increment', SpanKind.CLIENT, SpanStatusCode.ERROR, 'OUT_OF_BOUNDS'],
      ['get', SpanKind.CLIENT, SpanStatusCode.UNSET, undefined],
    ]);
    expect(finished[1]?.attributes).toEqual({
      'db.system.name': 'tallystick',
      'db.operation.name': 'increment',
      'error.type': 'OUT_OF_BOUNDS',
      'tallystick.outcome': 'refused',
    });

    await reader.forceFlush();
    const told = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
    const points = (name: string) => {
      const found = told.find(({ descriptor }) => descriptor.name === name);
      if (found?.dataPointType === DataPointType.HISTOGRAM)
        return found.dataPoints.map(({ attributes, value }) => [attributes, value.count]);
      return found?.dataPoints.map(({ attributes, value }) => [attributes, value]);
    };
    const operation = (name: string) => ({ 'db.system.name': 'tallystick', 'db.operation.name': name });
    expect(points('db.client.operation.duration')).toEqual([
      [operation('increment'), 1],
      [{ ...operation('increment'), 'error.type': 'OUT_OF_BOUNDS' }, 1],
      [operation('get'), 1],
    ]);
    expect(points('tallystick.client.refusals')).toEqual([[{ 'error.type': 'OVERLOADED' }, 1]]);
    expect(points('tallystick.client.resends')).toEqual([
      [{ 'tallystick.resent': 'batch' }, 1],
      [{ 'tallystick.resent': 'request' }, 1],
    ]);
    expect(points('tallystick.client.reconnections')).toEqual([[{}, 1]]);
    expect(JSON.stringify([finished.map(({ attributes }) => attributes), told])).not.toContain('secret');
    await meters.shutdown();
  });

  it('does nothing where the process has set up none', async () => {
    const harness = new Harness({ lanes: 1, partitions: 1 });
    const client = await harness.connect({ telemetry: openTelemetry() });
    expect(await harness.until(client.increment('a'))).toBe(1n);
  });
});
