import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { clientOfTest } from './clients.js';
import { startProgram } from './ingest-programs.js';
import { directoryOfTest, type ServerProcess, serverOfTest } from './server-process.js';

/** `tallystick export` and `import` between two servers. */

async function run(server: ServerProcess, args: readonly string[], stdin: string | Uint8Array = '') {
  const program = startProgram(args, { TALLYSTICK_SERVER: server.url });
  program.stdin.end(stdin);
  return program.outcome;
}

/** By name, what a server shows as durable. */
async function countersOf(server: ServerProcess): Promise<Map<string, bigint>> {
  const client = await clientOfTest(server, { producer: false });
  const counters = new Map<string, bigint>();
  for await (const { name, value } of client.list()) counters.set(name, value);
  return counters;
}

describe('what one server exports', () => {
  test.each(['ndjson', 'csv'])('another one imports, whatever the names and values: %s', async (format) => {
    const from = await serverOfTest({ lanes: 2, partitions: 8 });
    const client = await clientOfTest(from);
    const odd = [
      'a,b',
      '"',
      'line\nend',
      '\r',
      '\\',
      '\ufefftag{x}',
      '\u0000',
      '\u{1f600}',
      '__proto__',
      ' ',
      'é'.repeat(512),
    ];
    const values = [2n ** 63n - 1n, -(2n ** 63n), 0n, -1n];
    for (const [i, name] of odd.entries())
      await client.set(name, values[i % values.length] as bigint, { reason: 'odd' });
    await Promise.all(Array.from({ length: 3_000 }, (_, i) => client.increment(`n:${i}`, i)));

    const file = join(directoryOfTest(), `counters.${format}`);
    const exported = await run(from, ['export', '', file, '--json']);
    expect(exported).toMatchObject({ status: 0, err: '' });
    expect(JSON.parse(exported.out)).toMatchObject({ counters: 3_000 + odd.length });

    const to = await serverOfTest({ lanes: 1, partitions: 4 });
    const imported = await run(to, ['import', file, '--reason', 'move', '--json']);
    expect(imported).toMatchObject({ status: 0, err: '' });
    expect(JSON.parse(imported.out)).toMatchObject({ finished: true, set: 3_000 + odd.length, unusable: 0 });
    await to.crash();
    const expected = await countersOf(from);
    expect(expected.size).toBe(3_000 + odd.length);
    expect(await countersOf(to)).toEqual(expected);
  });

  test('goes through a pipe, by prefix', async () => {
    const from = await serverOfTest();
    const client = await clientOfTest(from);
    await Promise.all(['stock:a', 'stock:b', 'views'].map((name, i) => client.increment(name, i + 1)));
    const { out } = await run(from, ['export', 'stock:']);
    const to = await serverOfTest();
    expect(await run(to, ['import', '-'], out)).toMatchObject({ status: 0 });
    expect([...(await countersOf(to))].sort()).toEqual([
      ['stock:a', 1n],
      ['stock:b', 2n],
    ]);
    const audit = startProgram(['audit', '--data-dir', to.dataDir, '--json'], {});
    audit.stdin.end();
    expect((await audit.outcome).out.match(/"reason":"import stdin"/g)).toHaveLength(2);
  });
});
