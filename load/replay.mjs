import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replayEntry } from '../dist/lane/recovery.js';
import { closeLaneStorage, openLaneStorage } from '../dist/log/lane-storage.js';
import { KERNEL_VERSION, Partition } from '../dist/partition/partition.js';
import { compileWasm } from '../dist/wasm.js';

/**
 * Replays a copy of a data directory that no server has open from the first record of every lane, and compares each
 * partition with what live servers said of it in STATS, at the sequences that they said.
 *
 * @param snapshots the answers of `client.stats()`, one for each server that was asked
 * @returns the partitions that differ
 */
export async function compareWithReplay(dataDir, ...snapshots) {
  const copy = mkdtempSync(join(tmpdir(), 'tallystick-replay-'));
  try {
    cpSync(dataDir, copy, { recursive: true });
    const hashes = new Map();
    const wanted = new Set(snapshots.flat().flatMap(({ partitions }) => partitions.map(placeOf)));
    await replayLanes(copy, (number, partition) => {
      const place = placeOf({ partition: number, sequence: partition.sequence });
      if (wanted.has(place)) hashes.set(place, partition.stateHash.toString(16).padStart(16, '0'));
    });
    const live = snapshots.flat().flatMap(({ partitions }) => partitions);
    return live.filter((partition) => hashes.get(placeOf(partition)) !== partition.stateHash);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

const placeOf = ({ partition, sequence }) => `${partition}.${sequence}`;

/** Replays a data directory that no server has open from the first record of every lane; visits each partition, with its number, after each of its entries. */
export async function replayLanes(dataDir, visit) {
  const { lanes } = JSON.parse(readFileSync(join(dataDir, 'tallystick.json'), 'utf8'));
  for (const [lane, numbers] of lanes.entries()) await replayLane(join(dataDir, `lane-${lane}`), numbers, visit);
}

async function replayLane(directory, numbers, visit) {
  const module = compileWasm('kernel');
  const partitions = new Map(numbers.map((number) => [number, new Partition(module)]));
  const shape = { partitions: numbers, kernelVersion: KERNEL_VERSION };
  const storage = await openLaneStorage(directory, shape, { readOnly: true });
  try {
    await storage.log.replay({
      mark: storage.mark.read(),
      visit: (entry) => {
        replayEntry(partitions, entry);
        visit(entry.partition, partitions.get(entry.partition));
      },
    });
  } finally {
    await closeLaneStorage(storage);
  }
}
