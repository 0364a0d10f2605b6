import { expect } from 'vitest';
import { addFaults, noFaults } from './faults.js';
import { type SeedReport, simulate } from './simulation.js';

/** Of the trace of a seed that failed. */
const SHOWN_LINES = 60;
/** In the seeds of one of the four files; each fault fires at least 50 times in all of them. */
const LEAST_OF_EACH_FAULT = 15;

/** Runs a range of seeds, and sees that they did what a simulation is for. */
export async function runSeeds(first: number, count: number): Promise<void> {
  const faults = noFaults();
  let [compared, uniques, dropped, atOnce, within] = [0, 0, 0, 0, 0];
  for (let seed = first; seed < first + count; seed++) {
    const report = await simulate(seed);
    if (report.violation !== undefined) throw new Error(await describeFailure(report));
    expect(report.operations, `operations of seed ${seed}`).toBeGreaterThanOrEqual(500);
    expect(report.crashes, `crashes of seed ${seed}`).toBeGreaterThanOrEqual(1);
    addFaults(faults, report.faults);
    compared += report.memoriesCompared;
    uniques += report.uniquesCompared;
    dropped += report.countersDropped;
    atOnce += report.readsAtOnce;
    within += report.flushesWithinCalls;
  }
  for (const [fault, times] of Object.entries(faults)) expect(times, fault).toBeGreaterThanOrEqual(LEAST_OF_EACH_FAULT);
  expect(compared, 'memories compared with the one before the crash').toBeGreaterThanOrEqual(count);
  expect(uniques, 'numbers of unique items').toBeGreaterThanOrEqual(count);
  expect(atOnce, 'durable reads that did not wait').toBeGreaterThanOrEqual(1);
  expect(within, 'groups flushed within the call').toBeGreaterThanOrEqual(count);
  expect(dropped, 'counters whose days were dropped').toBeGreaterThanOrEqual(LEAST_OF_EACH_FAULT);
}

/** Runs a failed seed once more, for its trace. */
async function describeFailure({ seed, violation }: SeedReport): Promise<string> {
  const { trace = [] } = await simulate(seed, true);
  const lines = trace.slice(-SHOWN_LINES).join('\n');
  return `Seed ${seed}: ${violation}\n${lines}\nAll of it: npm run simulate -- --seed ${seed} --trace`;
}
