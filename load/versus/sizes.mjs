import { setTimeout as sleep } from 'node:timers/promises';
import { fill, numberedNames } from '../fill.mjs';
import { spread } from '../histogram.mjs';
import { memoryBytes } from '../process-figures.mjs';
import { RawClient } from '../raw-client.mjs';
import { Redis } from './redis.mjs';
import { RespClient } from './resp.mjs';
import { Tallystick } from './tallystick.mjs';

/** (d) Memory a counter and (e) the time from a start after kill -9 to the first answer, with names of 20 bytes. */

const NAME_BYTES = 20;
/** For memory that is given back late, after a start as after a load (src/lane/quiet.ts), and for logs that are rewritten in the background. */
const REST_MILLISECONDS = 20_000;

export async function sizeFigures({ sizes, runs, progress }) {
  const rows = [];
  for (const [i, count] of sizes.entries()) {
    progress(i, sizes.length);
    const { text, bytes } = numberedNames(NAME_BYTES);
    const tallystick = await sizeOf(await Tallystick.start(), count, text(0), runs, async ({ url }) => {
      const client = await RawClient.connect(url, 'fill');
      await fill(client, count, bytes);
      client.close();
    });
    const redis = await sizeOf(await Redis.start('everysec'), count, text(0), runs, async ({ port }) => {
      const client = await RespClient.connect(port);
      await client.increment(count, text);
      client.close();
    });
    rows.push({
      counters: count,
      nameBytes: NAME_BYTES,
      tallystick,
      redis,
      memoryRatio: tallystick.bytesPerCounter / redis.bytesPerCounter,
      restartRatio: tallystick.restartSeconds.median / redis.restartSeconds.median,
    });
  }
  return rows;
}

async function sizeOf(server, count, name, runs, load) {
  try {
    await sleep(REST_MILLISECONDS);
    const empty = memoryBytes(server.pid);
    const start = performance.now();
    await load(server);
    const fillSeconds = (performance.now() - start) / 1_000;
    await sleep(REST_MILLISECONDS);
    const bytesPerCounter = (memoryBytes(server.pid) - empty) / count;
    const restarts = [];
    for (let run = 0; run < runs; run++) {
      await server.kill();
      restarts.push(await server.launch(name));
    }
    return { bytesPerCounter, emptyBytes: empty, fillSeconds, restartSeconds: spread(restarts) };
  } finally {
    await server.stop();
  }
}
