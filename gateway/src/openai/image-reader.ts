import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import {
  isPublicAddress,
  literalAddress,
  PrivateAddressError,
  publicLookup,
} from '@landfall/common/net/addresses.ts';
import { imageFromDataUrl } from '@landfall/images/data-url.ts';
import { ImageError } from '@landfall/images/errors.ts';
import { readHeader } from '@landfall/images/header.ts';
import { IMAGE_LIMITS } from '@landfall/images/limits.ts';
import { BadRequest } from './errors.ts';

/** The bytes of an image that a request names. @throws BadRequest by the parameter */
export type ImageReader = (url: string, param: string) => Promise<Uint8Array>;

const MOST_REDIRECTS = 3;
const LONGEST_MS = 15_000;
const LONGEST_URL = 8192;

/**
 * Reads data URLs, and https URLs of the internet: anything else that a name or a redirect leads to is refused before a
 * connection is made, or whoever names it could have the gateway read what only the gateway can reach.
 * @param hosts `host:port` of private servers that the operator lets through, with or without TLS
 * @param signal of the request
 */
export function imageReader(hosts: readonly string[], signal: AbortSignal): ImageReader {
  const trusted = new Set(hosts);
  return async (url, param) => {
    try {
      const bytes = /^data:/i.test(url)
        ? imageFromDataUrl(url)
        : await fetchImage(checkedUrl(url, trusted), trusted, signal);
      readHeader(bytes);
      return bytes;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof ImageError || error instanceof Refusal) throw new BadRequest(param, error.message);
      throw error;
    }
  };
}

/** Why a URL is not read, for whoever named it. */
class Refusal extends Error {}

const NOT_PUBLIC = 'does not lead to a server of the internet';

/** @throws Refusal */
function checkedUrl(text: string, trusted: ReadonlySet<string>, base?: URL): URL {
  // Readers of URLs disagree about a backslash, and about what stands before an @.
  const plain = text.length <= LONGEST_URL && /^[\x21-\x7e]*$/.test(text) && !text.includes('\\');
  const url = plain && URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
  if (url === undefined || url.username !== '' || url.password !== '')
    throw new Refusal('must be a data URL (data:image/png;base64,...) or a plain https URL without a user');
  if (trusted.has(url.host) && (url.protocol === 'https:' || url.protocol === 'http:')) return url;
  if (url.protocol !== 'https:') throw new Refusal('must be a data URL or an https URL');
  const literal = literalAddress(url);
  if (literal !== undefined && !isPublicAddress(literal)) throw new Refusal(NOT_PUBLIC);
  return url;
}

async function fetchImage(
  start: URL,
  trusted: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const ended = AbortSignal.any([signal, AbortSignal.timeout(LONGEST_MS)]);
  let url = start;
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const response = await get(url, trusted, ended);
    const { statusCode = 0 } = response;
    if (statusCode === 200) return read(response);
    const { location } = response.headers;
    response.destroy();
    if (statusCode < 300 || statusCode > 399 || location === undefined)
      throw new Refusal(`its server answers with status ${statusCode}`);
    url = checkedUrl(location, trusted, url);
  }
  throw new Refusal(`is sent on more than ${MOST_REDIRECTS} times`);
}

function get(url: URL, trusted: ReadonlySet<string>, signal: AbortSignal): Promise<IncomingMessage> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((done, fail) => {
    const request = send(url, {
      headers: { 'user-agent': 'landfall', accept: 'image/*', 'accept-encoding': 'identity' },
      signal,
      agent: false,
      // A name is looked up and checked at the moment of connecting, so that it can't change in between.
      ...(trusted.has(url.host) ? {} : { lookup: publicLookup }),
    });
    request.on('response', done);
    request.on('error', (error) => fail(refusalOf(error)));
    request.end();
  });
}

async function read(response: IncomingMessage): Promise<Uint8Array> {
  const tooLarge = () => new Refusal(`has more than ${IMAGE_LIMITS.bytes} bytes: send it smaller`);
  const parts: Buffer[] = [];
  let size = 0;
  try {
    if (Number(response.headers['content-length'] ?? 0) > IMAGE_LIMITS.bytes) throw tooLarge();
    for await (const part of response as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > IMAGE_LIMITS.bytes) throw tooLarge();
      parts.push(part);
    }
  } catch (error) {
    throw refusalOf(error);
  } finally {
    response.destroy();
  }
  return Buffer.concat(parts);
}

/** What went on behind the URL is not told in detail: it would describe networks to whoever asks. */
function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal(error instanceof PrivateAddressError ? NOT_PUBLIC : 'could not be read from its server');
}
