import { TallystickError } from '../errors.js';
import type { Route } from './route.js';

/** Where a request goes. */
export interface Found {
  readonly route: Route;
  /** What stands for `{name}`, decoded; empty where the route has none. */
  readonly name: string;
  /** Behind the question mark; undefined where there is none. */
  readonly query: string | undefined;
}

type Methods = Map<string, Route>;

/** An error of a path that is there, under other methods. */
export class MethodError extends TallystickError {
  /** As `Allow` has them. */
  readonly allowed: string;

  constructor(method: string, allowed: string) {
    super('METHOD_UNKNOWN', `${method}.`);
    this.allowed = allowed;
  }
}

/** Finds routes by whole paths, and by what comes before a name. A name may hold slashes as they are. */
export class Router {
  readonly #exact = new Map<string, Methods>();
  readonly #named: [prefix: string, methods: Methods][] = [];

  constructor(routes: readonly Route[]) {
    for (const route of routes) this.#methodsOf(route.path).set(route.method, route);
  }

  /** `target`: the request's, as it came. Throws ROUTE_UNKNOWN, METHOD_UNKNOWN, INVALID_ARGUMENT. */
  find(method: string, target: string): Found {
    const mark = target.indexOf('?');
    const path = mark < 0 ? target : target.slice(0, mark);
    const query = mark < 0 ? undefined : target.slice(mark + 1);
    for (const [prefix, methods] of this.#named) {
      if (!path.startsWith(prefix) || path.length === prefix.length) continue;
      return { route: routeOf(methods, method), name: decode(path.slice(prefix.length)), query };
    }
    const methods = this.#exact.get(path);
    if (!methods) throw new TallystickError('ROUTE_UNKNOWN');
    return { route: routeOf(methods, method), name: '', query };
  }

  #methodsOf(path: string): Methods {
    const isNamed = path.endsWith('/{name}');
    const key = isNamed ? path.slice(0, -'{name}'.length) : path;
    const known = isNamed ? this.#named.find(([prefix]) => prefix === key)?.[1] : this.#exact.get(key);
    if (known) return known;
    const methods: Methods = new Map();
    if (isNamed) this.#named.push([key, methods]);
    else this.#exact.set(key, methods);
    return methods;
  }
}

function routeOf(methods: Methods, method: string): Route {
  // Of an answer to HEAD, Node sends the head alone
  const route = methods.get(method === 'HEAD' ? 'GET' : method);
  if (route) return route;
  const allowed = [...methods.keys()].flatMap((key) => (key === 'GET' ? ['GET', 'HEAD'] : [key]));
  throw new MethodError(method, allowed.join(', '));
}

function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw new TallystickError('INVALID_ARGUMENT', 'The name in the path is no percent-encoded UTF-8.');
  }
}
