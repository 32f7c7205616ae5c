import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { invalidArgument, unavailable } from '@landfall/common/errors/errors.ts';
import {
  isPublicAddress,
  literalAddress,
  PrivateAddressError,
  publicLookup,
} from '@landfall/common/net/addresses.ts';

/** Hops that one request may be sent on over. */
const MAX_REDIRECTS = 5;

export type FetchOptions = {
  /** Where the operator lets the registry go: the hub's own `host:port`, and further ones that may be private. */
  trusted: ReadonlySet<string>;
  /** Sent to the first host alone. */
  token: string;
  headers?: Record<string, string>;
  /** Longest silence, in milliseconds. */
  idleMs: number;
  signal: AbortSignal;
};

/** An answer, with the headers of the hops before it: a hub tells of a file in the redirect to its content. */
export type Answer = { response: IncomingMessage; headers: Record<string, string> };

/**
 * GET with redirects. The first host is the operator's choice; a redirect elsewhere must lead to a host of the
 * internet, over TLS when the first was, and does not get the token. Throws INVALID_ARGUMENT for a redirect that may
 * not be followed, UNAVAILABLE when nothing answers. The caller reads the answer to its end or destroys it.
 */
export async function fetchFollowing(start: URL, options: FetchOptions): Promise<Answer> {
  const headers: Record<string, string> = {};
  let url = start;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const response = await get(url, start, options);
    for (const [name, value] of Object.entries(response.headers)) {
      if (typeof value === 'string' && !(name in headers && name.startsWith('x-'))) headers[name] = value;
    }
    const { statusCode = 0 } = response;
    if (statusCode < 300 || statusCode > 399 || statusCode === 304) return { response, headers };
    const { location } = response.headers;
    response.destroy();
    const next =
      location !== undefined && URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    if (!next) throw unavailable('the hub redirects to nowhere');
    checkRedirect(start, next, options.trusted);
    url = next;
  }
  throw unavailable(`the hub redirects more than ${MAX_REDIRECTS} times`);
}

function checkRedirect(start: URL, next: URL, trusted: ReadonlySet<string>): void {
  const refused = (why: string) =>
    invalidArgument('hub_id', `the hub redirects to ${why}, where the registry does not follow`, {
      reason: 'REDIRECT_REFUSED',
    });
  if (next.protocol !== 'https:' && next.protocol !== 'http:') throw refused(`a ${next.protocol} address`);
  if (next.username !== '' || next.password !== '') throw refused('an address with a user');
  if (trusted.has(next.host)) return;
  if (start.protocol === 'https:' && next.protocol !== 'https:') throw refused('an address without TLS');
  const literal = literalAddress(next);
  if (literal !== undefined && !isPublicAddress(literal)) throw refused('a private address');
}

function get(url: URL, start: URL, options: FetchOptions): Promise<IncomingMessage> {
  const { trusted, token, idleMs, signal } = options;
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((done, fail) => {
    const headers: Record<string, string> = { 'user-agent': 'landfall', 'accept-encoding': 'identity' };
    if (token !== '' && url.origin === start.origin) headers.authorization = `Bearer ${token}`;
    const request = send(url, {
      headers: { ...headers, ...options.headers },
      signal,
      // A name is looked up and checked at the moment of connecting, so that it can't change in between.
      ...(trusted.has(url.host) ? {} : { lookup: publicLookup }),
    });
    request.setTimeout(idleMs, () => request.destroy(new Error(`nothing came for ${idleMs} ms`)));
    request.on('response', done);
    request.on('error', (error) => {
      if (signal.aborted) fail(signal.reason);
      else if (error instanceof PrivateAddressError) {
        fail(
          invalidArgument(
            'hub_id',
            'the hub redirects to a private address, where the registry does not follow',
            {
              reason: 'REDIRECT_REFUSED',
            },
          ),
        );
      } else fail(unavailable('the hub does not answer; try again', { cause: error }));
    });
    request.end();
  });
}
