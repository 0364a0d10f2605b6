import { spawn, spawnSync } from 'node:child_process';

/** Linux ends a child with its parent if it is asked to, however the parent ends; elsewhere it may outlive it. */
const DIE_WITH_PARENT = ['--pdeathsig', 'KILL'];
const hasSetpriv = spawnSync('setpriv', [...DIE_WITH_PARENT, 'true']).status === 0;

/** `child_process.spawn` of a process that does not outlive this one. */
export function spawnChild(command, args, options) {
  return hasSetpriv ? spawn('setpriv', [...DIE_WITH_PARENT, command, ...args], options) : spawn(command, args, options);
}
