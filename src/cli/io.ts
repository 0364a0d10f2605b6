import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../clock.js';
import type { Connect } from './sdk.js';

/** All that a command touches outside of itself. */
export interface CliIo {
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly connect: Connect;
  /** The package's version. */
  readonly version: string;
}

export type Output = Writable & { readonly isTTY?: boolean };

/** Text from outside, safe to show: control characters, line ends and directional marks as `\u{…}`. */
export function escaped(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${(char.codePointAt(0) as number).toString(16)}}`);
}

/** A time in milliseconds since 1970, of UTC. */
export function iso(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

/** The lines of an input that are not empty. */
export async function linesFrom(input: Readable): Promise<string[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of input) chunks.push(Buffer.from(chunk as Buffer));
  const text = Buffer.concat(chunks).toString('utf8');
  return text.split(/\r?\n/).filter((line) => line !== '');
}

/** Two columns, the second one flush right. */
export function table(rows: readonly (readonly [string, string])[]): string {
  const left = rows.reduce((width, [name]) => Math.max(width, name.length), 0);
  const right = rows.reduce((width, [, value]) => Math.max(width, value.length), 0);
  return rows.map(([name, value]) => `${name.padEnd(left)}  ${value.padStart(right)}\n`).join('');
}

/** Characters that are gathered before they are written. */
const CHUNK = 16_384;

/** Writes lines in larger pieces, no faster than they are taken. */
export class Lines {
  readonly #output: Writable;
  #pending = '';

  constructor(output: Writable) {
    this.#output = output;
  }

  /** False where the output broke, as that of `head` does. */
  async write(line: string): Promise<boolean> {
    this.#pending += `${line}\n`;
    return this.#pending.length < CHUNK || (await this.flush());
  }

  async flush(): Promise<boolean> {
    const text = this.#pending;
    this.#pending = '';
    // called back also with an error, which is told to whoever listens to the stream
    await new Promise<void>((resolve) => this.#output.write(text, () => resolve()));
    return !this.#output.destroyed;
  }
}
