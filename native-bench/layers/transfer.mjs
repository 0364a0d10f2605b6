import { systemClock } from '../../dist/clock.js';
import { Opcode } from '../../dist/protocol/opcode.js';
import { Connection } from '../../dist/transport/connection.js';
import { listenTcp } from '../../dist/transport/tcp.js';

/** The server's connections, with a lane behind them that only answers. */

const BODY = new Uint8Array(4);

/** Listens on a free port of the loopback; `close` ends once every client has. */
export function answerFrames() {
  const handler = {
    request(connection, { opcode, partition, requestId }) {
      if (opcode === Opcode.HELLO) connection.helloDone();
      connection.answer(opcode, 0, partition, requestId, BODY);
    },
    isFull: () => false,
    closed: () => {},
  };
  return listenTcp({
    host: '127.0.0.1',
    port: 0,
    maxConnections: 64,
    accept: (transport) => new Connection({ session: {}, transport, clock: systemClock, handler }),
  });
}
