import { escaped } from '../cli/io.js';
import type { Fault } from '../verify/verify.js';
import type { Dropped } from './dropped.js';
import type { SalvagedLane } from './repair.js';
import type { Salvaged } from './salvage.js';

/** What repair would keep and drop, for people and for machines. */

export interface RepairReport {
  readonly dataDir: string;
  readonly faults: readonly Fault[];
  readonly lanes: readonly SalvagedLane[];
  /** The directory that was made. */
  readonly into?: string;
  readonly epoch?: number;
}

/** Counters of a partition that are listed for people; `--json` has all. */
const SHOWN_COUNTERS = 20;

/** Numbers beyond 2^53 - 1 come as text. */
export function asJson({ dataDir, faults, lanes, into, epoch }: RepairReport): string {
  const report = {
    dataDir,
    sound: faults.length === 0,
    faults,
    lanes: lanes.map(({ lane, partitions }) => ({ lane, partitions: partitions.map(partitionAsJson) })),
    into: into ?? null,
    epoch: epoch ?? null,
  };
  return `${JSON.stringify(report)}\n`;
}

function partitionAsJson({ partition, checkpoint, kept, counters, dropped }: Salvaged) {
  return {
    partition,
    checkpoint: checkpoint ?? null,
    kept: { sequence: kept.sequence, counters },
    dropped: dropped ? droppedAsJson(dropped) : null,
  };
}

function droppedAsJson({ from, through, readable, times, counters, producers }: Dropped) {
  return {
    from,
    through,
    readable,
    unreadable: through - from + 1 - readable,
    times: times?.map(textOf) ?? null,
    counters: counters.map((counter) => ({ ...counter, delta: String(counter.delta) })),
    producers,
  };
}

export function asText({ dataDir, faults, lanes, into, epoch }: RepairReport): string {
  const name = escaped(dataDir);
  if (faults.length === 0) return `${name} is sound: there is nothing to repair\n`;
  const found = faults.map(({ file, detail }) => `  ${file}: ${escaped(detail)}`);
  const parts = lanes.flatMap(({ lane, partitions }) => [`lane ${lane}`, ...partitions.flatMap(partitionLines)]);
  const made =
    into === undefined
      ? []
      : [
          `made ${escaped(into)}, epoch ${epoch}; ${name} is as it was. To go on with what was saved:`,
          `  mv ${name} ${name}.damaged && mv ${escaped(into)} ${name}`,
        ];
  return `${[`${name}: ${faults.length === 1 ? '1 fault' : `${faults.length} faults`}`, ...found, ...parts, ...made].join('\n')}\n`;
}

function partitionLines({ partition, kept, counters, dropped }: Salvaged): string[] {
  const keeps =
    kept.sequence === 0
      ? 'nothing can be read'
      : `kept to sequence ${grouped(kept.sequence)}, ${grouped(counters)} counters`;
  if (!dropped) return [`  partition ${partition}: ${keeps}; nothing is dropped`];
  return [`  partition ${partition}: ${keeps}`, ...droppedLines(dropped)];
}

function droppedLines({ from, through, readable, times, counters, producers }: Dropped): string[] {
  const unreadable = through - from + 1 - readable;
  const span = times ? `, ${times.map(textOf).join(' to ')}` : '';
  const lines = [
    `    DROPPED: sequences ${grouped(from)} to ${grouped(through)}; ${grouped(readable)} of them can be read${span}`,
  ];
  if (unreadable > 0) lines.push(`      what the other ${grouped(unreadable)} did is not known`);
  const largest = [...counters].sort((a, b) => (magnitude(a.delta) < magnitude(b.delta) ? 1 : -1));
  for (const { name, delta, operations } of largest.slice(0, SHOWN_COUNTERS)) {
    lines.push(`      ${escaped(name)}  ${delta >= 0n ? '+' : ''}${delta} in ${counted(operations, 'operation')}`);
  }
  const more = counters.length - SHOWN_COUNTERS;
  if (more > 0) lines.push(`      and ${grouped(more)} more counters; --json lists all`);
  for (const { producer, batches, sequences } of producers) {
    lines.push(
      `      producer ${producer}: ${batches === 1 ? '1 batch' : `${grouped(batches)} batches`}, its sequences ${sequences.join(' to ')}`,
    );
  }
  return lines;
}

const magnitude = (delta: bigint): bigint => (delta < 0n ? -delta : delta);
const counted = (count: number, what: string): string => `${grouped(count)} ${what}${count === 1 ? '' : 's'}`;
const grouped = (count: number): string => count.toLocaleString('en-US');
const textOf = (milliseconds: number): string => new Date(milliseconds).toISOString();
