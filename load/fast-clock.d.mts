/** A clock that runs `times` as fast as the system's from `since` on, in milliseconds since 1970. */
export interface FastClock {
  readonly since: number;
  readonly times: number;
}

export function timeOf(clock: FastClock, now?: number): number;

export function flagsOf(clock: FastClock): string[];
