import { Command, Option } from 'commander';
import { pino } from 'pino';
import { CONFIG_KEYS, type Config, type ConfigInput, defaultText, loadConfig, optionOf, SETTINGS } from './config.js';
import { type Server, startServer } from './server.js';
import { VERSION } from './version.js';

/** `tallystick serve`: a server, its ready line, and what signals do to it. */

export const DRAIN_MILLISECONDS = 10_000;

const EXAMPLES = `
Every option is also read from the environment (--data-dir from TALLYSTICK_DATA_DIR) and from the JSON file of --config
(dataDir); 'tallystick config print' lists all keys and what they come to. Once it accepts connections it prints one
line on stdout:

  ready tcp=127.0.0.1:7070 http=-

with --http-port also where it speaks HTTP, http=127.0.0.1:7080, and with --ws-port WebSocket, ws=127.0.0.1:7090.

SIGTERM and SIGINT flush, answer and exit with 0 within 10 s; a second one ends at once. Logs go to stderr.

Examples:
  tallystick serve
  tallystick serve --data-dir /var/lib/tallystick --port 7070 --lanes 2
  tallystick serve --http-port 7080 --ws-port 7090`;

export function serveCommand(environment: NodeJS.ProcessEnv): Command {
  const command = new Command('serve').description('Starts a server.');
  for (const option of configOptions()) command.addOption(option);
  return command
    .addHelpText('after', EXAMPLES)
    .action(async ({ config: file, ...flags }: ConfigInput & { config?: string }) => {
      await serve(loadConfig(flags, environment, file));
    });
}

/** The options of the configuration, `--config` among them, which stands apart from the keys. */
export function configOptions(): Option[] {
  const options = CONFIG_KEYS.flatMap((key) => {
    const option = optionOf(key);
    if (option === undefined) return [];
    const { unit, about } = SETTINGS[key];
    return [new Option(option, `${unit} ${about} (default: ${defaultText(key)})`.trimStart())];
  });
  return [...options, new Option('--config <file>', 'a JSON file with any of the keys')];
}

async function serve(config: Config): Promise<void> {
  const log = pino({ level: config.logLevel, base: null }, pino.destination({ dest: 2, sync: true }));
  const server = await startServer(config, {
    onHot: (hot) => log.warn(hot, 'a counter is hot'),
    onLookFailed: ({ code, detail }) => log.warn({ code, detail }, 'a reader could not be shown what it missed'),
  });
  server.failed.then(
    (error) => {
      log.fatal({ code: error.code }, error.message);
      endNow();
    },
    (error: unknown) => log.error(error),
  );
  for (const { recovery, host, port, webSocket } of server.lanes)
    log.info({ host, port, ...(webSocket && { wsPort: webSocket.port }), recovery }, 'lane serves');
  const { httpUrl } = server;
  log.info({ version: VERSION, dataDir: config.dataDir, listen: config.listen, ...(httpUrl && { httpUrl }) }, 'ready');
  // Before the ready line, since who reads it may send a signal at once.
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  const webSocket = server.wsUrl === undefined ? '' : ` ws=${new URL(server.wsUrl).host}`;
  const http = httpUrl === undefined ? '-' : httpUrl.slice('http://'.length);
  process.stdout.write(`ready tcp=${new URL(server.url).host} http=${http}${webSocket}\n`);
  await stop(server, log, await signalled);
}

/** Resolves when the signal has been obeyed. */
async function stop(server: Server, log: pino.Logger, signal: NodeJS.Signals): Promise<void> {
  log.info({ signal }, 'draining');
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, endNow);
  const deadline = setTimeout(() => {
    log.fatal('the flush did not end in time; what was acknowledged as durable is on the device');
    endNow();
  }, DRAIN_MILLISECONDS);
  await server.close();
  clearTimeout(deadline);
  log.info('stopped');
}

/**
 * Ends the process as the loss of power would. Node's own exit waits for its thread pool, and so for a flush that may
 * never return.
 */
function endNow(): never {
  process.kill(process.pid, 'SIGKILL');
  // Still here: as the first process of a container it does not get its own signals, but a fault ends it too.
  process.abort();
}
