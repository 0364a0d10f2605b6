import { z } from 'zod';
import { encodeUtf8 } from '../protocol/bytes.js';
import { ACCURACIES } from '../protocol/control.js';
import {
  type CounterClass,
  MAX_CLASSES,
  MAX_PATTERN_BYTES,
  MOST_EXACT_UNIQUES,
  MOST_ONCE_ITEMS,
  MOST_UNIQUE_DAYS,
} from './classes.js';

/** Classes as people write them, in the configuration: durations are "90s", "15m", "6h", "30d"; "2y" are 730 days. */

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, y: 31_536_000_000 };
const LONGEST_DAYS = 36_500;

/** Text becomes milliseconds; a number is milliseconds already, as those of a configuration that was read before are. */
const duration = z.union([z.string(), z.number()]).transform((given, context) => {
  const [, count = '', unit = ''] = /^([1-9][0-9]{0,8})([smhdy])$/.exec(String(given)) ?? [];
  const milliseconds = typeof given === 'number' ? given : Number(count) * (UNITS[unit] ?? 0);
  if (Number.isInteger(milliseconds) && milliseconds > 0 && milliseconds <= LONGEST_DAYS * 86_400_000)
    return milliseconds;
  context.addIssue({ code: 'custom', message: `"${given}" is no duration such as "90s", "15m", "6h" or "30d"` });
  return z.NEVER;
});

/** "7d" becomes 7; a number is days already. */
const days = z.union([z.string(), z.number()]).transform((given, context) => {
  const count = typeof given === 'number' ? given : Number(/^([1-9][0-9]?)d$/.exec(given)?.[1]);
  if (Number.isInteger(count) && count >= 1 && count <= MOST_UNIQUE_DAYS) return count;
  context.addIssue({ code: 'custom', message: `"${given}" is not "1d" to "${MOST_UNIQUE_DAYS}d"` });
  return z.NEVER;
});

const pattern = z
  .string()
  .refine((text) => text.length > 0 && encodeUtf8(text).length <= MAX_PATTERN_BYTES, `1 to ${MAX_PATTERN_BYTES} bytes`);

const counterClass = z.strictObject({
  pattern,
  windows: z.enum(['1h', '1d']).optional(),
  seconds: z.boolean().optional(),
  gross: z.boolean().optional(),
  history: z
    .union(
      [
        z.boolean(),
        z.strictObject({ minutes: duration.optional(), hours: duration.optional(), days: duration.optional() }),
      ],
      { error: 'neither a boolean nor { "minutes": "7d", "hours": "90d", "days": "2y" }' },
    )
    .optional(),
  uniques: z.number().int().min(0).max(MOST_EXACT_UNIQUES).optional(),
  uniquesWindows: days.optional(),
  once: duration.optional(),
  onceItems: z.number().int().min(1).max(MOST_ONCE_ITEMS).optional(),
  ttl: duration.optional(),
  lateness: z
    .union([z.literal('any'), duration], { error: 'neither "any" nor a duration such as "90s" or "6h"' })
    .optional(),
  late: z.enum(['refuse', 'total']).optional(),
  accuracy: z.enum(ACCURACIES).optional(),
  rollover: z.literal('daily').optional(),
  zone: z.string().refine(isZone, 'no time zone such as "Europe/Berlin"').optional(),
});

const usableClass = counterClass
  .refine(
    ({ rollover, ttl }) => !rollover || ttl === undefined,
    'a counter that begins anew with every day has no "ttl"',
  )
  .refine(({ rollover, zone }) => rollover || zone === undefined, 'a "zone" is that of a "rollover"')
  .refine(({ uniques, uniquesWindows }) => uniques !== undefined || uniquesWindows === undefined, {
    path: ['uniquesWindows'],
    message: 'goes with "uniques", which says how many are exact',
  })
  .refine(({ once, onceItems }) => once !== undefined || onceItems === undefined, {
    path: ['onceItems'],
    message: 'goes with "once", which says for how long',
  });

function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false; // the RangeError says no more
  }
}

/** A list of them; as text, JSON. */
export const classSettings = z.preprocess(
  (value) => (typeof value === 'string' ? parsed(value) : value),
  z.array(usableClass).max(MAX_CLASSES),
) as unknown as z.ZodType<readonly CounterClass[]>;

/** Text that is no JSON stays text, which the schema refuses. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
