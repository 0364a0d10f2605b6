import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * What collects the garbage of the thread that asks. The engine comes to it late where a thread rests, and where little of its heap holds much that lies
 * outside of it. The only way to it is a flag, which contexts that are made afterwards show.
 */
export function collecting(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  return () => collect();
}
