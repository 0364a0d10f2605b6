import type { ChildProcessByStdio, SpawnOptions } from 'node:child_process';
import type { Readable } from 'node:stream';

export function spawnChild(
  command: string,
  args: readonly string[],
  options: SpawnOptions & { readonly stdio: readonly ['ignore', 'pipe', 'pipe'] },
): ChildProcessByStdio<null, Readable, Readable>;
