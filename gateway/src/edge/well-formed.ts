import { status } from '@grpc/grpc-js';
import type { EdgeHandler, EdgeRequest } from './one-port.ts';
import { sendRefusal } from './plain-answer.ts';

/** What a header costs beside its name and value (RFC 9113, 6.5.2). */
const HEADER_OVERHEAD = 32;

/**
 * Refuses what the handlers further in are not made for: the name that a request gives the gateway must be one (RFC
 * 9110, 7.2), since it is taken for part of a URL, and headers of HTTP/2 are bounded as those of HTTP/1.1 are by their
 * parser. HTTP/1.0 and bare HTTP/2 need not give a name.
 */
export function withWellFormed(handler: EdgeHandler, maxHeaderBytes: number): EdgeHandler {
  return (request, response) => {
    const { headers } = request;
    if (request.httpVersionMajor > 1 && headerBytes(request) > maxHeaderBytes) {
      const message = `the request's headers are larger than ${maxHeaderBytes} bytes`;
      sendRefusal(request, response, 431, status.RESOURCE_EXHAUSTED, message);
      return;
    }
    const name = headers[':authority'] ?? headers.host;
    const mayBeMissing = request.httpVersion !== '1.1';
    if (name === undefined && mayBeMissing) headers.host = 'gateway';
    else if (!isHost(name) || hostsOf(request) > 1) {
      const message = 'host (in HTTP/2 :authority) must be the name of one host, with or without a port';
      sendRefusal(request, response, 400, status.INVALID_ARGUMENT, message);
      return;
    }
    handler(request, response);
  };
}

const isHost = (name: string | string[] | undefined): boolean =>
  typeof name === 'string' && /^[\w.:[\]-]+$/.test(name) && URL.canParse(`http://${name}/`);

/** Node keeps the first of several. */
const hostsOf = ({ rawHeaders }: EdgeRequest): number =>
  rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === 'host').length;

function headerBytes({ rawHeaders }: EdgeRequest): number {
  let bytes = (rawHeaders.length / 2) * HEADER_OVERHEAD;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}
