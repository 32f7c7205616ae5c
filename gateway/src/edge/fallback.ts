import { status } from '@grpc/grpc-js';
import type { GatewayContext } from '../context.ts';
import { sendJson } from '../openai/http.ts';
import { openAiRoute } from '../openai/routes.ts';
import type { EdgeHandler } from './one-port.ts';
import { sendRefusal } from './plain-answer.ts';
import type { Readiness } from './readiness.ts';

/** What is no RPC: probes, the OpenAI-compatible API, and paths that do not exist. */
export function fallback(context: GatewayContext, readiness: Readiness): EdgeHandler {
  return (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0];
    if (path === '/livez') {
      sendJson(response, 200, { live: true });
      return;
    }
    if (path === '/readyz') {
      void readiness.look().then((state) => sendJson(response, state.ready ? 200 : 503, state));
      return;
    }
    if (openAiRoute(context, request, response)) return;
    sendRefusal(request, response, 404, status.UNIMPLEMENTED, 'there is no such method');
  };
}
