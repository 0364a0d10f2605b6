import { UNITS } from '../../src/history/bucket.js';
import { keyOf, partsOf } from '../../src/history/key.js';
import { RowCodec } from '../../src/history/row.js';
import { EFFECT_BYTES, hasEffect } from '../../src/lane/recovery.js';
import { decodeEmitted } from '../../src/partition/emitted.js';
import { Partition } from '../../src/partition/partition.js';
import { MILLISECONDS, RESOLUTIONS, type Resolution } from '../../src/series/bucket.js';
import { compileWasm } from '../../src/wasm.js';
import type { SimHistoryDisk } from '../history/sim-tables.js';
import type { Applied } from './model-results.js';

const KERNEL = compileWasm('kernel');
const codec = new RowCodec();
/** The block of the row that says up to where days were dropped. */
const DROPPED = 0xffff_ffff;

/** Sums by `slot.generation day` of those that something changed: also what was rolled up has a day. */
type Sums = Map<string, bigint>;

/**
 * What is wrong with the history of a partition: it must have what one life that never died would have emitted, but for what it dropped and says so.
 *
 * @param keptFrom the day before which alone days are dropped; 0 where none are
 */
export function historyFault(
  partition: number,
  applied: readonly Applied[],
  disk: SimHistoryDisk,
  keptFrom: number,
): string | undefined {
  const expected = sumsEmitted(applied);
  const found = sumsStored(partition, disk);
  const dropped = droppedIn(partition, disk);
  for (const [counter, day] of dropped) {
    if (day !== keptFrom) return `the history of ${partition} has dropped ${counter} up to day ${day}, not ${keptFrom}`;
  }
  for (const place of new Set([...expected.keys(), ...found.keys()])) {
    const [counter = '', day] = place.split(' ');
    if (Number(day) < (dropped.get(counter) ?? 0)) continue;
    const [is, was] = [found.get(place) ?? 0n, expected.get(place) ?? 0n];
    if (is !== was) return `the history of ${partition} has ${is} at ${place}, where ${was} was emitted`;
  }
  return undefined;
}

/** The first day that each counter kept of those that had any dropped. */
export function droppedIn(partition: number, disk: SimHistoryDisk): Map<string, number> {
  const dropped = new Map<string, number>();
  for (const { counter, at, sums } of rowsOf(partition, disk, 'day')) {
    if (at === DROPPED) dropped.set(counter, Number(sums[0]));
  }
  return dropped;
}

function sumsEmitted(applied: readonly Applied[]): Sums {
  const replayed = new Partition(KERNEL);
  const sums: Sums = new Map();
  for (const { kind, flags, entry } of applied) {
    const body = entry.body.subarray(0, entry.body.length - (hasEffect(kind) ? EFFECT_BYTES : 0));
    replayed.apply(kind, flags, entry.producer, entry.incarnation, entry.milliseconds, body);
    for (const { slot, generation, hour, minutes } of decodeEmitted(replayed.emitted)) {
      const counter = `${slot}.${generation}`;
      if (minutes) add(sums, counter, hour * 60, 1_440, minutes);
      else for (const place of [...sums.keys()]) if (place.startsWith(`${counter} `)) sums.delete(place);
    }
  }
  return sums;
}

function sumsStored(partition: number, disk: SimHistoryDisk): Sums {
  const sums: Sums = new Map();
  for (const resolution of RESOLUTIONS) {
    const unitsADay = MILLISECONDS.day / MILLISECONDS[resolution];
    for (const { counter, at, sums: units } of rowsOf(partition, disk, resolution)) {
      if (at !== DROPPED) add(sums, counter, at * UNITS[resolution], unitsADay, units);
    }
  }
  return sums;
}

function* rowsOf(partition: number, disk: SimHistoryDisk, resolution: Resolution) {
  const prefix = keyOf({ partition, slot: 0, generation: 0 }, 0).subarray(0, 2).toString('hex');
  for (const [hex, value] of disk.rows[resolution]) {
    if (!hex.startsWith(prefix)) continue;
    const key = Buffer.from(hex, 'hex');
    const { slot, generation, at } = partsOf(key);
    yield { counter: `${slot}.${generation}`, at, sums: codec.decode(resolution, key, value) };
  }
}

/** Adds units from the one with the number `first` on, of which so many are a day. */
function add(
  sums: Sums,
  counter: string,
  first: number,
  unitsADay: number,
  units: readonly (bigint | undefined)[],
): void {
  for (const [unit, delta] of units.entries()) {
    if (delta === undefined) continue;
    const place = `${counter} ${Math.floor((first + unit) / unitsADay)}`;
    sums.set(place, (sums.get(place) ?? 0n) + delta);
  }
}
