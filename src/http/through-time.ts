import { z } from 'zod';
import { type Route, route } from './route.js';
import {
  counterName,
  duration,
  given,
  instantText,
  int64Out,
  milliseconds,
  readQuery,
  toInstant,
  valueQuery,
  valueWriter,
} from './schemas.js';

/** What counters have changed by: windows, rates, histories. */

export const last = duration.meta({ description: 'How long it is, up to now.' });
export const mode = z.enum(['sliding', 'aligned']).meta({
  description: 'Exactly as long, its oldest part by its share (`sliding`), or from a whole second, minute or hour on.',
});
const gross = z.enum(['true', 'false']).meta({ description: 'Also what increased it and what decreased it.' });
const durable = z.boolean().meta({ description: 'Whether no crash can take back what it shows.' });
const resolution = z.enum(['minute', 'hour', 'day']);
const exact = z.boolean().meta({ description: 'Whether it is of just the time that it names.' });

/** What a counter changed by in a time. */
const point = { from: milliseconds, to: milliseconds, value: int64Out, resolution, exact };

const past = { from: instantText, to: instantText.meta({ examples: ['2020-01-03'] }).optional() };

export const throughTimeRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/window',
    id: 'getWindow',
    summary: 'What the last so long has changed a counter by.',
    load: 'read',
    query: { name: counterName, last, mode: mode.optional(), gross: gross.optional(), ...readQuery, ...valueQuery },
    answer: z.strictObject({
      name: counterName,
      value: int64Out,
      increases: int64Out.optional(),
      decreases: int64Out.optional(),
      gross: int64Out.optional(),
      error: int64Out,
      rate: z.number().meta({ description: 'A second.' }),
      from: milliseconds,
      to: milliseconds,
      durable,
    }),
    codes: ['NOT_TRACKED'],
    handle: async ({ client, query: { name, last, mode, gross, read, numbers } }) => {
      const toOut = valueWriter({ numbers });
      const options = { ...given({ mode, read }), gross: gross === 'true' };
      const { value, error, rate, from, to, durable, ...sums } = await client.window(name, last, options);
      const { increases, decreases } = sums;
      const told = increases !== undefined &&
        decreases !== undefined && {
          increases: toOut(increases),
          decreases: toOut(decreases),
          gross: toOut(increases + decreases),
        };
      return { name, value: toOut(value), ...told, error: toOut(error), rate, from, to, durable };
    },
  }),
  route({
    method: 'GET',
    path: '/v1/rate',
    id: 'getRate',
    summary: 'By how much a counter changes a second, over the last so long.',
    load: 'read',
    query: { name: counterName, last: last.optional(), gross: gross.optional(), ...readQuery },
    answer: z.strictObject({ name: counterName, rate: z.number() }),
    codes: ['NOT_TRACKED'],
    handle: async ({ client, query: { name, last, gross, read } }) => ({
      name,
      rate: await client.rate(name, last ?? '1m', { ...given({ read }), gross: gross === 'true' }),
    }),
  }),
  route({
    method: 'GET',
    path: '/v1/series',
    id: 'getSeries',
    summary: 'What a counter changed by in each step of a time.',
    load: 'read',
    query: {
      name: counterName,
      ...past,
      step: z
        .string()
        .regex(/^[1-9][0-9]{0,5}[mhd]$/, 'a step such as "5m", "1h" or "7d"')
        .meta({ description: 'How long each is.', examples: ['1h', '1d', '7d'] }),
      zone: z
        .string()
        .min(1)
        .max(64)
        .optional()
        .meta({ description: 'Of the IANA database; UTC unless given.', examples: ['Europe/Berlin'] }),
      ...readQuery,
      ...valueQuery,
    },
    answer: z.strictObject({
      name: counterName,
      points: z.array(z.strictObject(point)),
      durable,
    }),
    codes: ['NOT_TRACKED'],
    handle: async ({ client, query }) => {
      const { name, from, to, step, zone, read } = query;
      const toOut = valueWriter(query);
      const range = { from: toInstant(from), to: to === undefined ? undefined : toInstant(to) };
      const { points, durable } = await client.series(name, given({ ...range, step, zone, read }));
      return { name, points: points.map(({ value, ...point }) => ({ ...point, value: toOut(value) })), durable };
    },
  }),
  route({
    method: 'GET',
    path: '/v1/range',
    id: 'getRange',
    summary: 'What a counter changed by in a time, as one point.',
    load: 'read',
    query: { name: counterName, ...past, ...readQuery, ...valueQuery },
    answer: z.strictObject({ name: counterName, ...point, durable }),
    codes: ['NOT_TRACKED'],
    handle: async ({ client, query }) => {
      const { name, from, to, read } = query;
      const toOut = valueWriter(query);
      const range = { from: toInstant(from), to: to === undefined ? undefined : toInstant(to) };
      const found = await client.range(name, given({ ...range, read }));
      const { value, resolution, exact, durable } = found;
      return { name, from: found.from, to: found.to, value: toOut(value), resolution, exact, durable };
    },
  }),
  route({
    method: 'GET',
    path: '/v1/at',
    id: 'getValueAt',
    summary: 'The value that a counter had.',
    load: 'read',
    query: { name: counterName, time: instantText, ...readQuery, ...valueQuery },
    answer: z.strictObject({ name: counterName, value: int64Out, at: milliseconds, exact, resolution, durable }),
    codes: ['NOT_TRACKED'],
    handle: async ({ client, query }) => {
      const { name, time, read } = query;
      const toOut = valueWriter(query);
      const { value, at, exact, resolution, durable } = await client.valueAt(name, toInstant(time), given({ read }));
      return { name, value: toOut(value), at, exact, resolution, durable };
    },
  }),
];
