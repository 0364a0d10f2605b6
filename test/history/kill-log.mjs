/** What the kernel of the kill test emits: the same each time. */
export const PARTITION = 3;
export const SLOTS = 40;
export const LAST = 600;
const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1) / HOUR;

/** The row of a sequence: hour after hour, and every fifth one late by up to a month. */
export function rowOf(asOf) {
  const hour = START + asOf * 2 - (asOf % 5 === 0 ? Math.min(asOf * 2, (asOf * 37) % 720) : 0);
  const minutes = Array.from({ length: 60 }, (_, minute) => (minute === asOf % 60 ? BigInt(asOf) : undefined));
  return { slot: asOf % SLOTS, generation: 1, hour, asOf, index: 0, minutes };
}

export const endOfLog = (asOf) => (START + asOf * 2 + 1) * HOUR;
