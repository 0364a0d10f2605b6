import { systemClock } from '../clock.js';
import type { Environment } from './session.js';
import { tcpTransport } from './tcp.js';
import type { Address, ChannelEvents } from './transport.js';
import { wsTransport } from './ws.js';

/** Node's: chance, time and the network. */
export const nodeEnvironment: Environment = {
  clock: systemClock,
  random: Math.random,
  randomBytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)),
  transport: {
    open: (address: Address, events: ChannelEvents) =>
      (address.scheme === 'ws' ? wsTransport : tcpTransport).open(address, events),
  },
};
