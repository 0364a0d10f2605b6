import { ABSENT, codeOfStatus, OK, TallystickError } from '../errors.js';
import { Opcode } from '../protocol/opcode.js';
import type { UniqueItems } from '../protocol/sketch.js';
import { countUnion, STANDARD_ERROR } from '../protocol/sketch.js';
import {
  decodeUniquesAnswer,
  encodeUniques,
  MOST_UNIQUES,
  MOST_UNIQUES_WITHIN,
  type UniqueCount,
  type UniquesAnswer,
  type UniquesWindow,
  type Wanted,
} from '../protocol/uniques.js';
import { askParts, type Part, type PartAnswer, partsOf, type Question } from './parts.js';
import { Position } from './position.js';
import type { ReadOptions } from './reader.js';
import type { Session } from './session.js';

/** How many different items were seen under a name, or under any of several. */
export interface Uniques {
  readonly names: readonly string[];
  readonly count: number;
  /** Whether the count is exact; else it is an estimate. */
  readonly exact: boolean;
  /** Of an estimate, relative to it: two thirds are off by less. 0 where the count is exact. */
  readonly standardError: number;
  /** Whether no crash can take back what it shows. */
  readonly durable: boolean;
  /** What it is as of, in the partitions of the names. */
  readonly position: Position;
}

export interface UniquesOptions extends ReadOptions {
  /**
   * Only what was seen in the last so many hours, at most `'24h'`, or days of UTC, `'7d'`: the one that is now and those before it. NOT_TRACKED where the
   * class keeps no such window, or does not know all of it yet.
   */
  readonly window?: string;
}

type Answer = PartAnswer<UniquesAnswer>;

/** Asks how many different items were seen. */
export class UniquesReader {
  readonly #session: Session;
  readonly #timeout: number;

  constructor(session: Session, timeout: number) {
    this.#session = session;
    this.#timeout = timeout;
  }

  /** The number of each name. */
  async each(names: readonly string[], options: UniquesOptions): Promise<Uniques[]> {
    const found: Uniques[] = new Array(names.length);
    for (const { part, answer, durable, position } of await this.#ask('each', names, options)) {
      if (answer.counts.length !== part.names.length) throw new TallystickError('BAD_REQUEST', 'A count is missing.');
      for (const [i, { status, ...count }] of answer.counts.entries()) {
        requireCount(status, part.names[i] as string);
        found[part.indexes[i] as number] = uniques([part.names[i] as string], count, { durable, position });
      }
    }
    return found;
  }

  /** The number of all names together: of one partition as the server says it, of several by their sketches. */
  async union(names: readonly string[], options: UniquesOptions): Promise<Uniques> {
    const parts = this.#partsOf(names, options);
    const wanted = parts.length > 1 ? 'sketch' : 'union';
    const answers = await this.#ask(wanted, names, options, parts);
    const durable = answers.every((answer) => answer.durable);
    const position = answers.reduce(
      (sum, { position }) => sum.merge(position),
      new Position(this.#session.epoch, new Map()),
    );
    if (wanted === 'union') {
      const count = answers[0]?.answer.counts[0] ?? { status: OK, exact: true, count: 0 };
      requireCount(count.status, names.join(', '));
      return uniques(names, count, { durable, position });
    }
    const items = answers.map(({ answer, part }) => itemsOf(answer, part));
    return uniques(names, countUnion(items), { durable, position });
  }

  /** What the items of all names are, in parts that can be merged or united. */
  async items(names: readonly string[], options: UniquesOptions): Promise<UniqueItems[]> {
    return (await this.#ask('sketch', names, options)).map(({ answer, part }) => itemsOf(answer, part));
  }

  #partsOf(names: readonly string[], { window }: UniquesOptions): Part[] {
    return partsOf(this.#session, names, window === undefined ? MOST_UNIQUES : MOST_UNIQUES_WITHIN);
  }

  #ask(
    wanted: Wanted,
    names: readonly string[],
    options: UniquesOptions,
    parts = this.#partsOf(names, options),
  ): Promise<Answer[]> {
    const window = options.window === undefined ? undefined : { window: parseUniquesWindow(options.window) };
    const question: Question<UniquesAnswer> = {
      opcode: Opcode.UNIQUES,
      encode: (writer, asked) => encodeUniques(writer, { ...asked, wanted, ...window }),
      decode: (body) => decodeUniquesAnswer(body, wanted),
    };
    return askParts(this.#session, parts, question, options, this.#timeout);
  }
}

/** A window such as "6h" or "7d". @throws TallystickError INVALID_ARGUMENT */
export function parseUniquesWindow(window: string): UniquesWindow {
  const [, length = '', unit = ''] = /^([1-9][0-9]{0,2})([hd])$/.exec(window) ?? [];
  if (unit === 'd' || (unit === 'h' && Number(length) <= 24))
    return { unit: unit === 'd' ? 'days' : 'hours', length: Number(length) };
  throw new TallystickError(
    'INVALID_ARGUMENT',
    `"${window}" is no window of unique items such as "6h", "24h" or "7d".`,
  );
}

function uniques(
  names: readonly string[],
  { count, exact }: Pick<UniqueCount, 'count' | 'exact'>,
  { durable, position }: Pick<Uniques, 'durable' | 'position'>,
): Uniques {
  return { names, count, exact, standardError: exact ? 0 : STANDARD_ERROR, durable, position };
}

function itemsOf({ sketch }: UniquesAnswer, { names }: Part): UniqueItems {
  if (!sketch) throw new TallystickError('BAD_REQUEST', 'A sketch is missing.');
  if (!('status' in sketch)) return sketch;
  throw new TallystickError(codeOfStatus(sketch.status), `Counting "${names.join('", "')}".`);
}

function requireCount(status: number, name: string): void {
  if (status === OK || status === ABSENT) return;
  throw new TallystickError(codeOfStatus(status), `Counting the items of "${name}".`);
}
