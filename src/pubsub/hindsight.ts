/** What is followed, and from where on: a position that the memory of feeds does not reach. */
export interface Wanted {
  readonly partition: number;
  /** It is flushed. */
  readonly position: number;
  /** Names, each there once, or all below a prefix. */
  readonly followed:
    | { readonly kind: 'names'; readonly names: readonly string[] }
    | { readonly kind: 'prefix'; readonly prefix: string };
}

/** What was there at that position. */
export type Then =
  /** Of each name, in their order; undefined where there was no counter. */
  | { readonly kind: 'names'; readonly values: readonly (bigint | undefined)[] }
  /** So many counters: of each the length of its name, its name and its value, as LIST answers them. */
  | { readonly kind: 'prefix'; readonly count: number; readonly items: Uint8Array };

/** Knows what counters were, as far as the log is kept. */
export interface Hindsight {
  /**
   * Looks back.
   *
   * @param answer is called once, later: with undefined where that can't be known
   * @returns what cancels it, after which nothing is answered; undefined where too many others wait
   */
  look(wanted: Wanted, answer: (then: Then | undefined) => void): (() => void) | undefined;
}
