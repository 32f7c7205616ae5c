import type { GatewayContext } from '../context.ts';
import { sendJson, writer } from '../openai/http.ts';
import { openAiRoute } from '../openai/routes.ts';
import type { EdgeHandler } from './one-port.ts';

/** What is no RPC: probes, the OpenAI-compatible API, and paths that do not exist. */
export function fallback(context: GatewayContext, ready: () => Promise<boolean>): EdgeHandler {
  return (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0];
    if (path === '/livez') {
      sendJson(response, 200, { live: true });
      return;
    }
    if (path === '/readyz') {
      void ready().then((is) => sendJson(response, is ? 200 : 503, { ready: is }));
      return;
    }
    if (openAiRoute(context, request, response)) return;
    const message = 'there is no such method';
    // gRPC reads its status from trailers, and takes HTTP's own for a broken proxy.
    if (request.headers['content-type']?.startsWith('application/grpc')) {
      writer(response).writeHead(200, {
        'content-type': request.headers['content-type'],
        'grpc-status': '12',
        'grpc-message': message,
      });
      writer(response).end();
      return;
    }
    sendJson(response, 404, { code: 'unimplemented', message });
  };
}
