/**
 * A consumer, as a process that may be killed at any time. It counts each message that it is handed, and says so when that is on the device of the server.
 *
 *   node examples/redelivery/consumer.mjs URL [--without-ids]
 */
import { connect } from 'tallystick';

const [url, flag] = process.argv.slice(2);
const hasIds = flag !== '--without-ids';
const client = await connect(url, { timeout: 60_000 });

process.on('message', async ({ offset, message: { id, counter, amount } }) => {
  // The message's own id: whoever counts it, and however often it is handed out, it counts once.
  await client.increment(counter, amount, hasIds ? { id } : {});
  process.send({ offset });
});
// A rejected increment ends the process, and so its message comes again. So does the end of the one that hands out.
process.once('disconnect', () => process.exit());
process.send('ready');
