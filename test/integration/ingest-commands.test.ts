import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ScratchServer, startProgram, startScratchServer } from './ingest-programs.js';

let server: ScratchServer;
beforeAll(async () => {
  server = await startScratchServer();
});
afterAll(() => server.stop());

const done = (out: string) => ({ status: 0, out, err: '' });

it('incr and decr step by one, by N and by a negative N, and print the new value', async () => {
  expect(await server.run(['incr', 'x'])).toEqual(done('1\n'));
  expect(await server.run(['incr', 'x', '-5'])).toEqual(done('-4\n'));
  expect(await server.run(['decr', 'x', '6'])).toEqual(done('-10\n'));
  expect(await server.run(['incr', 'x', '9223372036854775807'])).toEqual(done('9223372036854775797\n'));
});

it('set prints the value before, and get what is set', async () => {
  expect(await server.run(['set', 'stock', '100', '--reason', 'stocktaking'])).toEqual(done('0\n'));
  expect(await server.run(['set', 'stock', '90', '--expect', '100', '--reason', 'again'])).toEqual(done('100\n'));
  expect(await server.run(['get', 'stock'])).toEqual(done('90\n'));
});

it('get reads names from stdin, and gives one JSON object of decimal strings', async () => {
  await server.run(['incr', 'größe {a}', '7']);
  const names = 'größe {a}\r\nabsent\n\ngröße {a}\n__proto__';
  expect(await server.run(['get', '-', '--json'], names)).toEqual(
    done('{"größe {a}":"7","absent":"0","__proto__":"0"}\n'),
  );
  expect(await server.run(['get', '-'], 'größe {a}\nabsent')).toEqual(done('größe {a}  7\nabsent     0\n'));
  expect(await server.run(['get', 'absent', 'größe {a}', '--json'])).toEqual(done('{"absent":"0","größe {a}":"7"}\n'));
});

it('stats is JSON for each lane with its partitions', async () => {
  const { status, out } = await server.run(['stats', '--json']);
  const lanes = JSON.parse(out) as { lane: number; partitions: { partition: number; flushed: number }[] }[];
  expect(status).toBe(0);
  expect(lanes.map(({ lane }) => lane)).toEqual(lanes.map((_, index) => index));
  const partitions = lanes.flatMap((lane) => lane.partitions.map(({ partition }) => partition));
  expect(partitions.sort((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, index) => index));
});

describe('the exit status', () => {
  it('is 1 with the code first on stderr where an operation failed', async () => {
    await server.run(['incr', 'full', '9223372036854775807']);
    const failures: [string[], string][] = [
      [['incr', 'full'], 'OVERFLOW: '],
      [['set', 'full', '1', '--reason', 'r', '--expect', '2'], 'EXPECTATION_FAILED: '],
      [['incr', 'n'.repeat(1_025)], 'NAME_INVALID: '],
      [['ingest', '/nonexistent', '--format', 'csv', '--count', '{a}'], 'INPUT_FAILED: /nonexistent: ENOENT'],
      [['get', 'x', '--server', 'tallystick://127.0.0.1:1', '--timeout', '0.2'], 'TIMEOUT: '],
    ];
    for (const [args, message] of failures) {
      const { status, out, err } = await server.run(args);
      expect({ args, status, out }).toEqual({ args, status: 1, out: '' });
      expect(err.slice(0, message.length)).toBe(message);
    }
  });

  it('is 2 with a pointer to the help where the command is wrong', async () => {
    const mistakes: string[][] = [
      ['incr'],
      ['incr', 'x', '1.5'],
      ['incr', 'x', '9223372036854775808'],
      ['set', 'x', '1'],
      ['get', 'x', '--server', 'nowhere'],
      ['ingest', '-', '--format', 'combined'],
      ['ingest', '-', '--format', 'combined', '--count', 'views:{page}'],
      ['ingest', '-', '--format', 'xml', '--count', 'x'],
      ['ingest', '-', '--format', 'combined', '--count', 'views:{path'],
      ['fly'],
    ];
    const outcomes = await Promise.all(mistakes.map((args) => server.run(args)));
    for (const [index, { status, out, err }] of outcomes.entries()) {
      expect({ args: mistakes[index], status, out }).toEqual({ args: mistakes[index], status: 2, out: '' });
      expect(err).toMatch(/See 'tallystick .*--help'\./);
    }
  });

  it('is 0 for help and version', async () => {
    for (const args of [['--help'], ['ingest', '--help'], ['--version']]) {
      const program = startProgram(args);
      program.stdin.end();
      expect(await program.outcome).toMatchObject({ status: 0, err: '' });
    }
  });
});
