import { asTallystickError } from '../errors.js';
import { type CheckReport, checkLaneStorage, reportOf } from './check.js';

// The process of checkInChild: prints one line of JSON, and exits with 0 for a sound log, else with 1.
const [directory = '', partitions = '', kernelVersion = ''] = process.argv.slice(2);

async function report(): Promise<CheckReport> {
  try {
    const shape = { partitions: partitions.split(',').map(Number), kernelVersion: Number(kernelVersion) };
    return { sound: true, log: await checkLaneStorage(directory, shape) };
  } catch (error) {
    return reportOf(asTallystickError(error));
  }
}

const result = await report();
process.exitCode = result.sound ? 0 : 1;
console.log(JSON.stringify(result));
