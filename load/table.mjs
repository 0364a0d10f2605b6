/** Rows as text: for a terminal, and for Markdown. */

/** Columns as wide as their longest cell; the first to the left, the rest to the right. */
export function textTable(head, rows) {
  const all = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  return all.map(line).join('\n');
}

export function markdownTable(head, rows) {
  const line = (row) => `| ${row.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

/** 12.3 M, 456 K, 78: a rate with three digits. */
export function rate(perSecond) {
  if (perSecond >= 1e6) return `${three(perSecond / 1e6)} M`;
  return perSecond >= 1e3 ? `${three(perSecond / 1e3)} K` : three(perSecond);
}

export function milliseconds(value) {
  return `${three(value)} ms`;
}

/** A number with three digits. */
export function three(value) {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 4));
}

/** A ratio with the ends of its spread. */
export function ratio({ median, least, most }) {
  return `${three(median)} (${three(least)} to ${three(most)})`;
}
