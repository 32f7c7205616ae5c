import { status } from '@grpc/grpc-js';
import { sendJson, writer } from '../openai/http.ts';
import type { EdgeRequest, EdgeResponse } from './one-port.ts';

/**
 * Refuses a request that no route has taken, in the protocol that it speaks.
 * @param httpStatus for all but gRPC, which reads its status from trailers and takes HTTP's own for a broken proxy
 */
export function sendRefusal(
  request: EdgeRequest,
  response: EdgeResponse,
  httpStatus: number,
  code: status,
  message: string,
): void {
  const type = request.headers['content-type'];
  if (!type?.startsWith('application/grpc')) {
    sendJson(response, httpStatus, { code: status[code].toLowerCase(), message });
    return;
  }
  writer(response).writeHead(200, {
    'content-type': type,
    ...{ 'grpc-status': String(code), 'grpc-message': encodeURIComponent(message).replaceAll('%20', ' ') },
  });
  writer(response).end();
}
