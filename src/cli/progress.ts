import cliProgress from 'cli-progress';
import type { Clock } from '../clock.js';
import type { Output } from './io.js';

/** The progress of an ingest on a terminal; on anything else it shows nothing. */
export class Progress {
  readonly #bar: cliProgress.SingleBar | undefined;
  readonly #clock: Clock;
  readonly #began: number;

  constructor(output: Output, size: number | undefined, clock: Clock) {
    this.#clock = clock;
    this.#began = clock.monotonicMilliseconds();
    if (!output.isTTY) return;
    const share = size === undefined ? '' : '{bar} {percentage}% of {size}, ';
    this.#bar = new cliProgress.SingleBar({
      stream: output,
      format: `${share}{read} read, {lines} lines, {rate} lines/s`,
      barsize: 24,
      clearOnComplete: true,
      // Signals are not its business, so it must leave no setting of the terminal behind.
      gracefulExit: false,
      linewrap: true,
      emptyOnZero: true,
    });
    this.#bar.start(size ?? 0, 0, { size: megabytes(size ?? 0), read: megabytes(0), lines: 0, rate: 0 });
  }

  update(bytesRead: number, lines: number): void {
    const seconds = Math.max(0.001, (this.#clock.monotonicMilliseconds() - this.#began) / 1_000);
    this.#bar?.update(bytesRead, { read: megabytes(bytesRead), lines, rate: Math.round(lines / seconds) });
  }

  stop(): void {
    this.#bar?.stop();
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
