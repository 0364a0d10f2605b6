import { TallystickError } from '../errors.js';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a duration such as "90s", "5m", "1h" or "7d", or of a whole number of them. @throws TallystickError INVALID_ARGUMENT */
export function parseDuration(duration: string | number): number {
  const [, count = '', unit = ''] = /^([0-9]+)(ms|s|m|h|d)$/.exec(String(duration)) ?? [];
  const milliseconds = typeof duration === 'number' ? duration : Number(count) * (UNITS[unit] ?? 0);
  if (Number.isSafeInteger(milliseconds) && milliseconds >= 1) return milliseconds;
  throw new TallystickError('INVALID_ARGUMENT', `"${duration}" is no duration such as "90s", "5m", "1h" or "7d".`);
}
