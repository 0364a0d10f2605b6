import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ERRORS, type ErrorCode, TallystickError } from '../errors.js';
import { closeLaneStorage, openLaneStorage, writtenFiles } from './lane-storage.js';
import { LmdbFile } from './lmdb-file.js';
import type { LogShape, PartitionPlace } from './log.js';

/** What the walk over a sound log counted. */
export interface CheckedLog {
  readonly records: number;
  readonly entries: number;
  readonly groups: number;
  readonly bytes: number;
  readonly auditItems: number;
  readonly checkpointPages: number;
}

/** A log that was checked: sound, or the reason why it can't be used. */
export type CheckResult =
  | { readonly sound: true; readonly log: CheckedLog }
  | { readonly sound: false; readonly error: TallystickError };

/** The line that the child prints. */
export type CheckReport =
  | { readonly sound: true; readonly log: CheckedLog }
  | { readonly sound: false; readonly code: ErrorCode; readonly detail: string };

/**
 * Walks and verifies what recovery reads of a lane's storage, without changing it: the checkpoints, and the log from there on.
 *
 * @throws TallystickError LOG_CORRUPT, DIRECTORY_INVALID
 */
export async function checkLaneStorage(directory: string, shape: LogShape): Promise<CheckedLog> {
  // What a lane writes to, before LMDB sees it: a damaged list of free pages is noticed by nobody who reads.
  for (const path of writtenFiles(directory)) LmdbFile.check(path);
  const storage = await openLaneStorage(directory, shape, { readOnly: true });
  const { log, mark, checkpoints } = storage;
  try {
    const from = new Map<number, PartitionPlace>();
    let checkpointPages = 0;
    for (const partition of shape.partitions) {
      const manifest = checkpoints.manifest(partition);
      if (!manifest) continue;
      await checkpoints.readPages(manifest, () => {});
      from.set(partition, manifest.place);
      checkpointPages += manifest.pages.length;
    }
    const end = await log.replay({ mark: mark.read(), from, visit: () => {} });
    const { begin, entries } = end;
    let auditItems = 0;
    await log.audit(() => {
      auditItems++;
    }, begin.records);
    return {
      records: end.records - begin.records,
      entries,
      groups: end.group - begin.group,
      bytes: end.bytes - begin.bytes,
      auditItems,
      checkpointPages,
    };
  } finally {
    await closeLaneStorage(storage);
  }
}

/** The arguments of check-main.js. */
export function checkArguments(directory: string, { partitions, kernelVersion }: LogShape): string[] {
  return [directory, partitions.join(), String(kernelVersion)];
}

/**
 * Checks the storage of a lane in a process of its own, because damaged LMDB pages can crash the one that reads them:
 * a child that dies by a signal is LOG_CORRUPT.
 *
 * @throws TallystickError INTERNAL if the child could not be started or said nothing.
 */
export function checkInChild(directory: string, shape: LogShape): Promise<CheckResult> {
  // From src/ (tests) and from dist/ alike.
  const main = fileURLToPath(new URL('../../dist/log/check-main.js', import.meta.url));
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [main, ...checkArguments(directory, shape)], (error, stdout, stderr) => {
      const report = reportIn(stdout);
      if (report?.sound) resolve(report);
      else if (report) resolve(damaged(report.code, report.detail));
      else if (error?.signal) resolve(damaged('LOG_CORRUPT', `The check of ${directory} died by ${error.signal}.`));
      else
        reject(new TallystickError('INTERNAL', `The check of ${directory} said nothing: ${stderr}`, { cause: error }));
    });
  });
}

function reportIn(output: string): CheckReport | undefined {
  const line = output.trim().split('\n').at(-1);
  return line?.startsWith('{') ? (JSON.parse(line) as CheckReport) : undefined;
}

function damaged(code: ErrorCode, detail: string): CheckResult {
  return { sound: false, error: new TallystickError(code, detail) };
}

/** What the child says of an error: its code, and its own part of the message. */
export function reportOf(error: TallystickError): CheckReport {
  const { code, message } = error;
  return {
    sound: false,
    code,
    detail: message
      .slice(code.length + 2)
      .replace(ERRORS[code].message, '')
      .trim(),
  };
}
