import { Redis as RedisClient } from 'ioredis';
import { connect } from '../../dist/client/index.js';
import { numberedNames } from '../fill.mjs';
import { percentiles, spread } from '../histogram.mjs';
import { random } from '../names.mjs';
import { openLoop } from '../open-loop.mjs';
import { singleCalls } from '../sdk-loops.mjs';
import { Redis } from './redis.mjs';
import { Tallystick } from './tallystick.mjs';

/**
 * What an application sees, of one process that awaits single increments: ioredis with automatic pipelining against our SDK. (b) Callers
 * that each await one after the other; (c) increments that are due at fixed times.
 */

const NAME_BYTES = 30;
const CALLERS = [1, 64, 1_024];
const RATES = [10_000, 50_000];

/** Who plays against whom. */
const PAIRS = [
  ['tallystick durable', 'redis always'],
  ['tallystick durable on files', 'redis always'],
  ['tallystick applied', 'redis everysec'],
];

export async function callerFigures({ names: count, seconds, runs, progress }) {
  const { text } = numberedNames(NAME_BYTES);
  const names = Array.from({ length: count }, (_, i) => text(i));
  return withContestants(async (contestants) => {
    const callers = await inTurns(contestants, CALLERS, runs, progress('callers'), async (increment, number) => {
      const next = random(number);
      const {
        increments,
        seconds: spent,
        histogram,
      } = await singleCalls(increment, names, { callers: number, seconds, next });
      return { perSecond: increments / spent, ...percentiles(histogram) };
    });
    const rates = await inTurns(contestants, RATES, runs, progress('rates'), async (increment, rate) => {
      const next = random(rate);
      const call = () => increment(names[Math.floor(next() * count)]);
      const { rate: reached, histogram } = await openLoop(call, { rate, seconds: seconds * 2 });
      return { perSecond: reached, ...percentiles(histogram) };
    });
    return { callers, rates };
  });
}

/** A function for each contestant that makes one increment. */
async function withContestants(work) {
  const always = await Redis.start('always');
  const everysec = await Redis.start('everysec');
  const tallystick = await Tallystick.start();
  const onFiles = await Tallystick.start('--log', 'files');
  const clients = [];
  const redis = ({ port }) => {
    const client = new RedisClient({ host: '127.0.0.1', port, enableAutoPipelining: true });
    clients.push({ close: () => client.quit() });
    return (name) => client.incr(name);
  };
  const ours = async ({ url }, ack) => {
    const client = await connect(url, { ack, timeout: 60_000 });
    clients.push(client);
    return (name) => client.increment(name);
  };
  try {
    return await work({
      'tallystick durable': await ours(tallystick, 'durable'),
      'tallystick durable on files': await ours(onFiles, 'durable'),
      'redis always': redis(always),
      'tallystick applied': await ours(tallystick, 'applied'),
      'redis everysec': redis(everysec),
    });
  } finally {
    for (const client of clients) await client.close();
    for (const server of [always, everysec, tallystick, onFiles]) await server.stop();
  }
}

/** Every contestant at every setting, over and over; for each setting the contestants and the ratios of the pairs. */
async function inTurns(contestants, settings, runs, progress, measure) {
  const results = settings.map((setting) => ({
    setting,
    figures: new Map(Object.keys(contestants).map((name) => [name, []])),
  }));
  for (const [name, increment] of Object.entries(contestants)) await measure(increment, settings[0], name); // warm
  let done = 0;
  for (let run = 0; run < runs; run++) {
    for (const { setting, figures } of results) {
      for (const [name, increment] of Object.entries(contestants)) {
        progress(done++, runs * settings.length * figures.size);
        figures.get(name).push(await measure(increment, setting));
      }
    }
  }
  return results.map(({ setting, figures }) => ({
    setting,
    contestants: [...figures].map(([name, all]) => ({ name, ...summary(all) })),
    ratios: PAIRS.map(([ours, theirs]) => {
      const both = figures.get(ours).map((one, run) => [one, figures.get(theirs)[run]]);
      return {
        ours,
        theirs,
        throughput: spread(both.map(([one, other]) => one.perSecond / other.perSecond)),
        p50: spread(both.map(([one, other]) => one.p50 / other.p50)),
        p99: spread(both.map(([one, other]) => one.p99 / other.p99)),
      };
    }),
  }));
}

function summary(figures) {
  const names = ['perSecond', 'p50', 'p99', 'p999'];
  return Object.fromEntries(names.map((name) => [name, spread(figures.map((one) => one[name]))]));
}
