import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const NEWLINE = 10;
const MINUS = 45;
const COMMANDS_AT_A_TIME = 10_000;
const MOST_IN_FLIGHT = 4;
const RETRY_MILLISECONDS = 2;

/** Redis's protocol, as far as loading needs it: commands out, replies of one line counted. */
export class RespClient {
  #socket;
  #expected = 0;
  #isAtStart = true;
  #error;
  #line = '';
  #progress = () => {};

  static async connect(port) {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    await once(socket, 'connect');
    return new RespClient(socket);
  }

  constructor(socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#received(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#error ??= new Error('Redis closed the connection.');
      this.#progress();
    });
  }

  /** Resolves once a Redis that starts answers GET, with something or nothing: not while it loads. */
  static async answerTo(port, key, exited) {
    let isGone = false;
    exited.then(() => {
      isGone = true;
    });
    for (;;) {
      if (isGone) throw new Error('redis-server ended before it answered.');
      try {
        const client = await RespClient.connect(port);
        const answer = await client.command('GET', key);
        client.close();
        return answer;
      } catch {
        await sleep(RETRY_MILLISECONDS); // not listening, or loading
      }
    }
  }

  /** One command; its reply without the length of a bulk string. Throws an error reply. */
  async command(...words) {
    const text = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('');
    this.#line = '';
    this.#expected++;
    this.#socket.write(`*${words.length}\r\n${text}`);
    await this.#settled(0);
    // A bulk string comes in two lines: its length and itself.
    if (/^\$\d/.test(this.#line)) while (this.#line.split('\r\n').length < 3) await this.#more();
    return this.#line.startsWith('$') ? this.#line.split('\r\n')[1] : this.#line.trim();
  }

  /** INCR of `count` keys, pipelined. */
  async increment(count, keyOf) {
    for (let from = 0; from < count; from += COMMANDS_AT_A_TIME) {
      const to = Math.min(count, from + COMMANDS_AT_A_TIME);
      let text = '';
      for (let number = from; number < to; number++) {
        const key = keyOf(number);
        text += `*2\r\n$4\r\nINCR\r\n$${key.length}\r\n${key}\r\n`;
      }
      this.#expected += to - from;
      this.#socket.write(text, 'latin1');
      await this.#settled((MOST_IN_FLIGHT - 1) * COMMANDS_AT_A_TIME);
    }
    await this.#settled(0);
  }

  close() {
    this.#socket.destroy();
  }

  async #settled(most) {
    while (this.#expected > most) await this.#more();
    if (this.#error) throw this.#error;
  }

  async #more() {
    if (this.#error) throw this.#error;
    await new Promise((resolve) => {
      this.#progress = resolve;
    });
    if (this.#error) throw this.#error;
  }

  #received(chunk) {
    if (this.#line.length < 256) this.#line += chunk.toString('latin1', 0, 256);
    for (let i = 0; i < chunk.length; i++) {
      if (this.#isAtStart && chunk[i] === MINUS)
        this.#error = new Error(`Redis refused: ${chunk.toString('latin1', i, i + 100)}`);
      this.#isAtStart = chunk[i] === NEWLINE;
      if (this.#isAtStart) this.#expected--;
    }
    this.#progress();
  }
}
