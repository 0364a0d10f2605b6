export interface DamageReport {
  readonly seed: number;
  readonly cases: number;
  readonly files: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** How the repairs came out: exact, shorter, impossible, FAILED. */
  readonly repaired: Readonly<Record<string, number>>;
  /** The cases that came out as none may. */
  readonly bad: readonly unknown[];
}

export function damageCases(options: {
  readonly flips: number;
  readonly truncations: number;
  readonly repairs: number;
  readonly seed: number;
  readonly log?: 'lmdb' | 'files';
}): Promise<DamageReport>;
