import { type Command, InvalidArgumentError } from 'commander';
import { Position } from '../client/position.js';
import { TallystickError } from '../errors.js';
import { type ConnectionOptions, clientCommand, READ_ONLY, withClient } from './client.js';
import { type CliIo, escaped } from './io.js';
import { LiveLines, LiveTable } from './live.js';
import type { CliClient, ToldEvent, ToldKind, ToldWindow, UniqueCount } from './sdk.js';
import { numberOf, uniquesJson } from './uniques.js';
import { rateShown, windowShown } from './window-commands.js';

interface FollowOptions extends ConnectionOptions {
  readonly prefix?: string;
  readonly interval: number;
  /** None unless given. */
  readonly limit?: number;
}

interface WatchOptions extends FollowOptions {
  readonly window?: string;
  readonly rate?: string;
  readonly uniques?: boolean;
  readonly json?: boolean;
}

interface TailOptions extends FollowOptions {
  readonly from?: Position;
}

/** `tallystick watch`. */
export function watchCommand(io: CliIo): Command {
  return followCommand('watch', io, 1_000)
    .description('show the values of counters, and what becomes of them')
    .argument('[name...]', 'the counters')
    .option('--window <duration>', 'instead of values what the last so long has changed them by: 90s, 15m, 6h, 1d')
    .option('--rate <duration>', 'by how much they change a second, over the last so long: 1m')
    .option('--uniques', 'how many different items were seen; with --window in the last hours, 24h, or days, 7d')
    .option('--json', 'one object a line, with decimal strings')
    .addHelpText(
      'after',
      `
On a terminal it is a table of the counters that changed last; else a line for each change: the name, the value (a dash where there is none)
and the change, with tabs between. What is shown is flushed. Changes of an interval are one. Windows, rates and numbers of unique items change
by the time that passes, too; they are of names, whose class keeps them (NOT_TRACKED).

Examples:
  tallystick watch likes:post:7 likes:post:8
  tallystick watch --prefix views: --interval 250
  tallystick watch views:/ views:/about --window 5m
  tallystick watch visitors:/ --uniques --window 24h --json
  tallystick watch stock:lamp --json | jq --unbuffered .value`,
    )
    .action((names: string[], { json, ...options }: WatchOptions) => {
      const watched = watchedOf(names, options);
      const show = io.stdout.isTTY && !json ? showTable : printLines;
      return withClient(io, options, (client) => show(io, client, watched(client), options, json), READ_ONLY);
    });
}

/** `tallystick tail`. */
export function tailCommand(io: CliIo): Command {
  return followCommand('tail', io, 0)
    .description('print every change of counters as it is flushed, a line of JSON each')
    .option('--from <position>', 'go on behind the position of a line printed before', parsePosition)
    .addHelpText(
      'after',
      `
First the values ("kind":"value"), then the changes ("change") of all counters, or of those of --prefix, each with the position to go on from: nothing
is missed then, and lines behind the last one that has another position come again. "exists" is false where a counter was deleted. Where changes may
have been missed, as the server's log does not go back so far, "reset" says that the values of a partition come anew. What is not read is summed up.

Examples:
  tallystick tail --prefix stock: >> changes.ndjson
  tallystick tail --prefix stock: --from "$(tail -n 1 changes.ndjson | jq -r .position)" >> changes.ndjson`,
    )
    .action(({ from, ...options }: TailOptions) =>
      withClient(
        io,
        options,
        async (client) => {
          const what = options.prefix === undefined ? ({ all: true } as const) : { prefix: options.prefix };
          const lines = new LiveLines(io.stdout, io.clock);
          const events = client.subscribe({ ...what, ...(from && { from }), interval: options.interval });
          await follow(events, options.limit, (event) => lines.write(JSON.stringify(asJson(event, true))));
          await lines.flush();
        },
        READ_ONLY,
      ),
    );
}

function followCommand(name: string, io: CliIo, interval: number): Command {
  return clientCommand(name, io)
    .option('--prefix <prefix>', 'the counters whose names begin with it')
    .option(
      '--interval <ms>',
      'milliseconds for which changes are gathered, 10 to 60000; 0 = none',
      parseMilliseconds,
      interval,
    )
    .option('--limit <n>', 'end after so many changes', parseLimit);
}

/** A line of what is watched, or that the lines of a partition are void. */
type Shown =
  | {
      readonly kind: 'value' | 'change';
      readonly name: string;
      readonly value: string;
      readonly delta: string;
      readonly json: unknown;
    }
  | { readonly kind: 'reset'; readonly partition: number; readonly json: unknown };

/** What is watched, as it will be shown. @throws TallystickError INVALID_ARGUMENT */
function watchedOf(names: readonly string[], options: WatchOptions): (client: CliClient) => AsyncIterable<Shown> {
  const { prefix, interval, window, rate, uniques } = options;
  if (names.length > 0 === (prefix !== undefined))
    throw new TallystickError('INVALID_ARGUMENT', 'Name counters, or give a --prefix.');
  if (window === undefined && rate === undefined && !uniques) {
    const what = prefix === undefined ? { names } : { prefix };
    return (client) => mapped(client.subscribe({ ...what, interval }), shownEvent);
  }
  if (prefix !== undefined || (rate !== undefined && (uniques || window !== undefined)))
    throw new TallystickError('INVALID_ARGUMENT', 'Watch --window, --rate or --uniques of names, one of them.');
  const asked = { names, interval };
  if (uniques) return (client) => mapped(client.subscribe({ ...asked, uniques: window ?? true }), shownUniques);
  if (rate !== undefined) return (client) => mapped(client.subscribe({ ...asked, rate }), shownAs(rateShown));
  return (client) => mapped(client.subscribe({ ...asked, window: window as string }), shownAs(windowShown));
}

async function* mapped<E>(events: AsyncIterable<E>, show: (event: E) => Shown): AsyncGenerator<Shown> {
  for await (const event of events) yield show(event);
}

function shownEvent(event: ToldEvent): Shown {
  const json = asJson(event, false);
  if (event.kind === 'reset') return { kind: event.kind, partition: event.partition, json };
  const { kind, name, value, exists, delta } = event;
  const change = kind === 'value' ? '' : `${delta > 0n ? '+' : ''}${delta}`;
  return { kind, name, value: exists ? String(value) : '-', delta: change, json };
}

const shownAs =
  (show: typeof windowShown) =>
  (reading: ToldKind & ToldWindow): Shown => {
    const { kind, name } = reading;
    const { cell, json } = show(reading);
    return { kind, name, value: cell, delta: '', json: { kind, ...json } };
  };

function shownUniques(reading: ToldKind & UniqueCount & { readonly name: string }): Shown {
  const { kind, name } = reading;
  const { names: _, ...json } = uniquesJson(reading);
  return { kind, name, value: numberOf(reading), delta: '', json: { kind, name, ...json } };
}

/** Hands over what happens, until `take` wants no more. */
async function follow<E extends { readonly kind: string }>(
  events: AsyncIterable<E>,
  limit = Number.POSITIVE_INFINITY,
  take: (event: E) => Promise<boolean>,
): Promise<void> {
  let left = limit;
  for await (const event of events) {
    if (!(await take(event)) || (event.kind !== 'reset' && --left === 0)) return;
  }
}

async function printLines(
  io: CliIo,
  _client: CliClient,
  watched: AsyncIterable<Shown>,
  { limit }: FollowOptions,
  json?: boolean,
): Promise<void> {
  const lines = new LiveLines(io.stdout, io.clock);
  await follow(watched, limit, async (shown) => {
    if (json) return lines.write(JSON.stringify(shown.json));
    if (shown.kind === 'reset') return true; // what is told next is what there is
    return lines.write(`${escaped(shown.name)}\t${shown.value}\t${shown.delta}`);
  });
  await lines.flush();
}

async function showTable(
  io: CliIo,
  client: CliClient,
  watched: AsyncIterable<Shown>,
  { limit }: FollowOptions,
): Promise<void> {
  const live = new LiveTable(io.stdout, io.clock);
  await follow(watched, limit, async (shown) => {
    if (shown.kind === 'reset') live.forget((name) => client.partitionOf(name) === shown.partition);
    else live.set(shown.name, shown);
    return !io.stdout.destroyed;
  });
  live.draw();
}

function asJson(event: ToldEvent, hasPosition: boolean): unknown {
  const position = hasPosition && { position: String(event.position) };
  if (event.kind === 'reset') return { kind: event.kind, partition: event.partition, ...position };
  const { kind, name, value, exists, delta } = event;
  return { kind, name, value: String(value), delta: String(delta), exists, ...position };
}

function parsePosition(text: string): Position {
  try {
    return Position.parse(text);
  } catch {
    throw new InvalidArgumentError('It must be the position of a line.');
  }
}

function parseMilliseconds(text: string): number {
  const milliseconds = Number(text);
  if (!/^[0-9]+$/.test(text) || (milliseconds !== 0 && (milliseconds < 10 || milliseconds > 60_000)))
    throw new InvalidArgumentError('It must be 0, or 10 to 60000.');
  return milliseconds;
}

function parseLimit(text: string): number {
  const count = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(count) || count < 1)
    throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return count;
}
