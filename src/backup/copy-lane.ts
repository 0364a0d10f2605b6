import type { LanePlace } from '../directory.js';
import type { CheckpointManifest } from '../log/checkpoint.js';
import type { Partition } from '../partition/partition.js';
import { type HistorySink, LaneHistory } from './lane-history.js';
import { LaneState } from './lane-state.js';

/** Takes the partitions of a lane, each with its history first. */
export interface LaneSink extends HistorySink {
  /** A partition's state, which the manifest describes. */
  state(manifest: CheckpointManifest, partition: Partition): Promise<void>;
}

/**
 * Copies the state and the history of a lane, which a server may have open, as of one place of its log, without changing anything.
 *
 * @param milliseconds when: since 1970
 * @throws TallystickError LOG_CORRUPT, DATA_DAMAGED, DIRECTORY_INVALID, and what the sink throws
 */
export async function copyLane(
  { path, partitions }: LanePlace,
  kernel: WebAssembly.Module,
  milliseconds: number,
  sink: LaneSink,
): Promise<void> {
  const history = new LaneHistory(path, partitions, sink);
  try {
    const lane = await LaneState.read(path, partitions, kernel, (partition) => history.placeOf(partition));
    await history.write(lane);
    for (const { manifest, partition } of lane.describe(milliseconds)) {
      await history.writeRest(manifest, lane);
      await sink.state(manifest, partition);
    }
  } finally {
    history.close();
  }
}
