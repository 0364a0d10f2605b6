import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { addFrame, bodiesOf, byId, byName, helloFrame, writeBlocks, writeStream } from './bytes.mjs';
import { FNV_START, fnv } from './fnv.mjs';
import { cutFrames, encodeNames } from './layers/codec.mjs';
import { KernelLayer } from './layers/kernel.mjs';
import { LogLayer } from './layers/log.mjs';
import { CAPACITY, throughRing } from './layers/ring.mjs';
import { answerFrames } from './layers/transfer.mjs';
import { buildNative, runNative } from './native.mjs';

/** Every layer once, on little: what the benches time, for a test that holds what they make against a model. */

const SIZE = 100;
/** Together more than twice what a ring holds. */
const RING_MESSAGE = 1_001;
const RING_MESSAGES = 2_500;

/**
 * @param names the counters, each of which is added to once
 * @param picked numbers of names: added to again, in this order
 * @returns hashes (FNV-1a): of the counters' values, of what was encoded, of answers, of the bodies in the log
 */
export async function runLayers({ directory, names, picked }) {
  const named = new KernelLayer(names);
  named.run(bodiesFor(names, picked, byName));
  const numbered = new KernelLayer(names);
  numbered.run(bodiesFor(numbered.ids, picked, byId));
  const log = await LogLayer.create(join(directory, 'log'), 'lmdb');
  await log.run(bodiesFor(names, picked, byName), 0);
  const files = await LogLayer.create(join(directory, 'files'), 'files');
  await files.run(bodiesFor(names, picked, byName), 0);
  return {
    'kernel by name': named.hash(),
    'kernel by id': numbered.hash(),
    'encoded operations': encodeNames(names).hash,
    'answers to frames': cutFrames(framesFor(names, picked)).hash,
    'answers over the loopback': await answersOver(framesFor(names, picked)),
    'bodies in the log': await log.close(),
    'bodies in the log of plain files': await files.close(),
    'bytes through a ring': (await throughRing(RING_MESSAGE, RING_MESSAGES)).hash,
  };
}

/** The same of the C programs. */
export async function runNativeLayers({ directory, names, picked }) {
  buildNative();
  const path = (name) => join(directory, name);
  const layer = new KernelLayer(names);
  writeBlocks(path('insert'), layer.insert);
  writeBlocks(path('by-name'), bodiesFor(names, picked, byName));
  writeBlocks(path('by-id'), bodiesFor(layer.ids, picked, byId));
  writeBlocks(
    path('names'),
    names.map((name) => Buffer.from(name)),
  );
  writeStream(path('frames'), [framesFor(names, picked)]);
  const kernel = async (key, kind, hash) =>
    (await runNative('kernel', path('insert'), path(`by-${key}`), kind, hash, 1)).hash;
  return {
    'kernel by name': await kernel('name', 'prefetched', 'siphash'),
    'kernel by name, naive': await kernel('name', 'naive', 'siphash'),
    'kernel by name, a hash without key': await kernel('name', 'prefetched', 'cheap'),
    'kernel by id': await kernel('id', 'prefetched', 'siphash'),
    'encoded operations': (await runNative('codec', 'encode', path('names'), 1)).hash,
    'answers to frames': (await runNative('codec', 'cut', path('frames'), 1)).hash,
    'bytes through a ring': (await runNative('ring', RING_MESSAGE, RING_MESSAGES, CAPACITY)).hash,
  };
}

function bodiesFor(keys, picked, write) {
  return bodiesOf(
    picked.map((number) => keys[number]),
    SIZE,
    write,
  );
}

function framesFor(names, picked) {
  return Buffer.concat(bodiesFor(names, picked, byName).map((body, i) => addFrame(i, i + 1, body)));
}

/** Sends the stream to the server's connections in pieces that cut frames apart; the hash of what follows the answer to HELLO. */
async function answersOver(stream) {
  const listener = await answerFrames();
  const socket = connect({ host: '127.0.0.1', port: listener.port, noDelay: true });
  const hello = helloFrame('tiny');
  socket.write(hello);
  const [greeting] = await once(socket, 'data');
  for (let from = 0; from < stream.length; from += 1_000) socket.write(stream.subarray(from, from + 1_000));
  socket.end();
  let hash = FNV_START;
  for await (const chunk of socket) hash = fnv(hash, chunk);
  await listener.close();
  if (greeting.length !== 16) throw new Error(`The answer to HELLO has ${greeting.length} bytes.`);
  return hash;
}
