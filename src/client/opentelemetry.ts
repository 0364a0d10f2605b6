import { type Attributes, type Meter, metrics, SpanKind, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api';
import { systemClock } from '../clock.js';
import type { Telemetry } from './telemetry.js';

/** A client's calls and troubles as OpenTelemetry has them: its semantic conventions for database clients, where they have a name for it. */

const SCOPE = 'tallystick';
const SYSTEM: Attributes = { 'db.system.name': 'tallystick' };
/** Upper ends of buckets in seconds; those of the conventions begin at 1 ms, which here is slow. */
const SECONDS = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10];

export interface OpenTelemetryOptions {
  /** The global ones of the process unless given. */
  readonly tracer?: Tracer;
  readonly meter?: Meter;
}

/**
 * For `connect(url, { telemetry: openTelemetry() })`: a span for each call, with its error, and these metrics:
 *
 *   db.client.operation.duration         seconds by db.operation.name, and error.type where it failed
 *   tallystick.client.refusals           answers of the server that were errors, by error.type, whether sent again or not
 *   tallystick.client.resends            by tallystick.resent: batch, request
 *   tallystick.client.reconnections
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): Telemetry {
  const tracer = options.tracer ?? trace.getTracer(SCOPE);
  const meter = options.meter ?? metrics.getMeter(SCOPE);
  const durations = meter.createHistogram('db.client.operation.duration', {
    description: 'Duration of calls.',
    unit: 's',
    advice: { explicitBucketBoundaries: SECONDS },
  });
  const counter = (name: string, description: string, unit: string) =>
    meter.createCounter(`tallystick.client.${name}`, { description, unit });
  const refusals = counter('refusals', 'Answers of the server that were errors.', '{answer}');
  const resends = counter('resends', 'Batches and requests that were sent again.', '{request}');
  const reconnections = counter('reconnections', 'Lanes that were connected again.', '{connection}');
  return {
    call(method) {
      const attributes: Attributes = { ...SYSTEM, 'db.operation.name': method };
      const began = systemClock.monotonicMilliseconds();
      const span = tracer.startSpan(method, { kind: SpanKind.CLIENT, attributes });
      return (error) => {
        const failed: Attributes = error ? { 'error.type': error.code } : {};
        durations.record((systemClock.monotonicMilliseconds() - began) / 1_000, { ...attributes, ...failed });
        if (error) {
          span.setAttributes({ ...failed, 'tallystick.outcome': error.outcome });
          span.setStatus({ code: SpanStatusCode.ERROR, message: error.code });
        }
        span.end();
      };
    },
    refused: (code) => refusals.add(1, { 'error.type': code }),
    resent: (what) => resends.add(1, { 'tallystick.resent': what }),
    reconnected: () => reconnections.add(1),
  };
}
