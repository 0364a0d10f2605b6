import { describe, expect, it } from 'vitest';
import { type CpuProfile, cpuProfileShares } from '../../load/cpu-profile.mjs';

const node = (id: number, functionName: string, url: string, children: number[] = []) => ({
  id,
  children,
  callFrame: { functionName, url, lineNumber: 9 },
});
const nodes = [
  node(1, '(root)', '', [2, 3, 5]),
  node(2, '(idle)', ''),
  node(3, 'apply', 'file:///p/dist/partition/partition.js', [4]),
  node(4, 'wasm-function[7]', 'wasm://wasm/1234'),
  node(5, 'sealRecord', 'file:///p/dist/log/record.js', [6, 7]),
  node(6, 'wasm-function[2]', 'wasm://wasm/5678'),
  node(7, 'writev', ''),
];
const profile = (samples: number[], timeDeltas: number[]): CpuProfile => ({
  startTime: 1_000,
  nodes,
  samples,
  timeDeltas,
});
const always = { from: 0, to: 10_000 };

describe('the shares of a CPU profile', () => {
  it('give WebAssembly to the layer that calls it, and leave idle time out', () => {
    // each sample stands for the time until the next one
    const { layers } = cpuProfileShares([profile([4, 4, 6, 3, 2, 7, 1], [0, 10, 20, 30, 40, 50, 60])], always);
    expect(Object.fromEntries(layers)).toEqual({
      'kernel (WebAssembly)': 30,
      'log: checksums': 30,
      partition: 40,
      'native: system calls, libuv': 60,
    });
  });

  it('count only what lies in the window, of all threads', () => {
    const thread = profile([3, 3, 3, 3], [0, 100, 100, 100]);
    const { functions } = cpuProfileShares([thread, thread], { from: 1_150, to: 1_250 });
    expect([...functions]).toEqual([['apply partition/partition:10', 200]]);
  });
});
