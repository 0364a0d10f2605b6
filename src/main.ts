import { type Connect, type LocalCommands, runCli } from './cli/cli.js';
import { systemClock } from './clock.js';
import { VERSION } from './version.js';

/** The composition root of the command line. */
const { env, stdin, stdout, stderr } = process;
const io = { stdin, stdout, stderr, env, clock: systemClock };
const connect: Connect = async (url, options) => (await import('./client/index.js')).connect(url, options);
const local: LocalCommands = new Map([
  ['serve', async () => (await import('./serve.js')).serveCommand(env)],
  ['config', async () => (await import('./config-command.js')).configCommand(env, stdout)],
  ['audit', async () => (await import('./audit.js')).auditCommand(env, stdout)],
  ['backup', async () => (await import('./backup/commands.js')).backupCommand(io)],
  ['restore', async () => (await import('./backup/commands.js')).restoreCommand(io)],
  ['verify', async () => (await import('./verify/commands.js')).verifyCommand(io)],
  ['repair', async () => (await import('./repair/commands.js')).repairCommand(io)],
  ['repartition', async () => (await import('./repartition/commands.js')).repartitionCommand(io)],
]);
process.exitCode = await runCli(process.argv.slice(2), { ...io, connect, version: VERSION }, local);
