import type { TailAnswer } from '../src/protocol/tail.js';

/** What was told, and what the device had by then where that is known. */
export interface Heard {
  readonly answer: TailAnswer;
  readonly flushed: number;
}

export interface HeardReport {
  readonly frames: number;
  readonly told: number;
  /** Frames that began a snapshot, and those with which a reader went on where it was. */
  readonly resets: number;
  readonly resumed: number;
}

export function checkHeard(
  heard: readonly (Heard | 'again')[],
  options: {
    readonly follows: (name: string) => boolean;
    readonly truth: {
      readonly names: readonly string[];
      /** Undefined where there is no such counter. Throws where that position was never on the device. */
      at(position: number, name: string): bigint | undefined;
    };
  },
): HeardReport;
