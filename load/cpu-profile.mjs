/** Reads V8's CPU profiles: self times by the layers of the server. */

/**
 * @param profiles of the threads, as `--cpu-prof` writes them
 * @param window from and to, in microseconds of the monotonic clock that the profiles' times are of; samples outside are left out
 * @returns microseconds by layer and by function, the largest first; idle time is left out
 */
export function cpuProfileShares(profiles, { from, to }) {
  const layers = new Map();
  const functions = new Map();
  const add = (map, name, time) => map.set(name, (map.get(name) ?? 0) + time);
  for (const { nodes, samples, timeDeltas, startTime } of profiles) {
    const known = describeNodes(nodes);
    let now = startTime;
    samples.forEach((id, i) => {
      // A delta is the time since the sample before: the time that the sample before it stood for.
      now += timeDeltas[i];
      const { layer, name } = known.get(i === 0 ? id : samples[i - 1]);
      if (layer === undefined || now < from || now > to) return;
      add(layers, layer, timeDeltas[i]);
      add(functions, name, timeDeltas[i]);
    });
  }
  const sorted = (map) => new Map([...map].sort(([, a], [, b]) => b - a));
  return { layers: sorted(layers), functions: sorted(functions) };
}

function describeNodes(nodes) {
  const parents = new Map(nodes.flatMap(({ id, children }) => (children ?? []).map((child) => [child, id])));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  return new Map(
    nodes.map((node) => {
      const { functionName, url, lineNumber } = node.callFrame;
      const file = /\/dist\/(.+)\.js$/.exec(url)?.[1] ?? url.replace(/^.*node_modules\//, '');
      const name = `${functionName || '(anonymous)'} ${file}${file && !url.startsWith('wasm') ? `:${lineNumber + 1}` : ''}`;
      return [node.id, { layer: layerOf(node, (id) => byId.get(parents.get(id))), name }];
    }),
  );
}

/** WebAssembly is of the room that calls it: the kernel of partition/, the checksums of log/. */
function layerOf(node, parentOf) {
  const { functionName, url } = node.callFrame;
  if (functionName === '(idle)' || functionName === '(root)') return undefined;
  if (functionName === '(garbage collector)') return 'garbage collector';
  // Functions without a file are those of Node's bindings: writev and its like.
  if (functionName === '(program)' || url === '') return 'native: system calls, libuv';
  if (url.startsWith('wasm')) {
    const caller = callerRoom(node, parentOf);
    return caller === 'log' ? 'log: checksums' : 'kernel (WebAssembly)';
  }
  const room = /\/dist\/([^/]+)\//.exec(url)?.[1];
  if (room) return room;
  if (url.includes('/lmdb/')) return 'lmdb-js';
  if (url.includes('node_modules')) return 'other packages';
  return "Node's own JavaScript";
}

function callerRoom(node, parentOf) {
  for (let at = parentOf(node.id); at; at = parentOf(at.id)) {
    const room = /\/dist\/([^/]+)\//.exec(at.callFrame.url)?.[1];
    if (room) return room;
  }
  return undefined;
}
