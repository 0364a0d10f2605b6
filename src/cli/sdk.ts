import type { Position } from '../client/position.js';
import type { IngestTarget } from './ingest/target.js';

interface UniquesOptions {
  readonly read: 'durable' | 'latest';
  readonly window?: string;
}

/** A number of unique items, as the SDK tells it. */
export interface UniqueCount {
  readonly names: readonly string[];
  readonly count: number;
  readonly exact: boolean;
  /** Relative to the count. */
  readonly standardError: number;
}

/** Of the SDK's client, what the commands use. */
export interface CliClient extends IngestTarget {
  increment(name: string, delta: bigint, options?: StepOptions): Promise<bigint>;
  decrement(name: string, delta: bigint, options?: StepOptions): Promise<bigint>;
  set(name: string, value: bigint, options: { reason: string; expect?: bigint }): Promise<{ previous: bigint }>;
  delete(
    name: string,
    options: { reason: string; expect?: bigint },
  ): Promise<{ readonly previous: bigint; readonly existed: boolean }>;
  expire(
    name: string,
    expiry: 'never' | { after: string; ifNone?: boolean } | { at: string; ifNone?: boolean },
  ): Promise<ToldExpiry>;
  expiry(name: string): Promise<ToldExpiry>;
  list(
    prefix: string,
    options: { limit?: number; read: 'durable' | 'latest' },
  ): AsyncIterable<{ readonly name: string; readonly value: bigint }>;
  read(
    names: readonly string[],
    options: { read: 'durable' | 'latest' },
  ): Promise<readonly { readonly name: string; readonly value: bigint }[]>;
  /** Adds to a counter unless the item was counted already. */
  incrementOnce(
    name: string,
    item: string,
    options: { readonly delta?: bigint; readonly within?: string },
  ): Promise<{ readonly counted: boolean; readonly value: bigint }>;
  /** For each item whether it was new. */
  see(name: string, items: readonly string[]): Promise<readonly { readonly isNew: boolean; readonly exact: boolean }[]>;
  uniques(names: readonly string[], options: UniquesOptions & { readonly union: true }): Promise<UniqueCount>;
  uniques(names: readonly string[], options: UniquesOptions): Promise<readonly UniqueCount[]>;
  window(
    names: readonly string[],
    length: string,
    options: { mode: 'sliding' | 'aligned'; read: 'durable' | 'latest'; gross: boolean },
  ): Promise<readonly ToldWindow[]>;
  series(
    name: string,
    options: { from: string; to?: string; step: string; zone: string; read: 'durable' | 'latest' },
  ): Promise<{ readonly points: readonly ToldPoint[] }>;
  valueAt(name: string, time: string, options: { read: 'durable' | 'latest' }): Promise<ToldPast>;
  subscribe(options: {
    names?: readonly string[];
    prefix?: string;
    all?: true;
    interval: number;
    from?: Position;
  }): AsyncIterable<ToldEvent>;
  subscribe(options: FollowedWindow | FollowedRate): AsyncIterable<ToldKind & ToldWindow>;
  subscribe(options: FollowedUniques): AsyncIterable<ToldKind & UniqueCount & { readonly name: string }>;
  /** For each lane what it tells. */
  stats(options?: { readonly hot?: number }): Promise<unknown>;
  close(): Promise<void>;
}

/** The conditions of a step. */
export interface StepOptions {
  readonly min?: bigint;
  readonly max?: bigint;
  readonly expiry?: { readonly after: string; readonly ifNone: boolean };
}

/** When a counter ends by itself, in milliseconds since 1970. */
export interface ToldExpiry {
  readonly existed: boolean;
  readonly expires: number | undefined;
}

/** What became of a counter that is followed, or that changes of a partition may have been missed. */
export type ToldEvent =
  | {
      readonly kind: 'value' | 'change';
      readonly name: string;
      readonly value: bigint;
      readonly exists: boolean;
      readonly delta: bigint;
      readonly position: { toString(): string };
    }
  | { readonly kind: 'reset'; readonly partition: number; readonly position: { toString(): string } };

/** What is followed of names besides their values. */
interface Followed {
  readonly names: readonly string[];
  readonly interval: number;
}
export interface FollowedWindow extends Followed {
  readonly window: string;
}
export interface FollowedRate extends Followed {
  readonly rate: string;
}
export interface FollowedUniques extends Followed {
  readonly uniques: true | string;
}

/** Whether a reading is the first one of its name. */
export interface ToldKind {
  readonly kind: 'value' | 'change';
}

/** What the last so long changed a counter by. */
export interface ToldWindow {
  readonly name: string;
  readonly value: bigint;
  /** Where gross sums were asked for. */
  readonly increases?: bigint;
  readonly decreases?: bigint;
  readonly gross?: bigint;
  /** By how much the value may be off. */
  readonly error: bigint;
  /** A second. */
  readonly rate: number;
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
}

/** What a counter changed by in a step of a series; times are milliseconds since 1970. */
export interface ToldPoint {
  readonly from: number;
  readonly to: number;
  readonly value: bigint;
  readonly resolution: string;
  readonly exact: boolean;
}

/** The value that a counter had. */
export interface ToldPast {
  readonly value: bigint;
  /** Of which instant it is. */
  readonly at: number;
  readonly exact: boolean;
  readonly resolution: string;
}

/** Of the SDK's `connect`, what the commands use. */
export type Connect = (
  url: string,
  options: {
    /** False for a client that only reads; unless given, a random one for this run. */
    readonly producer?: string | false;
    /** False to reach all partitions by the one address. */
    readonly direct?: boolean;
    /** In milliseconds. */
    readonly timeout: number;
  },
) => Promise<CliClient>;
