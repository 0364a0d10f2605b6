import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { listenTcp } from '../../src/transport/tcp.js';
import { answering, type ClientEnd, transportConformance, Wiring } from './transport.conformance.js';

function connectTcp(port: number): ClientEnd {
  const socket = connect({ host: '127.0.0.1', port });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  const opened = new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  opened.catch(() => {}); // some tests want the end alone
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return {
    opened,
    closed,
    received: closed.then(() => Buffer.concat(chunks)),
    next: () => new Promise((resolve) => socket.once('data', resolve)),
    send: (bytes) => socket.write(bytes),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    end: () => socket.end(),
    reset: () => socket.resetAndDestroy(),
  };
}

const TCP = { name: 'TCP', listen: listenTcp, connect: connectTcp };

transportConformance(TCP);

const wiring = new Wiring(TCP);

test('A request of HTTP gets no answer', async () => {
  const { port } = await wiring.listen((transport) => answering(transport));
  const client = wiring.client(port);
  await client.opened;
  client.send(Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'));
  expect(await client.received).toHaveLength(0);
});
