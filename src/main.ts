import { auditCommand } from './audit.js';
import { backupCommand, restoreCommand } from './backup/commands.js';
import { runCli } from './cli/cli.js';
import { connect } from './client/index.js';
import { systemClock } from './clock.js';
import { configCommand } from './config-command.js';
import { repairCommand } from './repair/commands.js';
import { repartitionCommand } from './repartition/commands.js';
import { serveCommand } from './serve.js';
import { VERSION } from './server.js';
import { verifyCommand } from './verify/commands.js';

/** The composition root of the command line. */
const local = {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
};
process.exitCode = await runCli(
  process.argv.slice(2),
  {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    clock: systemClock,
    connect,
    version: VERSION,
  },
  [
    serveCommand(process.env),
    configCommand(process.env, process.stdout),
    auditCommand(process.env, process.stdout),
    backupCommand(local),
    restoreCommand(local),
    verifyCommand(local),
    repairCommand(local),
    repartitionCommand(local),
  ],
);
