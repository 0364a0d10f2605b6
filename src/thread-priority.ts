import { setPriority } from 'node:os';

/**
 * Gives the calling thread, and those that it starts, a priority of `os.constants.priority`: where cores are short, others come first.
 * On Linux alone (setpriority(2): there a priority is a thread's), as elsewhere it would be the whole process's. It can't be raised again
 * without a privilege. Where a sandbox forbids it, all go on as equals.
 */
export function setThreadPriority(priority: number): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(priority);
  } catch {
    // Nothing depends on it but how fast others are.
  }
}
