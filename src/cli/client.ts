import { Command, InvalidArgumentError, Option } from 'commander';
import { TallystickError } from '../errors.js';
import { Failure } from './failure.js';
import type { CliIo } from './io.js';
import type { CliClient, Connect } from './sdk.js';

export const DEFAULT_SERVER = 'tallystick://127.0.0.1:7070';

/** The options that every command has that speaks to a server. */
export interface ConnectionOptions {
  readonly server: string;
  readonly timeout: number;
  readonly direct: boolean;
}

/** A command that speaks to a server. */
export function clientCommand(name: string, io: CliIo, defaultSeconds = 10): Command {
  const server = new Option('--server <url>', 'the server').default(
    io.env.TALLYSTICK_SERVER || DEFAULT_SERVER,
    `$TALLYSTICK_SERVER, or ${DEFAULT_SERVER}`,
  );
  const timeout = new Option('--timeout <seconds>', 'how long an answer may take, reconnects included')
    .argParser(parseSeconds)
    .default(defaultSeconds);
  const direct = new Option(
    '--no-direct',
    'use no other port than that of the server given; the others it reaches itself',
  );
  return new Command(name).addOption(server).addOption(timeout).addOption(direct);
}

/** Connects, does the work, and closes whatever comes of it. */
export async function withClient(
  io: CliIo,
  { server, timeout, direct }: ConnectionOptions,
  work: (client: CliClient) => Promise<void>,
  identity: { producer?: string | false } = {},
): Promise<void> {
  const client = await connected(io, server, {
    ...identity,
    ...(!direct && { direct }),
    timeout: timeout * 1_000,
  });
  try {
    await work(client);
  } finally {
    await client.close();
  }
}

async function connected(io: CliIo, server: string, options: Parameters<Connect>[1]): Promise<CliClient> {
  try {
    return await io.connect(server, options);
  } catch (error) {
    const transient = error instanceof TallystickError && error.retryable;
    if (!transient) throw error;
    throw new Failure(
      error,
      `Is a server running at ${server}? 'tallystick serve' starts one, --server names another, --no-direct needs no other port.`,
    );
  }
}

/** For an operation that changes something: if nobody knows what became of it, says so. */
export async function changing<T>(operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (error) {
    if (!(error instanceof TallystickError) || error.outcome !== 'unknown') throw error;
    throw new Failure(error, 'It may have been applied or not. Read the counter before you run the command again.');
  }
}

/** For a command that only reads: the server then opens no producer for it. */
export const READ_ONLY = { producer: false } as const;

const MIN_I64 = -(2n ** 63n);
const MAX_I64 = 2n ** 63n - 1n;

/** A signed 64-bit decimal. */
export function parseInteger(text: string): bigint {
  if (!/^[+-]?[0-9]+$/.test(text)) throw new InvalidArgumentError('It must be a decimal integer, like 42 or -7.');
  const value = BigInt(text.replace('+', ''));
  if (value < MIN_I64 || value > MAX_I64)
    throw new InvalidArgumentError(`It must lie between ${MIN_I64} and ${MAX_I64}.`);
  return value;
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^[0-9.]+$/.test(text) || !(seconds > 0 && seconds <= 86_400))
    throw new InvalidArgumentError('It must be a number of seconds, more than 0 and at most 86400.');
  return seconds;
}
