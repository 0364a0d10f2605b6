import type { Clock } from '../clock.js';
import { escaped, type Output, table } from './io.js';

/** Lines that are shown as they come: written at the end of a turn, however many it brought, and no faster than they are taken. */

/** Characters that are gathered before a writer has to wait until they are taken. */
const CHUNK = 16_384;
/** Rows of a table where the terminal does not say how many it has. */
const ROWS = 24;

export class LiveLines {
  readonly #output: Output;
  readonly #clock: Clock;
  #pending = '';
  #isScheduled = false;

  constructor(output: Output, clock: Clock) {
    this.#output = output;
    this.#clock = clock;
  }

  /** False where the output broke, as that of `head` does. */
  async write(line: string): Promise<boolean> {
    this.#pending += `${line}\n`;
    if (this.#pending.length >= CHUNK) await this.flush();
    else this.#schedule();
    return !this.#output.destroyed;
  }

  async flush(): Promise<void> {
    const text = this.#pending;
    this.#pending = '';
    // called back also with an error, which is told to whoever listens to the stream
    if (text !== '') await new Promise<void>((resolve) => this.#output.write(text, () => resolve()));
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.endOfTurn(() => {
      this.#isScheduled = false;
      void this.flush();
    });
  }
}

interface Row {
  readonly value: string;
  readonly delta: string;
}

/** A table on a terminal that is drawn anew where it stands: the counters that changed last. */
export class LiveTable {
  readonly #output: Output & { readonly rows?: number };
  readonly #clock: Clock;
  /** The one that changed last is last. */
  readonly #rows = new Map<string, Row>();
  #drawn = 0;
  #isScheduled = false;

  constructor(output: Output, clock: Clock) {
    this.#output = output;
    this.#clock = clock;
  }

  set(name: string, row: Row): void {
    this.#rows.delete(name);
    this.#rows.set(name, row);
    const [oldest] = this.#rows.keys();
    if (this.#rows.size > Math.max(1, (this.#output.rows ?? ROWS) - 1)) this.#rows.delete(oldest as string);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.endOfTurn(() => this.draw());
  }

  forget(isMeant: (name: string) => boolean): void {
    for (const name of this.#rows.keys()) if (isMeant(name)) this.#rows.delete(name);
  }

  /** In the order of their names, so that a row stays where it is. */
  draw(): void {
    this.#isScheduled = false;
    const sorted = [...this.#rows].sort(([a], [b]) => (a < b ? -1 : 1));
    const rows = sorted.map(([name, { value, delta }]) => [escaped(name), `${value}${delta.padStart(12)}`] as const);
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A\u001b[J` : '';
    this.#output.write(up + table(rows));
    this.#drawn = rows.length;
  }
}
