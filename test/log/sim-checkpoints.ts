import {
  type CheckpointManifest,
  type CheckpointStats,
  type CheckpointStore,
  decodeManifest,
  encodeManifest,
  type NewPage,
  PAGES_PER_WRITE,
  PageVerifier,
} from '../../src/log/checkpoint.js';
import type { AppendOutcome, LogShape } from '../../src/log/log.js';
import { type Fault, outcomeOf } from './sim-log.js';

/** What survives a crash: pages by `partition.page.generation`, manifests by partition. */
export class SimCheckpointDisk {
  readonly pages = new Map<string, Uint8Array>();
  readonly manifests = new Map<number, Uint8Array>();
}

/**
 * Checkpoints in memory. What may go wrong is what may in SimLog, for each transaction: full, failed, silent, a crash with
 * the transaction that was not answered or without it, damage at rest. A transaction is on the disk whole or not at all.
 */
export class SimCheckpoints implements CheckpointStore {
  /** The faults of the next transactions, the next one first; undefined for none. */
  readonly script: (Fault | undefined)[] = [];
  /** Transactions that were begun. */
  transactions = 0;
  readonly #disk: SimCheckpointDisk;
  readonly #shape: LogShape;
  readonly #commitLater: (commit: () => void) => void;
  readonly #verifier = new PageVerifier();
  #failure: AppendOutcome | undefined;
  #pending: (() => void) | undefined;
  #crashed = false;

  /** @param commitLater calls back when the device would have flushed. */
  constructor(disk: SimCheckpointDisk, shape: LogShape, commitLater: (commit: () => void) => void) {
    this.#disk = disk;
    this.#shape = shape;
    this.#commitLater = commitLater;
  }

  manifest(partition: number): CheckpointManifest | undefined {
    const stored = this.#disk.manifests.get(partition);
    return stored && decodeManifest(stored, partition, this.#shape.kernelVersion);
  }

  async readPages(manifest: CheckpointManifest, visit: (index: number, bytes: Uint8Array) => void): Promise<void> {
    for (let index = manifest.pages.length - 1; index >= 0; index--) {
      const stored = this.#disk.pages.get(pageKey(manifest.partition, index, generationOf(manifest, index)));
      visit(index, this.#verifier.verify(manifest, index, stored));
    }
  }

  removeOrphans(partition: number): Promise<AppendOutcome> {
    const manifest = this.manifest(partition);
    const named = new Set(manifest?.pages.map(({ generation }, index) => pageKey(partition, index, generation)));
    const orphans = [...this.#disk.pages.keys()].filter((key) => key.startsWith(`${partition}.`) && !named.has(key));
    if (orphans.length === 0) return Promise.resolve({ kind: 'flushed' });
    return this.#transact(() => {
      for (const key of orphans) this.#disk.pages.delete(key);
    });
  }

  write(partition: number, generation: number, pages: readonly NewPage[]): Promise<AppendOutcome> {
    if (pages.length > PAGES_PER_WRITE) throw new Error(`${pages.length} pages in one transaction.`);
    return this.#transact(() => {
      for (const { index, bytes } of pages) this.#disk.pages.set(pageKey(partition, index, generation), bytes.slice());
    });
  }

  publish(manifest: CheckpointManifest): Promise<AppendOutcome> {
    const { partition, pages } = manifest;
    const replaced = this.manifest(partition)?.pages ?? [];
    return this.#transact(() => {
      this.#disk.manifests.set(partition, encodeManifest(manifest));
      replaced.forEach(({ generation }, index) => {
        if (pages[index]?.generation !== generation) this.#disk.pages.delete(pageKey(partition, index, generation));
      });
    });
  }

  stats(): CheckpointStats {
    const stored = [...this.#disk.pages.values(), ...this.#disk.manifests.values()];
    const usedBytes = stored.reduce((sum, { length }) => sum + length, 0);
    return { usedBytes, fileBytes: usedBytes, pagesStored: this.#disk.pages.size };
  }

  /** The process dies. */
  crash(stored: boolean): void {
    this.#crashed = true;
    if (stored) this.#pending?.();
  }

  async close(): Promise<void> {
    this.#crashed = true;
  }

  #transact(change: () => void): Promise<AppendOutcome> {
    if (this.#pending) throw new Error('One transaction at a time.');
    if (this.#failure) return Promise.resolve(this.#failure);
    this.#pending = change;
    this.transactions++;
    const fault = this.script.shift();
    return new Promise((resolve) => {
      this.#commitLater(() => {
        if (this.#crashed) return;
        if (!fault || (fault.kind !== 'full' && fault.stored)) change();
        if (fault?.kind === 'silent') return;
        this.#pending = undefined;
        const outcome = outcomeOf(fault);
        if (outcome.kind === 'unknown') this.#failure = outcome;
        resolve(outcome);
      });
    });
  }
}

const pageKey = (partition: number, page: number, generation: number) => `${partition}.${page}.${generation}`;

function generationOf({ pages }: CheckpointManifest, index: number): number {
  return pages[index]?.generation ?? 0;
}
