import { once } from 'node:events';
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { ByteReader, ByteWriter } from '../dist/protocol/bytes.js';
import { encodeHelloRequest, PROTOCOL_VERSION } from '../dist/protocol/control.js';
import { encodeFrame, FrameReader } from '../dist/protocol/frame.js';
import { Flag, LANE, Opcode } from '../dist/protocol/opcode.js';
import { decodeError } from '../dist/protocol/response.js';
import { encodeTail } from '../dist/protocol/tail.js';
import { latencies, percentiles, record } from './histogram.mjs';
import { threadCpuSeconds } from './process-figures.mjs';

/**
 * The followers of load/follow.mjs, in a thread of their own: each with a connection to every lane of which it follows counters.
 *
 *   workerData: { followers: [[{ host, port, partition, names }, …], …], interval, probe }
 *
 * `probe` is the name of the counter whose changes are timed: the main thread says when each of its values was sent. Of all others only the bytes are looked at,
 * since the followers share the machine with the server: what readers make of what they are told is the matter of the follow model.
 */
const { followers, interval, probe } = workerData;
const AT_A_TIME = 200;
const CREDIT = 64;
/** The server is told of the first frame that was taken, and of each so many. */
const TAKEN = 32;

/** Kinds of what is told, and bits of a frame: see TAIL in protocol.md. */
const CHANGE = 2;
const HAS_VALUE = [false, true, true, false];
const HAS_DELTA = [false, false, true, true];
const WHOLE = 2;

/** On one clock for all threads. */
const now = () => performance.timeOrigin + performance.now();

let sent = new Map();
let late = [];
let taken = latencies();
let frames = 0;
let told = 0;
let bytes = 0;
let snapshots = 0;
let feeds = 0;
/** CPU seconds that were reported. */
let reportedCpu = 0;
/** For each follower the last value of the probe's counter that it was told. */
const reached = followers.map(() => 0n);
/** The value that all of them shall have been told before the report. */
let wanted;
const sockets = [];

function encode(opcode, partition, id, write) {
  const body = new ByteWriter();
  write(body);
  return encodeFrame(opcode, 0, partition, id, body.view());
}

/** Opens one feed over a connection of its own; resolves when its snapshot has come. */
async function follow({ host, port, partition, names, follower }) {
  const socket = connect({ host, port, noDelay: true });
  sockets.push(socket);
  await once(socket, 'connect');
  feeds++;
  const reader = new FrameReader();
  const probeIndex = names.indexOf(probe);
  let taken = 0;
  let id = 2;
  const whole = new Promise((resolve) => {
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      reader.push(chunk, (frame) => {
        if (frame.opcode === Opcode.ERROR) throw new Error(`A feed ended: ${JSON.stringify(decodeError(frame.body))}`);
        if (frame.requestId !== 2 || (frame.flags & Flag.MORE) === 0) return;
        if (take(frame.body, follower, probeIndex)) resolve();
        if (++taken > 1 && taken % TAKEN > 0) return;
        socket.write(
          encode(Opcode.TAIL, partition, ++id, (body) => encodeTail(body, { kind: 'more', feed: 2, taken })),
        );
      });
    });
  });
  const hello = encode(Opcode.HELLO, LANE, 1, (body) =>
    encodeHelloRequest(body, { version: PROTOCOL_VERSION, client: 'follow' }),
  );
  const request = { kind: 'names', interval, credit: CREDIT, names };
  socket.write(hello);
  socket.write(encode(Opcode.TAIL, partition, 2, (body) => encodeTail(body, request)));
  await whole;
  snapshots++;
}

/** Takes a frame of a feed that tells of the probe under an index, or -1; whether it told the last of everything. */
function take(body, follower, probeIndex) {
  frames++;
  const reader = new ByteReader(body, 1);
  reader.varint();
  const count = reader.varint();
  told += count;
  let at = reader.offset;
  for (let i = 0; i < count; i++) {
    let head = body[at++];
    if (head >= 128) head = (head & 127) | (body[at++] << 7);
    if (head >= 16_384) head = (head & 16_383) | (body[at++] << 14);
    const kind = head & 3;
    if (head >> 2 === probeIndex) takeProbe(kind, new ByteReader(body, at), follower);
    if (HAS_VALUE[kind]) while (body[at++] >= 128);
    if (HAS_DELTA[kind]) while (body[at++] >= 128);
  }
  if (at !== body.length) throw new Error('A frame does not end with its last counter.');
  return (body[0] & WHOLE) !== 0;
}

function takeProbe(kind, reader, follower) {
  const value = HAS_VALUE[kind] ? reader.zigzagBig() : 0n;
  reached[follower] = value;
  reportWhenReached();
  if (kind !== CHANGE) return;
  const at = sent.get(value);
  // The message of the other thread may come after the frame
  if (at === undefined) late.push([value, now()]);
  else record(taken, Math.max(0, now() - at));
}

/** Says what has come when everyone has been told the value that is wanted. */
function reportWhenReached() {
  if (wanted === undefined || reached.some((value) => value < wanted)) return;
  wanted = undefined;
  // after the frame at hand
  setImmediate(() => {
    const cpu = threadCpuSeconds();
    const counts = { frames, told, bytes, feeds, snapshots, cpuSeconds: cpu - reportedCpu };
    reportedCpu = cpu;
    const { histogram } = taken;
    parentPort.postMessage({ ...counts, delivered: histogram.totalCount, ...percentiles(histogram) });
    frames = 0;
    told = 0;
    bytes = 0;
    sent = new Map();
    taken = latencies();
  });
}

parentPort.on('message', (message) => {
  if (message.kind === 'sent') {
    sent.set(message.value, message.at);
    for (const [value, at] of late) if (value === message.value) record(taken, Math.max(0, at - message.at));
    late = late.filter(([value]) => value !== message.value);
  } else if (message.kind === 'report') {
    wanted = message.value;
    reportWhenReached();
  } else {
    for (const socket of sockets) socket.destroy();
    parentPort.close();
  }
});

const all = followers.flatMap((own, follower) => own.map((feed) => ({ ...feed, follower })));
for (let from = 0; from < all.length; from += AT_A_TIME)
  await Promise.all(all.slice(from, from + AT_A_TIME).map(follow));
parentPort.postMessage('ready');
