import { connectIn } from '../dist/client/connect.js';
import { tcpTransport } from '../dist/client/tcp.js';
import { systemClock } from '../dist/clock.js';
import { FrameReader } from '../dist/protocol/frame.js';
import { Opcode } from '../dist/protocol/opcode.js';

/** A client of the SDK that never rests, and that knows of each counter what was acknowledged. */

const SHARED_COUNTERS = 1_000;
const OWN_CALLERS = 4;
const SHARED_CALLERS = 3;
const BATCH_CALLERS = 1;
const OPERATIONS_OF_A_BATCH = 20;
const ADDS_OF_A_FLUSH = 50;
/** For so long increments say that they are late: each is a row of its counter's history. */
const LATEST_HOURS = 480;
/** Longer than any restart takes: no call is to end without its answer. */
const TIMEOUT_MILLISECONDS = 120_000;

export class Workload {
  /** For each counter the sum of what was acknowledged. */
  expected = new Map();
  acknowledged = 0;
  /** Calls that ended in an error, and how many of them do not say what became of the operation. */
  refused = 0;
  unknown = 0;
  /** Answered values that a counter with a single caller can't have had. */
  wrongAnswers = 0;
  /** Counters that begin anew by themselves. */
  restarting;
  #client;
  /** For each caller how many calls it made. */
  #calls = [];
  #callers = [];
  #rounds = [];
  /** Why the client can't go on. */
  #broken;
  #stopping = false;

  /**
   * `restarting`: counters that begin anew by themselves; `now`: the server's clock. `inFlight`: a word in which batches are counted that were sent and are not answered. `direct`: whether the client connects to
   * every lane, or to one that passes on what others own.
   */
  static async start(url, name, { inFlight, direct, restarting = [], now = Date.now }) {
    const environment = {
      clock: systemClock,
      // Only delays before a reconnection are drawn by chance: shorter ones, so that the load is back soon.
      random: () => Math.random() / 8,
      randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
      transport: countingTransport(inFlight),
    };
    const client = await connectIn(environment, url, { direct, timeout: TIMEOUT_MILLISECONDS });
    return new Workload(client, name, restarting, now);
  }

  constructor(client, name, restarting, now) {
    this.#client = client;
    this.restarting = restarting;
    for (const counter of restarting) this.#spawn(this.#incrementRestarting(counter, now));
    for (let i = 0; i < OWN_CALLERS; i++)
      this.#spawn(this.#increment(`${name}:${i}`, i % 3 === 0 ? 'applied' : 'durable'));
    for (let i = 0; i < SHARED_CALLERS; i++) this.#spawn(() => this.#incrementShared());
    for (let i = 0; i < BATCH_CALLERS; i++) this.#spawn(() => this.#batch());
    this.#spawn(() => this.#addAndFlush());
  }

  /** Batches that the server knew already when they were sent again. */
  get repeated() {
    return this.#client.statistics.repeated;
  }

  /** Resolves when the call that each caller is in now has ended. */
  round() {
    return new Promise((resolve, reject) => {
      if (this.#broken) throw this.#broken;
      this.#rounds.push({ targets: this.#calls.map((calls) => calls + 1), resolve, reject });
    });
  }

  /** Lets every call come to its end, and disconnects. */
  async stop() {
    this.#stopping = true;
    await Promise.all(this.#callers);
    await this.#client.close();
  }

  /** Disconnects without waiting for anything. */
  async abandon() {
    this.#stopping = true;
    await this.#client.close({ timeout: 1 }).catch(() => {});
    await Promise.allSettled(this.#callers);
  }

  #spawn(call) {
    const index = this.#calls.push(0) - 1;
    const run = async () => {
      while (!this.#stopping) {
        await call();
        this.#calls[index]++;
        this.#rounds = this.#rounds.filter(({ targets, resolve }) => {
          const isOver = targets.every((target, i) => this.#calls[i] >= target);
          if (isOver) resolve();
          return !isOver;
        });
      }
    };
    const caller = run();
    caller.catch((error) => {
      this.#broken ??= error;
      for (const { reject } of this.#rounds) reject(error);
    });
    this.#callers.push(caller);
  }

  /** One counter that nobody else writes: every answer is known beforehand. */
  #increment(name, ack) {
    let value = 0n;
    return async () => {
      const delta = someDelta();
      await this.#counted([[name, delta]], async () => {
        value += delta;
        if ((await this.#client.increment(name, delta, { ack })) !== value) this.wrongAnswers++;
      });
    };
  }

  /** Counts up, so that an answer tells whether the counter began anew. */
  #incrementRestarting(counter, now) {
    return async () => {
      const delta = BigInt(1 + Math.floor(Math.random() * 5));
      const sent = now();
      try {
        const value = await this.#client.increment(counter.name, delta);
        if (!counter.took({ sent, answered: now(), delta, value })) this.wrongAnswers++;
      } catch (error) {
        if (error.outcome === 'applied') counter.lost(delta);
        this.#failed([], error);
      }
    };
  }

  async #incrementShared() {
    const name = someShared();
    const delta = someDelta();
    await this.#counted([[name, delta]], () => this.#client.increment(name, delta));
  }

  async #batch() {
    const operations = Array.from({ length: OPERATIONS_OF_A_BATCH }, () => [someShared(), someDelta()]);
    const time = someTime();
    const results = await this.#client.batch(operations.map(([name, delta]) => ({ name, delta, time })));
    for (const [i, { error }] of results.entries()) {
      if (error) this.#failed([operations[i]], error);
      else this.#acknowledge(...operations[i]);
    }
  }

  async #addAndFlush() {
    const operations = Array.from({ length: ADDS_OF_A_FLUSH }, () => [someShared(), someDelta()]);
    await this.#counted(operations, () => {
      for (const [name, delta] of operations) this.#client.counter(name).add(delta);
      return this.#client.flush();
    });
  }

  async #counted(operations, call) {
    try {
      await call();
      for (const [name, delta] of operations) this.#acknowledge(name, delta);
    } catch (error) {
      this.#failed(operations, error);
    }
  }

  #acknowledge(name, delta) {
    this.acknowledged++;
    this.expected.set(name, (this.expected.get(name) ?? 0n) + delta);
  }

  #failed(operations, error) {
    if (error.code === 'CLOSED') throw error;
    // ALREADY_APPLIED: only the value is lost.
    if (error.outcome === 'applied') for (const [name, delta] of operations) this.#acknowledge(name, delta);
    else if (error.outcome === 'refused') this.refused++;
    else {
      this.unknown++;
      console.error(`An outcome is unknown: ${error.message}`);
    }
  }
}

/** TCP that counts the batches that the system has taken and that are not answered. */
function countingTransport(inFlight) {
  return {
    open(address, events) {
      const pending = new Set();
      const reader = new FrameReader();
      const forget = () => {
        Atomics.sub(inFlight, 0, pending.size);
        pending.clear();
      };
      const channel = tcpTransport.open(address, {
        opened: () => events.opened(),
        received: (bytes) => {
          reader.push(bytes, ({ requestId }) => {
            if (pending.delete(requestId)) Atomics.sub(inFlight, 0, 1);
          });
          events.received(bytes);
        },
        closed: (cause) => {
          forget();
          events.closed(cause);
        },
      });
      let isOpen = true;
      const sent = (id) => {
        if (!isOpen) return;
        pending.add(id);
        Atomics.add(inFlight, 0, 1);
      };
      return {
        write: (bytes) => {
          channel.write(bytes);
          const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
          // The channel hands what was written in this turn to the system before this runs.
          if (bytes[4] === Opcode.ADD) process.nextTick(sent, id);
        },
        close: () => {
          isOpen = false;
          forget();
          channel.close();
        },
      };
    },
  };
}

const someShared = () => `shared:${Math.floor(Math.random() * SHARED_COUNTERS)}`;
const someDelta = () => BigInt(Math.floor(Math.random() * 20) - 5);
const someTime = () => Date.now() - Math.floor(Math.random() * LATEST_HOURS) * 3_600_000;
