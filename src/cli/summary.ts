import { type ErrorCode, TallystickError } from '../errors.js';
import type { Ingest, Report } from './ingest/ingest.js';
import { escaped, table } from './io.js';

/** So many unusable lines and refusals are shown to people; JSON has them all, up to the stated caps. */
const SHOWN = 10;

/** For people: what became of the lines, then what needs their attention. */
export function humanSummary(ingest: Ingest, seconds: number): string {
  const { report, outbox, names } = ingest;
  const rows: [string, string][] = [
    ['lines', String(report.lines)],
    ['used', String(report.used)],
    ['filtered out', String(report.filtered)],
    ['unusable', String(report.unusable)],
    ['names', names.exact ? String(names.count) : `at least ${names.count}`],
    ['increments', String(outbox.increments)],
    ...(outbox.sightings > 0 ? ([['sightings', String(outbox.sightings)]] as [string, string][]) : []),
    ['batches', String(outbox.batches)],
    ['seconds', seconds.toFixed(2)],
    ['lines/s', String(rate(report.lines, seconds))],
  ];
  const lines = unusable(report, 'Unusable lines, of which nothing was counted:');
  return table(rows) + resumed(ingest) + lines + refused(ingest) + answersLost(ingest);
}

function resumed({ report }: Ingest): string {
  if (report.resumedFrom === undefined) return '';
  const { offset, lines } = report.resumedFrom;
  const again = `${report.reread} lines were read again for the partitions that lacked them`;
  return `\nResumed behind line ${lines}, at byte ${offset}; ${again}.\n`;
}

/** The lines that could not be used, behind a sentence that says what became of them. */
export function unusable(report: Pick<Report, 'unusable' | 'unusableLines'>, sentence: string): string {
  if (report.unusable === 0) return '';
  const shown = report.unusableLines.slice(0, SHOWN);
  const more = report.unusable - shown.length;
  const lines = shown.map(({ line, reason }) => `  line ${line}: ${escaped(reason)}\n`).join('');
  return `\n${sentence}\n${lines}${more > 0 ? `  and ${more} more\n` : ''}`;
}

function refused({ outbox }: Ingest): string {
  if (outbox.refused === 0) return '';
  const shown = outbox.refusals.slice(0, SHOWN);
  const more = outbox.refused - shown.length;
  const at = (time: number | undefined) => (time === undefined ? '' : `  ${new Date(time).toISOString()}`);
  const lines = shown
    .map(({ name, delta, time, code }) => `  ${escaped(name)}  ${delta}${at(time)}  ${code}\n`)
    .join('');
  const advice = [...outbox.refusedBy].map(([code, count]) => adviceFor(code, count)).join('');
  return `\nRefused by the server and not counted:\n${lines}${more > 0 ? `  and ${more} more\n` : ''}${advice}`;
}

/** What to do about increments whose times were refused. */
function adviceFor(code: ErrorCode, count: number): string {
  const again = 'then delete the counters and ingest from the start, as another producer.';
  if (code === 'TIME_TOO_OLD')
    return `${count} were older than their class takes: give it the lateness "any", or "late": "total"; ${again}\n`;
  if (code === 'TIME_AHEAD')
    return `${count} lay ahead of the server's clock: compare the clocks and the zone of the times; ${again}\n`;
  return '';
}

function answersLost({ outbox }: Ingest): string {
  if (outbox.answersLost === 0) return '';
  return `\nOf ${outbox.answersLost} batches, applied before a lost connection, refused steps can't be listed.\n`;
}

/** The same as one JSON object. Deltas are decimal strings; counts of lines and bytes are numbers. */
export function jsonSummary(ingest: Ingest, seconds: number, error: unknown): string {
  const { report, outbox, names } = ingest;
  return `${JSON.stringify({
    finished: error === undefined,
    error: error === undefined ? null : errorOf(error),
    lines: report.lines,
    used: report.used,
    filtered: report.filtered,
    unusable: report.unusable,
    unusableLines: report.unusableLines,
    names: names.count,
    namesExact: names.exact,
    increments: outbox.increments,
    sightings: outbox.sightings,
    batches: outbox.batches,
    refused: outbox.refused,
    refusedBy: Object.fromEntries(outbox.refusedBy),
    refusals: outbox.refusals.map((refusal) => ({ ...refusal, delta: String(refusal.delta) })),
    answersLost: outbox.answersLost,
    resumedFrom: report.resumedFrom ?? null,
    reread: report.reread,
    seconds: Number(seconds.toFixed(3)),
    linesPerSecond: rate(report.lines, seconds),
  })}\n`;
}

export function errorOf(error: unknown): { code: string; message: string } {
  if (error instanceof TallystickError) return { code: error.code, message: error.message };
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}

export const rate = (lines: number, seconds: number): number => Math.round(lines / Math.max(seconds, 0.001));
