import { CounterHandle } from './counter.js';
import { CounterTable, type TableContext } from './counters.js';

/** Handles that are given again for the same name; older ones stay usable. */
const MOST_CACHED = 1 << 20;
/**
 * Handles that share a table, whose memory is free again when all of them are. Each table is twice the last, so that few
 * handles take little and a million share few tables, which stay in the cache.
 */
const OF_A_TABLE = { first: 256, last: 65_536 } as const;

/** The handles of counters, by name. */
export class Handles {
  readonly #context: TableContext;
  readonly #handles = new Map<string, CounterHandle>();
  #table: CounterTable | undefined;

  constructor(context: TableContext) {
    this.#context = context;
  }

  get(name: string): CounterHandle | undefined {
    return this.#handles.get(name);
  }

  /** One that is not known yet. */
  make(name: string, partition: number): CounterHandle {
    const table = this.#tableWithRoom();
    const handle = new CounterHandle(table, table.append(name, partition));
    if (this.#handles.size >= MOST_CACHED) this.#handles.delete(this.#handles.keys().next().value as string);
    this.#handles.set(name, handle);
    return handle;
  }

  #tableWithRoom(): CounterTable {
    if (!this.#table?.hasRoom) {
      const capacity = this.#table ? Math.min(OF_A_TABLE.last, 2 * this.#table.capacity) : OF_A_TABLE.first;
      this.#table = new CounterTable(capacity, this.#context);
    }
    return this.#table;
  }
}
