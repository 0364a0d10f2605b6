/**
 * Runs programs that share memory in every order that their steps can have. A step is a call of Atomics, a copy into or out
 * of shared bytes, a wake-up, or a sleep. Between two steps a program touches nothing that another one sees.
 *
 * A program is run from its start for every step that it makes: the steps that it has made before get the results that they had
 * then, the next one is carried out, and the one after that throws. So the code under test is the real one, and needs to know of
 * nothing. What it does to words without Atomics is done to memory that stays 0 for everybody else, and so is found out.
 *
 * A situation is visited once. Two are the same where memory and wake-ups are, and where each program got the same results from
 * its last step of each name and made the same few steps last: it then knows the same and stands in the same place.
 */

/** What a program may do besides touching shared memory. */
export interface World {
  /** Wakes the program of that index, or lets it not fall asleep next time. */
  wake(program: number): void;
  /** Waits for a wake-up. */
  sleep(): void;
}

export interface Explored {
  /** Situations in which the programs were, and ends that they came to. */
  readonly situations: number;
  readonly ends: number;
}

interface Step {
  /** What it does, and to which word or bytes. */
  readonly name: string;
  readonly run: (situation: Situation) => unknown;
  readonly isPossible: (situation: Situation) => boolean;
}

/** All that is shared, and what each program has been told. */
interface Situation {
  readonly words: number[];
  readonly bytes: Uint8Array;
  readonly wakeUps: number[];
  readonly results: unknown[][];
  readonly knowledge: Knowledge[];
  /** The next step of each program; undefined at its end. */
  readonly next: (Step | undefined)[];
}

/** What decides how a program goes on. */
interface Knowledge {
  /** By the name of a step the result that it had last; of the bytes that were read, all. */
  readonly last: Map<string, string>;
  /** The names of its last steps: they tell where it stands. */
  readonly trail: string[];
}

const TRAIL = 3;

class Suspended extends Error {}

type Program = (world: World) => void;

export interface Scenario {
  readonly memory: SharedArrayBuffer;
  /** Where the bytes begin; before them there are words. */
  readonly bytesAt: number;
  readonly programs: readonly Program[];
  /** Called where every program has ended. */
  readonly atEnd: () => void;
}

/** Throws with the steps that led there where all programs that have not ended sleep. */
export function explore(scenario: Scenario): Explored {
  const explorer = new Explorer(scenario);
  const restore = explorer.intercept();
  try {
    return explorer.run();
  } finally {
    restore();
  }
}

class Explorer {
  readonly #scenario: Scenario;
  readonly #seen = new Set<string>();
  #ends = 0;
  // The program that runs: what it is told again, and what it may still do
  #program = 0;
  #situation!: Situation;
  #replayed = 0;
  #mayStep = false;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
  }

  run(): Explored {
    const { memory, bytesAt, programs } = this.#scenario;
    const start: Situation = {
      words: new Array(bytesAt / 4).fill(0),
      bytes: new Uint8Array(memory.byteLength - bytesAt),
      wakeUps: programs.map(() => 0),
      results: programs.map(() => []),
      knowledge: programs.map(() => ({ last: new Map(), trail: [] })),
      next: programs.map(() => undefined),
    };
    programs.forEach((_, program) => {
      this.#advance(start, program, false);
    });
    this.#visit(start, []);
    return { situations: this.#seen.size, ends: this.#ends };
  }

  #visit(situation: Situation, path: readonly string[]): void {
    const key = keyOf(situation);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    const { next } = situation;
    if (next.every((step) => step === undefined)) {
      this.#ends++;
      this.#scenario.atEnd();
      return;
    }
    const possible = next.flatMap((step, program) => (step?.isPossible(situation) ? [program] : []));
    if (possible.length === 0) throw new Error(`All sleep, for ever, after ${path.join(', ')}.`);
    for (const program of possible) {
      const copy = copyOf(situation);
      const name = `${program} ${next[program]?.name}`;
      try {
        this.#advance(copy, program, true);
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.message : error}\nafter ${[...path, name].join(', ')}`, {
          cause: error,
        });
      }
      this.#visit(copy, [...path, name]);
    }
  }

  /** Runs a program up to where it is, one step further if it may, and notes what it would do next. */
  #advance(situation: Situation, program: number, mayStep: boolean): void {
    this.#program = program;
    this.#situation = situation;
    this.#replayed = 0;
    this.#mayStep = mayStep;
    situation.next[program] = undefined;
    try {
      this.#scenario.programs[program]?.({
        wake: (other) => this.#step('wake', ({ wakeUps }) => void add(wakeUps, other, 1)),
        sleep: () =>
          this.#step(
            'sleep',
            ({ wakeUps }) => void add(wakeUps, program, -1),
            ({ wakeUps }) => (wakeUps[program] as number) > 0,
          ),
      });
    } catch (error) {
      if (!(error instanceof Suspended)) throw error;
    }
  }

  #step(name: string, run: Step['run'], isPossible: Step['isPossible'] = () => true): unknown {
    const results = this.#situation.results[this.#program] as unknown[];
    if (this.#replayed < results.length) return results[this.#replayed++];
    if (!this.#mayStep) {
      this.#situation.next[this.#program] = { name, run, isPossible };
      throw new Suspended();
    }
    this.#mayStep = false;
    const result = run(this.#situation);
    results.push(result);
    this.#replayed++;
    note(this.#situation.knowledge[this.#program] as Knowledge, name, result);
    return result;
  }

  /** Takes the place of Atomics and of copies, where they touch the memory of the scenario. */
  intercept(): () => void {
    const { memory, bytesAt } = this.#scenario;
    const { load, store, exchange } = Atomics;
    const { set } = Uint8Array.prototype;
    const step = (name: string, run: Step['run']) => this.#step(name, run);
    const isOurs = (view: ArrayBufferView) => view.buffer === memory;
    const atomics = Atomics as unknown as Record<string, unknown>;
    atomics['load'] = (words: Int32Array, at: number) =>
      isOurs(words) ? step(`load ${at}`, (shared) => shared.words[at]) : load(words, at);
    const put = (name: string, instead: typeof store) => (words: Int32Array, at: number, value: number) => {
      if (!isOurs(words)) return instead(words, at, value);
      return step(`${name} ${at}`, (shared) => {
        const before = shared.words[at];
        shared.words[at] = value;
        return name === 'exchange' ? before : value;
      });
    };
    atomics['store'] = put('store', store);
    atomics['exchange'] = put('exchange', exchange);
    Uint8Array.prototype.set = function (this: Uint8Array, source: Uint8Array, offset = 0) {
      if (source.length === 0) return;
      if (isOurs(this)) {
        const to = this.byteOffset - bytesAt + offset;
        step('write', ({ bytes }) => set.call(bytes, source, to));
      } else if (isOurs(source)) {
        const from = source.byteOffset - bytesAt;
        const copied = step('read', ({ bytes }) => Array.from(bytes.subarray(from, from + source.length)));
        set.call(this, copied as number[], offset);
      } else {
        set.call(this, source, offset);
      }
    } as typeof Uint8Array.prototype.set;
    return () => {
      Object.assign(Atomics, { load, store, exchange });
      Uint8Array.prototype.set = set;
    };
  }
}

function note({ last, trail }: Knowledge, name: string, result: unknown): void {
  last.set(name, name === 'read' ? `${last.get(name) ?? ''}${result},` : String(result));
  trail.push(name);
  if (trail.length > TRAIL) trail.shift();
}

function keyOf({ words, bytes, wakeUps, knowledge }: Situation): string {
  const known = knowledge.map(({ last, trail }) => `${[...last].sort().join(';')} ${trail.join()}`);
  return [words.filter((_, i) => i % 16 === 0).join(), bytes.join(), wakeUps.join(), ...known].join('|');
}

function add(numbers: number[], at: number, by: number): void {
  numbers[at] = (numbers[at] as number) + by;
}

function copyOf({ words, bytes, wakeUps, results, knowledge, next }: Situation): Situation {
  return {
    words: [...words],
    bytes: bytes.slice(),
    wakeUps: [...wakeUps],
    results: results.map((of) => [...of]),
    knowledge: knowledge.map(({ last, trail }) => ({ last: new Map(last), trail: [...trail] })),
    next: [...next],
  };
}
