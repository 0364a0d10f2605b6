import { parseArgs } from 'node:util';
import { killCycles } from './kill-cycles.mjs';

/**
 * kill -9 under load:   node load/torture.mjs [--cycles 50] [--log files] [--fast] [--json]
 *
 * With --fast the server's clock runs 1,000 times as fast: hours close, counters come to their end, days begin, and histories are rolled up all the while.
 * Checkpoints are made all the while; of four kills one comes beside a backup, one kills the backup too, and after one the recovery is killed.
 * Exits with 1 if anything is not exactly right.
 */

const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '50' },
    log: { type: 'string', default: 'lmdb' },
    fast: { type: 'boolean', default: false },
    json: { type: 'boolean' },
  },
});
const cycles = Number(values.cycles);
if (!(Number.isSafeInteger(cycles) && cycles > 0)) throw new Error(`--cycles is a whole number, not ${values.cycles}.`);

const report = await killCycles({
  cycles,
  config: { log: values.log, checkpointTailBytes: 65_536 },
  kinds: ['load', 'backup', 'both', 'recovery'],
  isFast: values.fast,
  onCycle: ({ inFlight, repeated, milliseconds }, all) => {
    if (values.json) return;
    const restart = `restart ${Math.round(milliseconds)} ms`;
    console.log(`kill ${all.length}: ${inFlight} batches in flight, ${repeated} of them applied before, ${restart}`);
  },
});
const isRight =
  report.unknownOutcomes === 0 &&
  report.refused === 0 &&
  report.wrongAnswers === 0 &&
  report.wrongCounters === 0 &&
  report.wrongHistories === 0 &&
  report.partitionsThatDiffer === 0 &&
  report.backups.failed === 0 &&
  report.backups.partitionsThatDiffer === 0 &&
  report.backups.wrongHistories === 0 &&
  report.withDedupHit * 3 >= report.counted;
if (values.json) console.log(JSON.stringify(report));
else print();
process.exitCode = isRight ? 0 : 1;

function print() {
  const rows = [
    ['kills', report.cycles],
    ['… with a batch in flight', report.counted],
    ['… of those with a dedup hit afterwards', report.withDedupHit],
    ['batches sent again and recognised', report.repeatedBatches],
    ['checkpoints made / interrupted by a kill', `${report.checkpoints} / ${report.interruptedCheckpoints}`],
    ['recoveries interrupted by a kill', report.interruptedRecoveries],
    ['backups under way at a kill / killed with it', `${report.backups.interrupted} / ${report.backups.killed}`],
    ['complete backups / failed', `${report.backups.complete} / ${report.backups.failed}`],
    [
      'restored partitions unlike a replay / wrong histories',
      `${report.backups.partitionsThatDiffer} / ${report.backups.wrongHistories}`,
    ],
    ['files without their name that were restored', report.backups.acceptedParts],
    ['increments acknowledged', report.acknowledged],
    ['calls refused / with an unknown outcome', `${report.refused} / ${report.unknownOutcomes}`],
    ['answers with a wrong value', report.wrongAnswers],
    [
      'counters / wrong / with a wrong history',
      [report.counters, report.wrongCounters, report.wrongHistories].join(' / '),
    ],
    ['lives of counters that begin anew / rows by hour', `${report.lives} / ${report.hourRows}`],
    ['sum expected', report.expectedSum],
    ['sum actual', report.actualSum],
    ['partitions / unlike a replay', `${report.partitions} / ${report.partitionsThatDiffer}`],
    ['restart median / max', `${report.restartMilliseconds.median} / ${report.restartMilliseconds.max} ms`],
  ];
  for (const [label, value] of rows) console.log(`${label.padEnd(54)}${String(value).padStart(24)}`);
  console.log(isRight ? '\nEverything is exactly right.' : '\nSOMETHING IS WRONG. Please report this.');
}
