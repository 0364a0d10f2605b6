import { Flag } from '../../dist/protocol/opcode.js';
import { Batches, DISTRIBUTIONS } from '../batches.mjs';
import { closedLoop } from '../closed-loop.mjs';
import { Counters } from '../counters.mjs';
import { numberedNames } from '../fill.mjs';
import { spread } from '../histogram.mjs';
import { random } from '../names.mjs';
import { costOf } from '../process-figures.mjs';
import { RawClient } from '../raw-client.mjs';
import { MODES, Redis, SCRIPT_KEYS } from './redis.mjs';
import { Tallystick } from './tallystick.mjs';

/**
 * (a) The most that goes through, of random names of 30 bytes: INCR pipelined by redis-benchmark, and 1,000 INCRs a call of Lua, against
 * our batches; (f) what it costs the server. The same connections and the same increments in flight. All servers run all the time, one
 * of them busy.
 */

const NAME_BYTES = 30;
const CONNECTIONS = 16;
const DEPTHS = [1, 16, 100, 1_000, 10_000];
const LARGEST_BATCH = 10_000;
const SWEEP_REQUESTS = 20_000;
const MADE_OPERATIONS = 2_000_000;

export async function batchFigures({ names: keys, seconds, runs, progress }) {
  const servers = await Promise.all(Object.keys(MODES).map((mode) => Redis.start(mode)));
  const ours = await OurBatches.start(keys);
  const onFiles = await OurBatches.start(keys, '--log', 'files');
  try {
    const depth = await bestDepth(servers[0], keys, seconds);
    const contestants = [
      ...servers.flatMap((redis) => [pipelined(redis, keys, depth.best, seconds), scripted(redis, keys, seconds)]),
      ...ours.contestants(['durable', 'applied'], '', depth.best * CONNECTIONS, seconds),
      ...onFiles.contestants(['durable'], ' on files', depth.best * CONNECTIONS, seconds),
    ];
    const figures = new Map(contestants.map(({ name }) => [name, []]));
    for (let run = 0; run < runs; run++) {
      for (const { name, pid, once } of contestants) {
        progress([...figures.values()].flat().length, runs * contestants.length);
        const { result, cpuSeconds, bytesWritten } = await costOf(pid, once);
        const millions = result.increments / 1e6;
        figures.get(name).push({
          perSecond: result.perSecond,
          cpuSecondsPerMillion: cpuSeconds / millions,
          bytesPerMillion: bytesWritten / millions,
        });
      }
    }
    await Promise.all([ours, onFiles].map((each) => each.check()));
    return {
      connections: CONNECTIONS,
      nameBytes: NAME_BYTES,
      names: keys,
      depth,
      contestants: summary(figures),
      ratios: ratios(figures),
    };
  } finally {
    await Promise.all([...servers, ours, onFiles].map((server) => server.stop()));
  }
}

/** What goes through at each depth. */
async function bestDepth(redis, keys, seconds) {
  const tried = {};
  const key = `${numberedNames(NAME_BYTES).prefix}__rand_int__`;
  for (const depth of DEPTHS) {
    const run = (requests) => redis.benchmark(['INCR', key], { connections: CONNECTIONS, depth, requests, keys });
    const rate = await run(Math.max(SWEEP_REQUESTS, CONNECTIONS * depth));
    tried[depth] = Math.round(await run(Math.max(CONNECTIONS * depth, Math.round((rate * seconds) / 2))));
  }
  const best = Number(Object.keys(tried).sort((a, b) => tried[b] - tried[a])[0]);
  return { best, tried };
}

/** `once` takes about as long as asked for, going by the run before. */
function pipelined(redis, keys, depth, seconds) {
  const key = `${numberedNames(NAME_BYTES).prefix}__rand_int__`;
  let requests = SWEEP_REQUESTS + CONNECTIONS * depth;
  const once = async () => {
    const done = requests;
    const perSecond = await redis.benchmark(['INCR', key], { connections: CONNECTIONS, depth, requests: done, keys });
    requests = Math.max(CONNECTIONS * depth, Math.round(perSecond * seconds));
    return { increments: done, perSecond };
  };
  return { name: `redis ${redis.mode}, pipelined`, pid: redis.pid, once };
}

function scripted(redis, keys, seconds) {
  const key = `${numberedNames(NAME_BYTES).prefix}__rand_int__`;
  let requests = CONNECTIONS * 2;
  const once = async () => {
    const done = requests;
    const command = await redis.scriptCommand(key);
    const calls = await redis.benchmark(command, { connections: CONNECTIONS, depth: 1, requests: done, keys });
    requests = Math.max(CONNECTIONS, Math.round(calls * seconds));
    return { increments: done * SCRIPT_KEYS, perSecond: calls * SCRIPT_KEYS };
  };
  return { name: `redis ${redis.mode}, Lua`, pid: redis.pid, once };
}

/** Our side: as many connections as Redis has, to both lanes evenly. */
class OurBatches {
  #server;
  #clients = [];
  #counters;
  #sent = 0;

  static async start(keys, ...flags) {
    const ours = new OurBatches();
    ours.#server = await Tallystick.start(...flags);
    const first = await RawClient.connect(ours.#server.url, 'versus-0');
    ours.#clients.push(first);
    while (ours.#clients.length < CONNECTIONS / first.lanes.length)
      ours.#clients.push(await RawClient.connect(ours.#server.url, `versus-${ours.#clients.length}`));
    const { text } = numberedNames(NAME_BYTES);
    const names = Array.from({ length: keys }, (_, i) => text(i));
    ours.#counters = await Counters.open(first, names);
    return ours;
  }

  /** @param where goes into their names */
  contestants(acks, where, inFlight, seconds) {
    const equal = acks.flatMap((ack) =>
      ['name', 'id'].map((key) => this.#contestant(key, ack, inFlight, seconds, where)),
    );
    const largest = LARGEST_BATCH * CONNECTIONS;
    if (inFlight === largest) return equal;
    return [
      ...equal,
      ...['name', 'id'].map((key) => this.#contestant(key, 'durable', largest, seconds, where, ', larger batches')),
    ];
  }

  #contestant(key, ack, inFlight, seconds, where, note = '') {
    const size = Math.min(LARGEST_BATCH, Math.max(1, inFlight / CONNECTIONS));
    const count = Math.max(32, Math.ceil(Math.min(MADE_OPERATIONS, 8 * this.#counters.count) / size));
    const pick = DISTRIBUTIONS.uniform(this.#counters.count, random(1));
    const batches = new Batches(this.#counters, { size, count, key, pick });
    const flags = ack === 'applied' ? Flag.APPLIED : 0;
    const each = Math.max(1, Math.round(inFlight / size / this.#clients.length));
    const once = async () => {
      const { increments, seconds: spent } = await closedLoop(this.#clients, batches, {
        inFlight: each,
        seconds,
        flags,
      });
      this.#sent += increments;
      return { increments, perSecond: increments / spent };
    };
    return { name: `tallystick ${ack}${where}, by ${key}${note}`, pid: this.#server.pid, once };
  }

  /** A number of increments that was not counted would be worth nothing. */
  async check() {
    const sum = await this.#counters.sum(this.#clients[0]);
    if (sum !== BigInt(this.#sent))
      throw new Error(`${this.#sent} increments were acknowledged, the counters hold ${sum}.`);
  }

  async stop() {
    for (const client of this.#clients) client.close();
    await this.#server.stop();
  }
}

function summary(figures) {
  return [...figures].map(([name, runs]) => ({
    name,
    perSecond: spread(runs.map(({ perSecond }) => perSecond)),
    cpuSecondsPerMillion: spread(runs.map((run) => run.cpuSecondsPerMillion)),
    bytesPerMillion: spread(runs.map((run) => run.bytesPerMillion)),
  }));
}

/** Each of ours over each of Redis's, run by run. */
function ratios(figures) {
  const side = (start) => [...figures.keys()].filter((name) => name.startsWith(start));
  return side('tallystick').flatMap((ours) =>
    side('redis').map((theirs) => ({
      ours,
      theirs,
      ratio: spread(figures.get(ours).map(({ perSecond }, run) => perSecond / figures.get(theirs)[run].perSecond)),
    })),
  );
}
