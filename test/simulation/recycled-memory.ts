/**
 * Memories of WebAssembly that are used again by the next seed. A simulation makes hundreds of them, and a fresh one is
 * dear: its pages must be mapped, zeroed and, all too soon, collected; that was half of the time of a seed.
 *
 * A kernel's memory comes back with its persistent state zeroed. The region below, and the buffers of the log, come back as
 * they were left, which is how their owners find them too after the first use.
 */

/** Where the persistent state of a kernel begins, and the number of the page at which it ends (src/kernel/layout.ts). */
const STATE_AT = 0x600000;
const NEXT_PAGE_AT = STATE_AT + 16;
const PAGE_BYTES = 65_536;

interface Descriptor {
  readonly initial: number;
  readonly maximum?: number;
  readonly shared?: boolean;
}

const Original = WebAssembly.Memory;
const free = new Map<string, WebAssembly.Memory[]>();

/** Lets what runs within use recycled memories, all of which are free again when it has ended. One at a time. */
export async function withRecycledMemory<T>(run: () => Promise<T>): Promise<T> {
  if (WebAssembly.Memory !== Original) throw new Error('One simulation at a time.');
  const taken: { readonly key: string; readonly memory: WebAssembly.Memory; readonly bytes: number }[] = [];
  WebAssembly.Memory = new Proxy(Original, {
    construct(target, [descriptor]: [Descriptor]) {
      const { initial, maximum, shared } = descriptor;
      const key = `${initial} ${maximum} ${shared}`;
      const memory = free.get(key)?.pop() ?? new target(descriptor);
      taken.push({ key, memory, bytes: initial * PAGE_BYTES });
      return memory;
    },
  });
  try {
    return await run();
  } finally {
    WebAssembly.Memory = Original;
    for (const { key, memory, bytes } of taken) {
      if (memory.buffer.byteLength !== bytes) continue; // it has grown
      if (bytes > STATE_AT) clearState(memory);
      const all = free.get(key) ?? [];
      free.set(key, all);
      all.push(memory);
    }
  }
}

function clearState({ buffer }: WebAssembly.Memory): void {
  const end = new DataView(buffer).getUint32(NEXT_PAGE_AT, true) * PAGE_BYTES;
  // Where a restore ended before its first page, which is the last that comes, nothing says how far it got.
  new Uint8Array(buffer).fill(0, STATE_AT, end > STATE_AT ? end : buffer.byteLength);
}
