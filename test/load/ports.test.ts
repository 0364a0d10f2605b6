import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { freePorts } from '../../load/ports.mjs';

const COUNTS = Array.from({ length: 60 }, (_, i) => 1 + (i % 3));
const PORTS = new URL('../../load/ports.mjs', import.meta.url).href;
/** Gives ports, and lives on. */
const GIVING = `
  const { freePorts } = await import(${JSON.stringify(PORTS)});
  console.log(JSON.stringify(await Promise.all(${JSON.stringify(COUNTS)}.map(freePorts))));
  setInterval(() => {}, 60_000);
`;

async function givenByOther(): Promise<number[]> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', GIVING], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [line] = await once(child.stdout, 'data');
  return JSON.parse(String(line));
}

it('are given once, to whoever asks at a time, in this process or in others that live', async () => {
  const firsts = await Promise.all([Promise.all(COUNTS.map(freePorts)), givenByOther(), givenByOther()]);
  const ports = firsts.flatMap((each) =>
    each.flatMap((first, i) => Array.from({ length: COUNTS[i] as number }, (_, k) => first + k)),
  );
  expect(new Set(ports).size).toBe(ports.length);
});
