import type { Command } from 'commander';
import { classesCommand } from './classes-command.js';
import { decrCommand, deleteCommand, getCommand, incrCommand, setCommand } from './counters.js';
import { expireCommand } from './expire-command.js';
import { exportCommand } from './export-command.js';
import { tailCommand, watchCommand } from './follow-commands.js';
import { atCommand, seriesCommand } from './history-commands.js';
import { hotCommand } from './hot-command.js';
import { importCommand } from './import-command.js';
import { ingestCommand } from './ingest-command.js';
import type { CliIo } from './io.js';
import { listCommand } from './list-command.js';
import { onceCommand } from './once-command.js';
import { pingCommand } from './ping.js';
import { statsCommand } from './stats.js';
import { seeCommand, uniquesCommand } from './uniques.js';
import { rateCommand, windowCommand } from './window-commands.js';

/** The commands that speak to a server, in the order in which help lists them. */
export function remoteCommands(io: CliIo): readonly Command[] {
  return [
    incrCommand(io),
    decrCommand(io),
    setCommand(io),
    deleteCommand(io),
    expireCommand(io),
    getCommand(io),
    listCommand(io),
    watchCommand(io),
    tailCommand(io),
    onceCommand(io),
    seeCommand(io),
    uniquesCommand(io),
    exportCommand(io),
    importCommand(io),
    pingCommand(io),
    statsCommand(io),
    hotCommand(io),
    windowCommand(io),
    rateCommand(io),
    seriesCommand(io),
    atCommand(io),
    classesCommand(io),
    ingestCommand(io),
  ];
}
