import { asTallystickError, type ErrorCode, type TallystickError } from '../errors.js';
import type { Client } from './client.js';

/**
 * What hears of a client's calls and troubles, for traces and metrics; `tallystick/opentelemetry` makes one. It is called synchronously, must
 * return soon and not throw. It is told no names of counters and no values.
 */
export interface Telemetry {
  /** A call has begun, by the name of the client's method. What it returns is called once, when the call has ended, and with its error where it failed. */
  call(method: string): (error?: TallystickError) => void;
  /** The server has refused a batch or a request. It may be sent again, so that its callers never hear of it. */
  refused(code: ErrorCode): void;
  /** Something is sent again, after a refusal or because its connection was lost. */
  resent(what: 'batch' | 'request'): void;
  /** A lane is connected again. */
  reconnected(): void;
}

/** Methods that resolve when they are done. Of `add` no one hears when it is done; listings and feeds end when their readers like. */
const METHODS = [
  // Writes
  'increment',
  'decrement',
  'incrementOnce',
  'batch',
  'batchTo',
  'set',
  'delete',
  'expire',
  'see',
  'merge',
  // Reads
  'get',
  'read',
  'window',
  'rate',
  'series',
  'range',
  'valueAt',
  'uniques',
  'expiry',
  'listPage',
  // All of the client
  'flush',
  'drain',
  'sync',
  'stats',
  'close',
] as const satisfies readonly (keyof Client)[];
export const TOLD: ReadonlySet<string> = new Set<string>(METHODS);

type Method = (...args: unknown[]) => unknown;

/** The same client, of whose calls the telemetry hears. */
export function told<C extends object>(client: C, telemetry: Telemetry): C {
  const methods = new Map<PropertyKey, Method>();
  return new Proxy(client, {
    get(target, key) {
      const known = methods.get(key);
      if (known) return known;
      // With the client itself as `this`: its private fields are not the proxy's
      const found: unknown = Reflect.get(target, key, target);
      if (typeof found !== 'function') return found;
      const method = found.bind(target) as Method;
      const made = typeof key === 'string' && TOLD.has(key) ? tellingMethod(key, method, telemetry) : method;
      methods.set(key, made);
      return made;
    },
  });
}

function tellingMethod(name: string, method: Method, telemetry: Telemetry): Method {
  return (...args) => {
    const ended = telemetry.call(name);
    try {
      const promise = method(...args) as Promise<unknown>;
      promise.then(
        () => ended(),
        (error: unknown) => ended(asTallystickError(error)),
      );
      return promise;
    } catch (error) {
      ended(asTallystickError(error));
      throw error;
    }
  };
}
