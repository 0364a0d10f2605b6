import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointPath } from '../dist/log/lane-storage.js';
import { LmdbCheckpointReader } from '../dist/log/lmdb-checkpoints.js';
import { KERNEL_VERSION } from '../dist/partition/partition.js';

/** The checkpoints of a server's lanes as they are on the disk, whether or not it lives. */
export class Checkpoints {
  #lanes;

  constructor(dataDir) {
    const { lanes } = JSON.parse(readFileSync(join(dataDir, 'tallystick.json'), 'utf8'));
    this.#lanes = lanes.map((partitions, lane) => ({
      partitions,
      reader: new LmdbCheckpointReader(checkpointPath(join(dataDir, `lane-${lane}`)), {
        partitions,
        kernelVersion: KERNEL_VERSION,
      }),
    }));
  }

  /** How many were made. */
  made() {
    const generations = this.#lanes.flatMap((lane) => manifestsOf(lane).map(({ generation }) => generation));
    return generations.reduce((sum, generation) => sum + generation, 0);
  }

  /** In how many lanes one is being written: pages that no manifest names are of a checkpoint that is not finished. */
  unfinished() {
    return this.#lanes.filter((lane) => {
      const pages = manifestsOf(lane).reduce((sum, manifest) => sum + manifest.pages.length, 0);
      return lane.reader.stats().pagesStored > pages;
    }).length;
  }

  close() {
    return Promise.all(this.#lanes.map(({ reader }) => reader.close()));
  }
}

const manifestsOf = ({ partitions, reader }) =>
  partitions.map((partition) => reader.manifest(partition)).filter((manifest) => manifest !== undefined);
