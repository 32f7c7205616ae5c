import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isPublicAddress, literalAddress, publicLookup } from '@landfall/common/net/addresses.ts';

const LONGEST_MS = 15_000;

/** Why a URL is none that may be posted to; undefined where it may. */
export function refusedUrl(text: string, hosts: ReadonlySet<string>): string | undefined {
  // Readers of URLs disagree about a backslash, and about what stands before an @.
  const plain = /^[\x21-\x7e]+$/.test(text) && !text.includes('\\');
  const url = plain && URL.canParse(text) ? new URL(text) : undefined;
  if (url?.username !== '' || url.password !== '') return 'must be a plain https URL without a user';
  if (hosts.has(url.host) && (url.protocol === 'https:' || url.protocol === 'http:')) return undefined;
  if (url.protocol !== 'https:') return 'must be an https URL';
  const literal = literalAddress(url);
  return literal !== undefined && !isPublicAddress(literal)
    ? 'does not lead to a server of the internet'
    : undefined;
}

/**
 * Posts a body and resolves with the status. Nothing is followed, and a name is looked up and checked at the moment of
 * connecting, so that it cannot lead elsewhere in between.
 * @param hosts `host:port` of private servers that the operator lets through
 */
export function post(
  text: string,
  hosts: ReadonlySet<string>,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
): Promise<number> {
  const refused = refusedUrl(text, hosts);
  if (refused) return Promise.reject(new Error(refused));
  const url = new URL(text);
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', 'user-agent': 'landfall' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(LONGEST_MS)]),
      agent: false,
      ...(hosts.has(url.host) ? {} : { lookup: publicLookup }),
    });
    request.once('response', (response) => {
      resolve(response.statusCode ?? 0);
      // What it says is of no use here, however long.
      response.destroy();
    });
    request.once('error', reject);
    request.end(body);
  });
}
