import { Readable, Writable } from 'node:stream';
import { Command } from 'commander';
import { type Connect, type LocalCommands, runCli } from '../../src/cli/cli.js';
import { ManualClock } from '../support/manual-clock.js';
import { type Connection, fakeConnect } from './fake-client.js';
import { type Crash, FakeServer } from './fake-target.js';

/** An output that keeps what is written, or breaks. */
class Captured extends Writable {
  text = '';
  constructor(
    readonly isTTY: boolean,
    readonly breaksWith?: string,
  ) {
    super();
  }
  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.text += chunk.toString();
    if (this.breaksWith === undefined) done();
    else done(Object.assign(new Error(this.breaksWith), { code: this.breaksWith }));
  }
}

export interface Setting {
  readonly server?: FakeServer;
  readonly stdin?: string;
  readonly tty?: boolean;
  readonly breaksWith?: string;
  readonly env?: Record<string, string>;
  readonly crash?: Crash;
  readonly connect?: Connect;
  readonly local?: LocalCommands;
}

export interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
  readonly connections: Connection[];
}

/** Runs a command line against a fake server. */
export async function cli(args: string[], setting: Setting = {}): Promise<Outcome> {
  const {
    server = new FakeServer(4),
    stdin = '',
    tty = false,
    env = {},
    crash,
    local = new Map([['serve', async () => new Command('serve')]]),
  } = setting;
  const { connect, connections } = fakeConnect(server, crash === undefined ? {} : { crash });
  const stdout = new Captured(tty, setting.breaksWith);
  const stderr = new Captured(tty);
  const io = {
    stdin: Readable.from(stdin === '' ? [] : [Buffer.from(stdin)]),
    stdout,
    stderr,
    env,
    clock: new ManualClock(),
    connect: setting.connect ?? connect,
    version: '1.2.3',
  };
  const status = await runCli(args, io, local);
  return { status, out: stdout.text, err: stderr.text, connections };
}
