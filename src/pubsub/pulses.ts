import type { Clock, Timer } from '../clock.js';

/** The least time between two phases, in milliseconds. */
const LEAST_PHASE = 10;

/** One interval: its members are spread over phases, which take turns. */
interface Pulse<T> {
  readonly phases: Set<T>[];
  /** The phase whose turn was last. */
  at: number;
  /** When that was to be, in milliseconds times the number of phases: whole numbers, whose sums do not drift. */
  due: number;
  timer: Timer;
  size: number;
}

/**
 * When members of intervals have their turns: each once in its interval, those of one interval at as many different times as there are phases, so that they are
 * not all to be served at once. Where turns come late they are not made up for.
 */
export class Pulses<T> {
  readonly #clock: Clock;
  readonly #mostPhases: number;
  readonly #onTurn: (members: ReadonlySet<T>, interval: number) => void;
  readonly #pulses = new Map<number, Pulse<T>>();

  constructor(clock: Clock, mostPhases: number, onTurn: (members: ReadonlySet<T>, interval: number) => void) {
    this.#clock = clock;
    this.#mostPhases = mostPhases;
    this.#onTurn = onTurn;
  }

  /** Its first turn comes within the interval. */
  join(interval: number, member: T): void {
    const pulse = this.#pulses.get(interval) ?? this.#begin(interval);
    const { phases, at } = pulse;
    // of those with the fewest members the one whose turn was last
    let chosen = phases[at] as Set<T>;
    for (let back = 1; back < phases.length; back++) {
      const phase = phases[(at - back + phases.length) % phases.length] as Set<T>;
      if (phase.size < chosen.size) chosen = phase;
    }
    chosen.add(member);
    pulse.size++;
  }

  leave(interval: number, member: T): void {
    const pulse = this.#pulses.get(interval);
    if (!pulse?.phases.some((phase) => phase.delete(member)) || --pulse.size > 0) return;
    pulse.timer.cancel();
    this.#pulses.delete(interval);
  }

  close(): void {
    for (const { timer } of this.#pulses.values()) timer.cancel();
    this.#pulses.clear();
  }

  #begin(interval: number): Pulse<T> {
    const count = Math.max(1, Math.min(this.#mostPhases, Math.floor(interval / LEAST_PHASE)));
    const pulse: Pulse<T> = {
      phases: Array.from({ length: count }, () => new Set()),
      at: count - 1,
      due: this.#clock.monotonicMilliseconds() * count,
      timer: { cancel: () => {} },
      size: 0,
    };
    this.#pulses.set(interval, pulse);
    this.#wait(pulse, interval);
    return pulse;
  }

  #wait(pulse: Pulse<T>, interval: number): void {
    const now = this.#clock.monotonicMilliseconds();
    const count = pulse.phases.length;
    pulse.due = Math.max(pulse.due + interval, now * count);
    pulse.timer = this.#clock.setTimer(Math.ceil(pulse.due / count - now), () => {
      pulse.at = (pulse.at + 1) % count;
      this.#wait(pulse, interval);
      const members = pulse.phases[pulse.at] as Set<T>;
      if (members.size > 0) this.#onTurn(members, interval);
    });
  }
}
