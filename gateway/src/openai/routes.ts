import type { DescMethod } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { GatewayContext } from '../context.ts';
import { admit } from '../edge/admission.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { type EdgeSpan, startSpan } from '../edge/span.ts';
import { chatCompletions } from './chat-completions.ts';
import { openAiError } from './errors.ts';
import { retryHeaders, sendJson, toOpenAiError, writer } from './http.ts';
import { listModels } from './models.ts';

interface Route {
  verb: string;
  /** The method whose role this route asks for. */
  method: DescMethod;
  run: (
    context: GatewayContext,
    request: EdgeRequest,
    response: EdgeResponse,
    call: CallContext,
  ) => Promise<void>;
}

const ROUTES = new Map<string, Route>([
  [
    '/v1/chat/completions',
    { verb: 'POST', method: TextInferenceService.method.generate, run: chatCompletions },
  ],
  [
    '/v1/models',
    {
      verb: 'GET',
      method: BalancerService.method.listDeployments,
      run: (context, _request, response, call) => listModels(context, response, call),
    },
  ],
]);

const UNIMPLEMENTED = 12;

/** Answers a request for the OpenAI-compatible API; false where the path is none of it. */
export function openAiRoute(context: GatewayContext, request: EdgeRequest, response: EdgeResponse): boolean {
  const path = (request.url ?? '').split('?', 1)[0]!;
  if (!path.startsWith('/v1/')) return false;
  void answer(context, path, request, response);
  return true;
}

async function answer(
  context: GatewayContext,
  path: string,
  request: EdgeRequest,
  response: EdgeResponse,
): Promise<void> {
  const gone = new AbortController();
  writer(response).once('close', () => gone.abort());
  let span: EdgeSpan | undefined;
  let release = () => {};
  try {
    // A stranger learns nothing of which paths exist.
    const route = ROUTES.get(path);
    const method = route?.method ?? BalancerService.method.listDeployments;
    const admitted = await admit(context, request.headers.authorization ?? null, method);
    release = admitted.release;
    if (!route || route.verb !== request.method) {
      const { status, body } = openAiError(UNIMPLEMENTED, `${request.method} ${path} is not served`);
      sendJson(response, route ? 405 : status === 501 ? 404 : status, body);
      return;
    }
    span = startSpan(`${route.verb} ${path}`, new Headers(traceHeaders(request)), admitted.caller);
    const call = span.callContext(admitted.caller, gone.signal, Number.POSITIVE_INFINITY);
    await route.run(context, request, response, call);
  } catch (cause) {
    span?.fail(cause);
    const log = (unknown: unknown) => context.logger.error({ err: unknown, path }, 'request failed');
    const { status, body } = toOpenAiError(cause, log);
    if (!writer(response).headersSent) sendJson(response, status, body, retryHeaders(cause));
    else writer(response).end();
  } finally {
    span?.end();
    release();
  }
}

function traceHeaders(request: EdgeRequest): Record<string, string> {
  const { traceparent, tracestate } = request.headers as Record<string, string | undefined>;
  return { ...(traceparent ? { traceparent } : {}), ...(tracestate ? { tracestate } : {}) };
}
