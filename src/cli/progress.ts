import cliProgress from 'cli-progress';
import type { Clock } from '../clock.js';
import type { Output } from './io.js';

/** The progress of a long command on a terminal: bytes, and what they are counted in. On anything else it shows nothing. */
export class Progress {
  readonly #bar: cliProgress.SingleBar | undefined;
  readonly #clock: Clock;
  readonly #began: number;

  constructor(output: Output, size: number | undefined, clock: Clock, unit = 'lines') {
    this.#clock = clock;
    this.#began = clock.monotonicMilliseconds();
    if (!output.isTTY) return;
    const share = size === undefined ? '' : '{bar} {percentage}% of {size}, ';
    this.#bar = new cliProgress.SingleBar({
      stream: output,
      format: `${share}{bytes}, {count} ${unit}, {rate} ${unit}/s`,
      barsize: 24,
      clearOnComplete: true,
      // Signals are not its business, so it must leave no setting of the terminal behind.
      gracefulExit: false,
      linewrap: true,
      emptyOnZero: true,
    });
    this.#bar.start(size ?? 0, 0, { size: megabytes(size ?? 0), bytes: megabytes(0), count: 0, rate: 0 });
  }

  update(bytes: number, count: number): void {
    const seconds = Math.max(0.001, (this.#clock.monotonicMilliseconds() - this.#began) / 1_000);
    this.#bar?.update(bytes, { bytes: megabytes(bytes), count, rate: Math.round(count / seconds) });
  }

  stop(): void {
    this.#bar?.stop();
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
