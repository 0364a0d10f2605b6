import { Command, CommanderError } from 'commander';
import { TallystickError } from '../errors.js';
import { EXIT_OK, EXIT_USAGE, reportFailure } from './failure.js';
import type { CliIo, Output } from './io.js';

export type { CliIo } from './io.js';
export type { CliClient, Connect } from './sdk.js';

/** The commands that work without a server to speak to, by name. Each is loaded when it is needed: they take longer to load than most commands take. */
export type LocalCommands = ReadonlyMap<string, () => Promise<Command>>;

/**
 * The command line.
 *
 * @param args what follows the program's name
 * @param local made by the composition root
 * @returns the exit status, one of src/cli/failure.ts; unless it is 0, `code: message` is on stderr
 */
export async function runCli(args: readonly string[], io: CliIo, local: LocalCommands): Promise<number> {
  const output = watched(io.stdout);
  const status = await run(args, io, local);
  const error = await output.written();
  return error === undefined || status !== EXIT_OK ? status : reportFailure(error, args[0] ?? '', io.stderr);
}

/** Hears of an output that breaks while it is written to. */
function watched(stdout: Output): { written(): Promise<TallystickError | undefined> } {
  let broken: NodeJS.ErrnoException | undefined;
  stdout.once('error', (error) => {
    broken = error;
  });
  return {
    async written() {
      await new Promise<void>((resolve) => stdout.write('', () => resolve()));
      // A reader that has seen enough, like head, is no failure.
      if (broken === undefined || broken.code === 'EPIPE') return undefined;
      return new TallystickError('OUTPUT_FAILED', `${broken.message}.`, { cause: broken });
    },
  };
}

async function run(args: readonly string[], io: CliIo, local: LocalCommands): Promise<number> {
  const program = new Command('tallystick')
    .description('Durable, exactly-once counters: a server and its client.')
    .version(io.version)
    .addHelpText(
      'after',
      `
The server is named by --server or by TALLYSTICK_SERVER.
Exit status: 0 done, 1 the operation failed, 2 wrong usage, 3 the data are damaged (the same again will not help).`,
    );
  for (const command of await commandsFor(args[0], io, local)) program.addCommand(command);
  boundTo(program, '', io);
  try {
    await program.parseAsync(args, { from: 'user' });
    return EXIT_OK;
  } catch (error) {
    // Commander has printed the message by now; asking for help or the version comes here with 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    return reportFailure(error, args[0] ?? '', io.stderr);
  }
}

/** Those that the line may mean: help, and what is mistyped, need all. */
async function commandsFor(name = '', io: CliIo, local: LocalCommands): Promise<readonly Command[]> {
  const load = local.get(name);
  if (load) return [await load()];
  const { remoteCommands } = await import('./remote-commands.js');
  const remote = remoteCommands(io);
  if (remote.some((command) => command.name() === name)) return remote;
  return [...(await Promise.all([...local.values()].map((each) => each()))), ...remote];
}

/** Lets a command, and those below it, write and exit through `io` and the returned status alone. */
function boundTo(command: Command, path: string, io: CliIo): void {
  command
    .exitOverride()
    .showHelpAfterError(`See 'tallystick ${path}--help'.`)
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) });
  for (const inner of command.commands) boundTo(inner, `${path}${inner.name()} `, io);
}
