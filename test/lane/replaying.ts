import type { Clock } from '../../src/clock.js';
import type { LaneHostParts } from '../../src/lane/lane-host.js';
import { Replayer, type ReplayerParts } from '../../src/lane/replayer.js';

/** Replayers without threads. What they report arrives in a later turn, as a message does; where the clock is that of a process that died, never. */
export function replayersOf(parts: Omit<ReplayerParts, 'report'>, clock: Clock): LaneHostParts['startReplayer'] {
  return (order, hear) => {
    const later = (message: Parameters<typeof hear>[0]) => clock.endOfTurn(() => hear(message));
    const replayer = new Replayer({ ...parts, report: later });
    void replayer.work(order).then(() => later({ kind: 'ended' }));
    return () => replayer.stop();
  };
}

/** Replayers that find nothing: the log is kept no further than memory reaches. */
export function nothingFound(clock: Clock): LaneHostParts['startReplayer'] {
  return (_, hear) => {
    clock.endOfTurn(() => hear({ kind: 'ended' }));
    return () => {};
  };
}
