import { expect, onTestFinished, test } from 'vitest';
import { freePorts } from '../../load/ports.mjs';
import { EventSourceOfTests } from '../http/event-source.js';
import { clientOfTest } from './clients.js';
import { serverOfTest } from './server-process.js';

/** Server-sent events of `tallystick serve`, and windows that are followed, over its end and its return. */

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
    expect(resets).toBe(0);
    await client.increment('score:c', 7);
    await showUntil('score:c', '7');
    expect([...shown].sort()).toEqual([
      ['score:a', '13'],
      ['score:b', '102'],
      ['score:c', '7'],
    ]);
  },
);

test('windows and unique items that are followed survive kill -9, and end with NOT_TRACKED where their class has gone', async () => {
  const classes = [{ pattern: 'f:*', windows: '1h', uniques: 100 }];
  const environment: NodeJS.ProcessEnv = { TALLYSTICK_CLASSES: JSON.stringify(classes) };
  const server = await serverOfTest({ lanes: 2, environment });
  const client = await clientOfTest(server);
  const names = ['f:a', 'f:b', 'f:c'];
  await client.increment('f:a', 5);
  await client.see('f:b', ['x', 'y']);
  const windows = client.subscribe({ names, window: '5m', interval: 20 });
  const uniques = client.subscribe({ names, uniques: true, interval: 20 });
  const values = new Map<string, bigint>();
  const counts = new Map<string, number>();
  const until = async (name: string, value: bigint) => {
    while (values.get(name) !== value) {
      const { value: told } = await windows.next();
      if (told) values.set(told.name, told.value);
    }
  };
  const untilCount = async (name: string, count: number) => {
    while (counts.get(name) !== count) {
      const { value: told } = await uniques.next();
      if (told) counts.set(told.name, told.count);
    }
  };
  await Promise.all([until('f:a', 5n), untilCount('f:b', 2)]);
  await server.crash();
  await client.increment('f:c', 1);
  await client.see('f:b', ['y', 'z']);
  await Promise.all([until('f:c', 1n), untilCount('f:b', 3)]);
  expect([values.get('f:a'), values.get('f:b')]).toEqual([5n, 0n]);
  await server.kill();
  environment.TALLYSTICK_CLASSES = '[]';
  await server.start();
  const ended = async (follow: typeof windows | typeof uniques) => {
    for (;;) await follow.next();
  };
  await expect(ended(windows)).rejects.toThrow(/^NOT_TRACKED/);
  await expect(ended(uniques)).rejects.toThrow(/^NOT_TRACKED/);
});
