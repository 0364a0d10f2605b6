/**
 * Which pages a browser may connect from. Any page can open a WebSocket to any address that its visitor reaches, one on
 * the loopback too, and the browser asks nobody; but it says in `Origin` where the page is from, which no page can forge:
 *
 *   no Origin                                      not a browser                               let in
 *   named in the configuration                                                                 let in
 *   of the host that the request went to (`Host`)  a page of this machine, by its IP address   let in
 *     by its name                                  whoever owns a name can make it lead here   refused
 *     (DNS rebinding), but nobody an IP address or `localhost`
 *   anything else, `null` among it                                                             refused
 */
export function mayConnect(
  { origin, host }: { readonly origin?: string | undefined; readonly host?: string | undefined },
  allowed: readonly string[],
): boolean {
  if (origin === undefined || allowed.includes(origin)) return true;
  const [page, server] = [hostOf(origin, ORIGIN), hostOf(`http://${host}`, ORIGIN)];
  return page !== undefined && page === server && NOT_FOR_RENT.test(page);
}

/** Nothing but scheme, host and port; a user before the host or a path behind it could name two hosts. */
const ORIGIN = /^https?:\/\/[^/?#@\\\s]+$/;

/** Hosts that no name server decides about, as URLs have them in their one form. */
const NOT_FOR_RENT = /^(localhost|\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\])$/;

function hostOf(text: string, form: RegExp): string | undefined {
  return form.test(text) && URL.canParse(text) ? new URL(text).hostname : undefined;
}
