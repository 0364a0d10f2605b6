/**
 * Which `Host` a request may name. A page whose own name leads to this server (DNS rebinding) may read what it answers, as
 * browsers take both for one site; but the request then names the page's host, and whoever owns a name can make it lead here:
 *
 *   an IP address, `localhost`       nobody's to give away       let in
 *   named in the configuration                                   let in
 *   any other name, none, or a text that is no host              refused
 */
function isHostAllowed(host: string | undefined, allowed: readonly string[]): boolean {
  const [, name] = HOST.exec(host?.toLowerCase() ?? '') ?? [];
  return name !== undefined && (NOT_FOR_RENT.test(name) || allowed.includes(name));
}

/** Remembers what it let in, as most requests name the same few hosts; an address has many forms, and these are checked anew. */
export class AllowedHosts {
  readonly #names: readonly string[];
  readonly #known = new Set<string>();

  constructor(names: readonly string[]) {
    this.#names = names;
  }

  has(host: string | undefined): boolean {
    if (host !== undefined && this.#known.has(host)) return true;
    if (!isHostAllowed(host, this.#names)) return false;
    if (host !== undefined && this.#known.size < MOST_KNOWN) this.#known.add(host);
    return true;
  }
}

const MOST_KNOWN = 64;

/** Name and port. No user, path or space, with which a text could mean another host than it seems to. */
const HOST = /^([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/;
/** Hosts that no name server decides about. */
const NOT_FOR_RENT = /^(localhost|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|\[[0-9a-f:.]+\])$/;
