import { milliseconds, rate, three } from './table.mjs';

/** How the reports of follow.mjs and stalled.mjs are shown. */

export const FOLLOW_HEAD = [
  '',
  'feeds',
  'snapshots',
  'p99, no writers',
  'p50 / p99, writers',
  'told/s',
  'writers/s, alone -> beside',
  'ratio',
  'CPUs of the server',
];

export function followRows({ followers, readers, of }, { one, many }) {
  const rows = [];
  if (one) rows.push([`${followers.toLocaleString('en')} of one counter`, ...followCells(one)]);
  if (many)
    rows.push([`${readers.toLocaleString('en')} of ${of.toLocaleString('en')} counters each`, ...followCells(many)]);
  return rows;
}

function followCells({ feeds, snapshotSeconds, quiet, busy, changes, alone, perSecond, ratio, aloneCpu, serverCpu }) {
  return [
    feeds.toLocaleString('en'),
    `${snapshotSeconds.toFixed(1)} s`,
    milliseconds(quiet.p99),
    `${milliseconds(busy.p50)} / ${milliseconds(busy.p99)}`,
    rate(changes),
    `${rate(alone)} -> ${rate(perSecond)}`,
    three(ratio),
    `${aloneCpu.toFixed(2)} -> ${serverCpu.toFixed(2)}`,
  ];
}

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

export function stalledLines({ readers, baselineBytes, addedBytes, before, during, cutOff, left, latest }) {
  const p99 = `${milliseconds(before.p99)} before and ${milliseconds(during.p99)} beside them`;
  return [
    `memory of the server: ${mebibytes(baselineBytes)}, and at most ${mebibytes(addedBytes)} more for ${readers.toLocaleString('en')} readers that never read`,
    `p99 of those that do read: ${p99}, ${three(during.p99 / before.p99)} times`,
    `cut off: ${cutOff.toLocaleString('en')}, the last of them ${three(latest / 1_000)} s after its limit of 30 s; left: ${left}`,
  ];
}
