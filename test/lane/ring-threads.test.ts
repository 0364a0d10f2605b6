import { once } from 'node:events';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { createRing } from '../../src/lane/ring.js';

interface EndData {
  readonly ring: SharedArrayBuffer;
  readonly bell: MessagePort;
  readonly isWriter: boolean;
  readonly messages: number;
}

/** A thread with one end of the ring; resolves with what it says in the end. */
async function end(data: EndData): Promise<Record<string, number>> {
  const thread = new Worker(new URL('./ring-child.mjs', import.meta.url), {
    workerData: data,
    transferList: [data.bell],
  });
  onTestFinished(async () => {
    await thread.terminate();
  });
  const [told] = await once(thread, 'message');
  return told;
}

test.each([
  [256, 3_000],
  [16_384, 20_000],
])(
  'Two threads pass messages through a ring of %i bytes: all arrive, whole and in order',
  async (capacity, messages) => {
    const { port1, port2 } = new MessageChannel();
    const ring = createRing(capacity);
    const [writer, reader] = await Promise.all([
      end({ ring, messages, bell: port1, isWriter: true }),
      end({ ring, messages, bell: port2, isWriter: false }),
    ]);
    expect(reader['number']).toBe(messages);
    // each has slept, and was woken
    expect(writer['woken']).toBeGreaterThan(0);
    expect(reader['woken']).toBeGreaterThan(0);
  },
);
