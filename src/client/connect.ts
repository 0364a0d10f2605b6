import { TallystickError } from '../errors.js';
import { PRODUCER_ID_BYTES, type ProducerRef } from '../protocol/control.js';
import { bigintValue, Call, numberValue } from './call.js';
import { Client } from './client.js';
import { type Environment, Session } from './session.js';
import { type Telemetry, told } from './telemetry.js';
import { parseAddress } from './transport.js';
import type { Ack } from './write-options.js';

/** How a client comes about: its options, and the first connection. */

export interface ConnectOptions {
  /**
   * Under which name batches are numbered, so that a later client can go on where this one stopped; a newer client of
   * the same name fences this one. Unless given: a random id of this client. `false`: none; the client only reads.
   */
  readonly producer?: string | false;
  /** When writes are answered: when flushed to the device (`durable`, the default) or when applied in memory. */
  readonly ack?: Ack;
  readonly token?: string;
  /**
   * `true`, the default: connects to every lane, so that no request takes a detour. `false`: to one address alone, which
   * reaches all partitions; for where only one port can be reached.
   */
  readonly direct?: boolean;
  /**
   * `true`, the default: writes that the server refuses for now, and reads that it sheds, are sent again until the call's timeout, after delays that grow.
   * `false`: the call rejects with STORAGE_FULL, OVERLOADED or QUOTA_EXCEEDED; for callers who have callers of their own to tell.
   */
  readonly resend?: boolean;
  /** Milliseconds that a call waits, unless it says otherwise; 10,000 unless given. */
  readonly timeout?: number;
  /** What values are: `bigint`, or `number`, which refuses values beyond 2^53-1 with VALUE_UNSAFE. */
  readonly values?: 'bigint' | 'number';
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal;
  /** Hears of calls, refusals and what is sent again: `openTelemetry()` of `tallystick/opentelemetry`, or what has the same methods. */
  readonly telemetry?: Telemetry;
}

const DEFAULT_TIMEOUT_MILLISECONDS = 10_000;
/** The longest that timers of JavaScript wait. */
const MOST_TIMEOUT_MILLISECONDS = 2 ** 31 - 1;

/** `connect` of index.ts with everything from outside passed in. */
export function connectIn(
  environment: Environment,
  urls: string | readonly string[],
  options: ConnectOptions & { readonly values: 'number' },
): Promise<Client<number>>;
export function connectIn(
  environment: Environment,
  urls: string | readonly string[],
  options?: ConnectOptions,
): Promise<Client>;
export async function connectIn(
  environment: Environment,
  urls: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client<bigint> | Client<number>> {
  const {
    timeout = DEFAULT_TIMEOUT_MILLISECONDS,
    signal,
    values = 'bigint',
    ack,
    direct = true,
    resend = true,
    token,
    telemetry,
  } = options;
  const seeds = (typeof urls === 'string' ? [urls] : urls).map(parseAddress);
  if (seeds.length === 0) throw new TallystickError('INVALID_ARGUMENT', 'There is no address to connect to.');
  if (!(timeout > 0 && timeout <= MOST_TIMEOUT_MILLISECONDS)) {
    throw new TallystickError('INVALID_ARGUMENT', `A timeout of ${timeout} ms.`);
  }
  const producer = producerOf(options.producer, environment);
  const session = new Session(environment, seeds, {
    producer,
    token,
    applied: ack === 'applied',
    isAckGiven: ack !== undefined,
    isDirect: direct,
    resends: resend,
    telemetry,
  });
  await open(session, timeout, signal);
  const client =
    values === 'number' ? new Client(session, numberValue, timeout) : new Client(session, bigintValue, timeout);
  return telemetry ? told(client, telemetry) : client;
}

function producerOf(producer: ConnectOptions['producer'], { randomBytes }: Environment): ProducerRef | undefined {
  if (producer === false) return undefined;
  return producer === undefined ? { id: randomBytes(PRODUCER_ID_BYTES) } : { name: producer };
}

async function open(session: Session, timeout: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      const call = new Call<void>(resolve, reject);
      call.limit(session.deadlines, timeout, signal);
      if (!call.isSettled) session.open(call);
    });
  } catch (cause) {
    const error = cause as TallystickError;
    session.end(error);
    const why = session.openingError;
    if (error.code !== 'TIMEOUT' || !why) throw error;
    throw new TallystickError('TIMEOUT', `${why.detail || why.code} for ${timeout} ms.`, {
      outcome: 'refused',
      cause: why,
    });
  }
}
