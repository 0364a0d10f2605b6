import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** examples/redelivery, run as its command runs it. */

const SCRIPT = fileURLToPath(new URL('../../examples/redelivery/redelivery.mjs', import.meta.url));

interface Told {
  readonly messages: number;
  readonly deliveries: number;
  readonly killed: { readonly consumers: number; readonly servers: number };
  readonly counters: readonly { readonly counted: number; readonly expected: number }[];
  readonly exact: boolean;
}

async function run(...flags: string[]): Promise<{ readonly code: number | null; readonly told: Told }> {
  const child = spawn(process.execPath, [SCRIPT, '--messages', '1500', '--json', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, told: JSON.parse(text) as Told };
}

test('Messages that come twice, out of order, and over the death of consumers and servers count once, by their ids', async () => {
  const { code, told } = await run('--seed', '7');
  expect(code).toBe(0);
  expect(told).toMatchObject({ messages: 1_500, killed: { consumers: 5, servers: 2 }, exact: true });
  expect(told.deliveries).toBeGreaterThan(1_600);
  for (const { counted, expected } of told.counters) expect(counted).toBe(expected);
});

test('and without their ids they do not', async () => {
  const { code, told } = await run('--without-ids');
  expect(code).toBe(1);
  for (const { counted, expected } of told.counters) expect(counted).toBeGreaterThan(expected);
});
