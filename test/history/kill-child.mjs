import { History } from '../../dist/history/history.js';
import { LmdbTables } from '../../dist/history/lmdb-tables.js';
import { DEFAULT_RETENTION } from '../../dist/history/roll-up.js';
import { RollUpPool } from '../../dist/history/roll-up-pool.js';
import { endOfLog, LAST, PARTITION, rowOf } from './kill-log.mjs';

/**
 * The life of a process: it replays its log and rolls up what is due, with a line before each transaction and one when it has
 * nothing more to do. One that is to be killed waits for that behind so many lines, however late it comes.
 */
const [path, lines] = process.argv.slice(2);
const tables = new LmdbTables(path);
const history = new History(tables);
const pool = new RollUpPool(path);

let said = 0;

async function change(make) {
  if (said === Number(lines)) await new Promise(() => setInterval(() => {}, 60_000));
  process.stdout.write('transaction\n');
  said++;
  const outcome = await make();
  if (outcome && outcome.kind !== 'flushed') throw outcome.error;
  return outcome !== undefined;
}

async function rollUp(asOf) {
  const step = await pool.next({ partition: PARTITION, retention: DEFAULT_RETENTION, now: endOfLog(asOf) });
  return step && history.replace(step);
}

for (let asOf = 0; asOf < LAST; ) {
  const end = Math.min(asOf + 40, LAST);
  const rows = Array.from({ length: end - asOf }, (_, index) => rowOf(asOf + index + 1));
  await change(() => history.commit(PARTITION, { watermark: end, items: 0 }, rows));
  asOf = end;
  await change(() => rollUp(asOf));
}
while (await change(() => rollUp(LAST)));
process.stdout.write('done\n');
await pool.close();
await history.close();
