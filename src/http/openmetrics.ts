/**
 * Figures as OpenMetrics writes them, of which Prometheus is the most common reader:
 *
 *   # TYPE tallystick_operations counter
 *   # HELP tallystick_operations Operations that were applied since the server started.
 *   tallystick_operations_total{lane="0",partition="3"} 41
 *   # EOF
 */

export const OPENMETRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

export interface Sample {
  /** Behind the family's name: `_total` of a counter, `_bucket`, `_count` and `_sum` of a histogram. */
  readonly suffix: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number | bigint;
}

export interface Family {
  /** Ends in its unit where it has one: `_seconds`, `_bytes`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
}

export function openMetrics(families: readonly (readonly [Family, readonly Sample[]])[]): string {
  const lines = families.flatMap(([family, samples]) => [
    ...head(family),
    ...samples.map((each) => line(family, each)),
  ]);
  return `${[...lines, '# EOF'].join('\n')}\n`;
}

function head({ name, type, help }: Family): string[] {
  const [, unit] = /_(seconds|bytes)$/.exec(name) ?? [];
  return [`# TYPE ${name} ${type}`, ...(unit ? [`# UNIT ${name} ${unit}`] : []), `# HELP ${name} ${escaped(help)}`];
}

function line({ name }: Family, { suffix, labels, value }: Sample): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(String(text))}"`);
  return `${name}${suffix}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`;
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
