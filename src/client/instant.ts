import { TallystickError } from '../errors.js';

/** A Date, milliseconds since 1970, or what `new Date` reads, with its zone: "2026-11-27T12:00:00Z", or "2026-11-27" for midnight of UTC. */
export type Instant = Date | number | string;

/** @throws TallystickError INVALID_ARGUMENT */
export function millisecondsOf(instant: Instant): number {
  const milliseconds = typeof instant === 'number' ? instant : new Date(instant).getTime();
  if (Number.isSafeInteger(milliseconds) && milliseconds >= 0) return milliseconds;
  throw new TallystickError(
    'INVALID_ARGUMENT',
    `"${instant}" is no time such as "2026-11-27T12:00:00Z", from 1970 on.`,
  );
}
