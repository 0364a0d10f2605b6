import { expect, onTestFinished, test } from 'vitest';
import { freePorts } from '../../load/ports.mjs';
import { EventSourceOfTests } from '../http/event-source.js';
import { clientOfTest } from './clients.js';
import { serverOfTest } from './server-process.js';

/** Server-sent events of `tallystick serve`, over its end and its return. */

/** As EventSource does: asks until somebody answers. */
async function comeBack(events: EventSourceOfTests): Promise<void> {
  for (;;) {
    const head = await events.open().catch(() => undefined);
    if (head?.statusCode === 200) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'a stream survives %s and a restart by its last id, without a page being loaded anew',
  async (signal) => {
    const httpPort = await freePorts(1);
    const server = await serverOfTest({ lanes: 2, flags: ['--http-port', String(httpPort)] });
    const client = await clientOfTest(server);
    const names = ['score:a', 'score:b', 'score:c'];
    for (const [i, name] of names.entries()) await client.increment(name, i + 1);
    const events = new EventSourceOfTests(`http://127.0.0.1:${httpPort}/v1/feed?prefix=score:&interval=0`);
    onTestFinished(() => events.close());
    const shown = new Map<string, string>();
    const partitions = new Map<string, number>();
    let resets = 0;
    const showUntil = async (name: string, value: string) => {
      while (shown.get(name) !== value) {
        const event = await events.next();
        if (!event) await comeBack(events);
        else if (event.event === 'reset') {
          resets++;
          for (const [known, partition] of partitions) if (partition === event.data.partition) shown.delete(known);
        } else if (event.event === 'problem')
          expect(event.data).toMatchObject({ code: 'SHUTTING_DOWN', retryable: true });
        else {
          partitions.set(event.data.name, event.data.partition);
          shown.set(event.data.name, event.data.value);
        }
      }
    };
    await events.open();
    for (const [i, name] of names.entries()) await showUntil(name, String(i + 1));
    await client.increment('score:a', 10);
    await showUntil('score:a', '11');
    expect([resets, events.parser.lastEventId]).toEqual([0, expect.stringMatching(/-/)]);
    // Lost and back while the server is there: nothing comes anew
    events.close();
    await client.increment('score:a', 1);
    await events.open();
    await showUntil('score:a', '12');
    expect(resets).toBe(0);

    await server.kill(signal);
    await server.start();
    await client.increment('score:b', 100);
    await client.delete('score:c', { reason: 'gone' });
    await client.increment('score:a', 1);
    await showUntil('score:a', '13');
    await showUntil('score:b', '102');
    expect(resets).toBeGreaterThan(0);
    await client.increment('score:c', 7);
    await showUntil('score:c', '7');
    expect([...shown].sort()).toEqual([
      ['score:a', '13'],
      ['score:b', '102'],
      ['score:c', '7'],
    ]);
  },
);
