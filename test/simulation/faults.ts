/**
 * The faults that the simulated machine, network and clients have. Each is counted where it takes effect, not where it is
 * planned, and a whole run must have seen each of them often (`simulation-*.test.ts`).
 */
export const FAULTS = {
  // The process
  'killed server': 'every lane dies at once, as by kill -9 or a loss of power',
  'killed lane': 'one thread ends; the others go on until the process ends within a second',
  // The device
  'lost unflushed tail': 'a crash with changes in memory that are on no device: they are gone',
  'stored unanswered group': 'a crash after the device has a group and before it has said so: the group is there',
  'empty segment': 'a crash, or a full disk, after a segment was made and before its first group was there',
  'older head mark': 'a loss of power leaves an earlier head mark behind',
  'failed flush': 'an append ends in an error; its group is on the device or not',
  'unanswered flush': 'an append never ends; its group is on the device or not',
  'failed head mark': 'the head mark cannot be written',
  'full disk': 'appends find no room',
  'room again': 'after that there is room',
  'slow flush': 'an append takes seconds',
  'full disk for a checkpoint': 'a transaction of a checkpoint finds no room',
  'failed checkpoint': 'a transaction of a checkpoint ends in an error, or never',
  'crash within a checkpoint': 'a transaction of a checkpoint is under way: it is on the device or not',
  'full disk for the history': 'a transaction of the history finds no room',
  'failed history': 'a transaction of the history ends in an error, or never',
  'crash within the history': 'a transaction of the history is under way: it is on the device or not',
  // The device between two lives of the process; each must end in LOG_CORRUPT, at the start or where audit items are read
  'torn record': 'the end of a record is not what was written, or is missing',
  'flipped bit': 'one bit of a record is another',
  'lost record': 'a record is not there',
  'lost flushed tail': 'the log ends before what the head mark says was flushed',
  'lost segment': 'one of the files of a log is gone',
  'damaged segment': 'one bit of what a segment says of its beginning is another',
  'damaged checkpoint': 'a page or a manifest of a checkpoint is another, or a page is gone',
  'damaged audit item': 'one bit of an audit item is another',
  // The clock
  'wall clock forward': 'by less than an hour, which is time that passed; or by more, which is a clock that was set',
  'wall clock back': 'by up to two days',
  'expired counter': 'a counter is past its time before whatever comes next',
  // The network
  'dropped connection': 'what is under way in either direction is lost from some byte on',
  'split chunk': 'bytes that were sent at once come in two pieces',
  'stalled client': 'a client takes its answers late',
  // The clients
  'second connection': 'a session sends what it waits for over two connections at once',
  'late retry': 'a batch that was answered long ago is sent again',
  'raced producer': 'a second session opens a producer while the first one writes',
  'restarted client': 'a client forgets everything but its name and goes on from its cursor',
} as const;

export type Fault = keyof typeof FAULTS;

export type FaultCounts = Record<Fault, number>;

export function noFaults(): FaultCounts {
  return Object.fromEntries(Object.keys(FAULTS).map((fault) => [fault, 0])) as FaultCounts;
}

export function addFaults(to: FaultCounts, more: FaultCounts): void {
  for (const fault of Object.keys(FAULTS) as Fault[]) to[fault] += more[fault];
}
