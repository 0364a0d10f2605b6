import { type Command, InvalidArgumentError } from 'commander';
import { Position } from '../client/position.js';
import { TallystickError } from '../errors.js';
import {
  type CliClient,
  type ConnectionOptions,
  clientCommand,
  READ_ONLY,
  type ToldEvent,
  withClient,
} from './client.js';
import { type CliIo, escaped } from './io.js';
import { LiveLines, LiveTable } from './live.js';

interface FollowOptions extends ConnectionOptions {
  readonly prefix?: string;
  readonly interval: number;
  /** None unless given. */
  readonly limit?: number;
}

interface WatchOptions extends FollowOptions {
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
    .option('--json', 'one object a line, with decimal strings')
    .addHelpText(
      'after',
      `
On a terminal it is a table of the counters that changed last; else a line for each change: the name, the value (a dash where there is none)
and the change, with tabs between. What is shown is flushed. Changes of an interval are one.

Examples:
  tallystick watch likes:post:7 likes:post:8
  tallystick watch --prefix views: --interval 250
  tallystick watch stock:lamp --json | jq --unbuffered .value`,
    )
    .action((names: string[], { json, ...options }: WatchOptions) => {
      if (names.length > 0 === (options.prefix !== undefined)) {
        throw new TallystickError('INVALID_ARGUMENT', 'Name counters, or give a --prefix.');
      }
      const what = options.prefix === undefined ? { names } : { prefix: options.prefix };
      return withClient(
        io,
        options,
        (client) => (io.stdout.isTTY && !json ? show : print)(io, client, what, options, json),
        READ_ONLY,
      );
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
have been missed, as after a restart of the server, "reset" says that the values of a partition come anew. What is not read is summed up.

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
          await follow(client, { ...what, ...(from && { from }) }, options, (event) =>
            lines.write(JSON.stringify(asJson(event, true))),
          );
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

type What = Parameters<CliClient['subscribe']>[0];

/** Hands over what happens, until `take` wants no more. */
async function follow(
  client: CliClient,
  what: Omit<What, 'interval'>,
  { interval, limit = Number.POSITIVE_INFINITY }: FollowOptions,
  take: (event: ToldEvent) => Promise<boolean>,
): Promise<void> {
  let left = limit;
  for await (const event of client.subscribe({ ...what, interval })) {
    if (!(await take(event)) || (event.kind !== 'reset' && --left === 0)) return;
  }
}

async function print(
  io: CliIo,
  client: CliClient,
  what: Omit<What, 'interval'>,
  options: FollowOptions,
  json?: boolean,
): Promise<void> {
  const lines = new LiveLines(io.stdout, io.clock);
  await follow(client, what, options, async (event) => {
    if (json) return lines.write(JSON.stringify(asJson(event, false)));
    if (event.kind === 'reset') return true; // what is told next is what there is
    return lines.write(`${escaped(event.name)}\t${shownValue(event)}\t${shownDelta(event)}`);
  });
  await lines.flush();
}

async function show(io: CliIo, client: CliClient, what: Omit<What, 'interval'>, options: FollowOptions): Promise<void> {
  const live = new LiveTable(io.stdout, io.clock);
  await follow(client, what, options, async (event) => {
    if (event.kind === 'reset') live.forget((name) => client.partitionOf(name) === event.partition);
    else live.set(event.name, { value: shownValue(event), delta: shownDelta(event) });
    return !io.stdout.destroyed;
  });
  live.draw();
}

type Told = Exclude<ToldEvent, { kind: 'reset' }>;

const shownValue = ({ exists, value }: Told): string => (exists ? String(value) : '-');
const shownDelta = ({ kind, delta }: Told): string => (kind === 'value' ? '' : `${delta > 0n ? '+' : ''}${delta}`);

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
