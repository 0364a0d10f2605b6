import type { ChainHead } from '../log/log.js';
import type { FoundRecord } from './found-records.js';

/** The records of one partition that were found, put together by their hashes. */
export class FoundChains {
  /** By the hash of the record before: mostly one. */
  readonly #after = new Map<bigint, FoundRecord[]>();
  readonly #records = new Map<bigint, FoundRecord>();

  constructor(records: Iterable<FoundRecord>) {
    for (const record of records) {
      if (this.#records.has(record.hash)) continue; // a copy
      this.#records.set(record.hash, record);
      const siblings = this.#after.get(record.previousHash);
      if (siblings) siblings.push(record);
      else this.#after.set(record.previousHash, [record]);
    }
  }

  /**
   * The records that follow a head, one after the other, as far as they go.
   *
   * Two may follow the same one: the process died before the commit of the one was done, and the log was continued with the other.
   * The chain of the one that was committed goes on; where neither does, the later one was.
   */
  follow({ sequence, hash }: ChainHead): FoundRecord[] {
    const chain: FoundRecord[] = [];
    let next = this.#next(hash, sequence + 1);
    while (next) {
      chain.push(next);
      next = this.#next(next.hash, next.firstSequence + next.entries);
    }
    return chain;
  }

  /** The chains of all other records that have an entry behind a sequence, in the order of their first sequences. */
  others(taken: readonly FoundRecord[], sequence: number): FoundRecord[][] {
    const left = new Map(this.#records);
    for (const { hash } of taken) left.delete(hash);
    for (const [hash, { firstSequence, entries }] of left) {
      if (firstSequence + entries - 1 <= sequence) left.delete(hash);
    }
    const firsts = [...left.values()].filter(({ previousHash }) => !left.has(previousHash));
    firsts.sort((a, b) => a.firstSequence - b.firstSequence || a.milliseconds - b.milliseconds);
    return firsts.map((first) => [first, ...this.follow({ sequence: lastOf(first), hash: first.hash })]);
  }

  #next(hash: bigint, sequence: number): FoundRecord | undefined {
    const siblings = (this.#after.get(hash) ?? []).filter(({ firstSequence }) => firstSequence === sequence);
    if (siblings.length < 2) return siblings[0];
    const reached = siblings.map((record) => ({ record, length: this.#lengthAfter(record) }));
    reached.sort((a, b) => b.length - a.length || b.record.milliseconds - a.record.milliseconds);
    return reached[0]?.record;
  }

  /** How many records follow one, if the first of siblings is taken each time: what was not committed is followed by few. */
  #lengthAfter(record: FoundRecord): number {
    let length = 0;
    for (let at: FoundRecord | undefined = record; at; at = this.#after.get(at.hash)?.[0]) length++;
    return length;
  }
}

/** The last sequence that begins in a record. */
export function lastOf({ firstSequence, entries }: FoundRecord): number {
  return firstSequence + entries - 1;
}
