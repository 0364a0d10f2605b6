import { readFileSync } from 'node:fs';

/** What Linux counted for a process. */

/** USER_HZ, in which Linux tells times to processes. */
const TICKS_PER_SECOND = 100;

/** Of all its threads, in user and kernel mode. */
export function cpuSeconds(pid) {
  return cpuSecondsIn(`/proc/${pid}/stat`);
}

/** Of the thread that asks. */
export function threadCpuSeconds() {
  return cpuSecondsIn('/proc/thread-self/stat');
}

function cpuSecondsIn(path) {
  const stat = readFileSync(path, 'utf8');
  // The second field is a name in parentheses, which may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Memory that is the process's own: anonymous and shared, without files that are mapped, which the system may drop. */
export function memoryBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  return (kilobytes('RssAnon') + kilobytes('RssShmem')) * 1_024;
}

/** Bytes that it caused to be sent to the device. */
export function bytesWritten(pid) {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))[1]);
}

/** What a piece of work costs a process: CPU seconds and bytes written. */
export async function costOf(pid, work) {
  const before = { cpu: cpuSeconds(pid), bytes: bytesWritten(pid) };
  const result = await work();
  return { result, cpuSeconds: cpuSeconds(pid) - before.cpu, bytesWritten: bytesWritten(pid) - before.bytes };
}
