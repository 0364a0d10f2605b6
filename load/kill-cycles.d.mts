import type { ConfigInput } from '../src/config.js';

export interface KillReport {
  /** Kills, and how many of them came while a batch was sent and not answered. */
  readonly cycles: number;
  readonly counted: number;
  /** Lanes whose checkpoint was being written at a kill. */
  readonly interruptedCheckpoints: number;
  /** Starts that were killed before they served. */
  readonly interruptedRecoveries: number;
  readonly backups: {
    readonly complete: number;
    /** Of all: those during which the server was killed; and those that were killed with it. */
    readonly interrupted: number;
    readonly killed: number;
    /** That did not end well although nobody killed them. */
    readonly failed: number;
    /** Files that a killed one left without their name, and that `restore` took. They are compared like the others. */
    readonly acceptedParts: number;
    /** Restored counters whose history does not add up to their value. */
    readonly wrongHistories: number;
    /** Restored partitions whose memory was not that of a replay to their sequence. */
    readonly partitionsThatDiffer: number;
  };
  /** That were made, by all servers. */
  readonly checkpoints: number;
  /** Of those that counted: after how many a batch that was sent again had been applied already. */
  readonly withDedupHit: number;
  readonly repeatedBatches: number;
  /** Increments, and calls that ended in an error. */
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknownOutcomes: number;
  /** Answered values that a counter with a single caller can't have had. */
  readonly wrongAnswers: number;
  readonly counters: number;
  readonly expectedSum: string;
  readonly actualSum: string;
  readonly wrongCounters: number;
  /** Counters whose history does not add up to what was acknowledged. */
  readonly wrongHistories: number;
  /** Lives of the counters that begin anew by themselves. */
  readonly lives: number;
  /** Rows of the history that were rolled up. */
  readonly hourRows: number;
  readonly partitions: number;
  /** Partitions whose live memory was not that of a replay from the first record, before or after a last restart. */
  readonly partitionsThatDiffer: number;
  readonly restartMilliseconds: { readonly median: number; readonly max: number };
}

export function killCycles(options: {
  readonly cycles: number;
  readonly clients?: number;
  readonly config?: ConfigInput;
  readonly interrupted?: number;
  readonly isFast?: boolean;
  readonly kinds?: readonly ('load' | 'backup' | 'both' | 'recovery')[];
}): Promise<KillReport>;
