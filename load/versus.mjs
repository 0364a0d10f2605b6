import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { describeMachine, machineFacts } from './machine.mjs';
import { progressBar } from './progress.mjs';
import { writeSections } from './report-file.mjs';
import { batchFigures } from './versus/batches.mjs';
import { callerFigures } from './versus/callers.mjs';
import { HOW_TO_INSTALL, redisVersion } from './versus/redis.mjs';
import { printVersus } from './versus/report.mjs';
import { sizeFigures } from './versus/sizes.mjs';

/**
 * Side by side with Redis on this machine, in turns:   node load/versus.mjs
 *
 *   --only batches,callers,sizes
 *   --names 1000000            random names of batches and callers
 *   --seconds 1.5              of each measurement
 *   --runs 5                   of which the median counts
 *   --sizes 1000000,10000000   counters, for memory and restart
 *   --quick                    small and short: whether it works, not how fast
 *   --json                     one JSON object instead of tables
 *   --out DIR                  versus.json
 */

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: 'batches,callers,sizes' },
    names: { type: 'string' },
    seconds: { type: 'string' },
    runs: { type: 'string' },
    sizes: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});

const redis = redisVersion();
if (!redis) {
  console.error(HOW_TO_INSTALL);
  process.exit(1);
}
const { quick } = options;
const names = Number(options.names ?? (quick ? 20_000 : 1_000_000));
const seconds = Number(options.seconds ?? (quick ? 0.2 : 1.5));
const runs = Number(options.runs ?? (quick ? 2 : 5));
const sizes = (options.sizes ?? (quick ? '50000' : '1000000,10000000')).split(',').map(Number);
const bar = progressBar(!options.json);
const only = options.only.split(',');

const report = { machine: machineFacts(tmpdir()), redis, seconds, runs };
if (!options.json) console.log(`${describeMachine(report.machine)}; Redis ${redis}`);
if (only.includes('batches'))
  report.batches = await batchFigures({ names, seconds, runs, progress: bar.step('batches') });
if (only.includes('callers')) report.callers = await callerFigures({ names, seconds, runs, progress: bar.step });
if (only.includes('sizes')) report.sizes = await sizeFigures({ sizes, runs, progress: bar.step('sizes') });
bar.stop();
if (options.json) console.log(JSON.stringify(report));
else console.log(printVersus(report));
if (options.out) writeSections(options.out, 'versus', report);
process.exit(0); // ioredis keeps a timer
