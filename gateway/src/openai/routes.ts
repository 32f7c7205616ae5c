import { constants, type Http2ServerRequest } from 'node:http2';
import type { DescMethod } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { GatewayContext } from '../context.ts';
import { admit } from '../edge/admission.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { type EdgeSpan, startSpan } from '../edge/span.ts';
import { answer } from './answer.ts';
import { chatFormat } from './chat-format.ts';
import { parseChatRequest } from './chat-request.ts';
import { completionFormat } from './completion-format.ts';
import { parseCompletionRequest } from './completion-request.ts';
import { BodyTooLarge, notServed, toOpenAiError } from './errors.ts';
import type { AnswerFormat } from './format.ts';
import { readJson, retryHeaders, sendJson, writer } from './http.ts';
import { getModel, listModels } from './models.ts';
import type { OpenAiRequest } from './request.ts';

type Run = (
  context: GatewayContext,
  request: EdgeRequest,
  response: EdgeResponse,
  call: CallContext,
) => Promise<void>;

interface Route {
  verb: string;
  /** The method whose role this route asks for. */
  method: DescMethod;
  run: Run;
}

const { generate } = TextInferenceService.method;
const { listDeployments } = BalancerService.method;

const completions =
  (parse: (body: unknown) => OpenAiRequest, format: AnswerFormat): Run =>
  async (context, request, response, call) => {
    const asked = parse(await readJson(request, context.config.maxMessageBytes));
    await answer(context, response, call, asked, format);
  };

const ROUTES = new Map<string, Route>([
  [
    '/v1/chat/completions',
    { verb: 'POST', method: generate, run: completions(parseChatRequest, chatFormat) },
  ],
  [
    '/v1/completions',
    { verb: 'POST', method: generate, run: completions(parseCompletionRequest, completionFormat) },
  ],
  [
    '/v1/models',
    {
      verb: 'GET',
      method: listDeployments,
      run: (context, _, response, call) => listModels(context, response, call),
    },
  ],
]);

const MODELS = '/v1/models/';

function routeOf(path: string): Route | undefined {
  const route = ROUTES.get(path);
  if (route || !path.startsWith(MODELS) || path === MODELS) return route;
  return {
    verb: 'GET',
    method: listDeployments,
    run: (context, _, response, call) =>
      getModel(context, response, call, decoded(path.slice(MODELS.length))),
  };
}

/** A part of a path as it was meant; what can not be decoded names nothing. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}

/** Answers a request for the OpenAI-compatible API; false where the path is none of it. */
export function openAiRoute(context: GatewayContext, request: EdgeRequest, response: EdgeResponse): boolean {
  const path = (request.url ?? '').split('?', 1)[0]!;
  if (!path.startsWith('/v1/')) return false;
  void serve(context, path, request, response);
  return true;
}

async function serve(
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
    const route = routeOf(path);
    const method = route?.method ?? listDeployments;
    const admitted = await admit(context, request.headers.authorization ?? null, method);
    release = admitted.release;
    if (!route || route.verb !== request.method) {
      const { status, body } = notServed(request.method ?? '', path, route !== undefined);
      sendJson(response, status, body, route ? { allow: route.verb } : {});
      return;
    }
    span = startSpan(`${route.verb} ${path}`, new Headers(traceHeaders(request)), admitted.caller);
    writer(response).setHeader('x-request-id', span.traceId);
    const call = span.callContext(admitted.caller, gone.signal, Number.POSITIVE_INFINITY);
    await route.run(context, request, response, call);
  } catch (cause) {
    span?.fail(cause);
    const log = (unknown: unknown) => {
      // A client that leaves while it sends breaks off its own request.
      if (!gone.signal.aborted) context.logger.error({ err: unknown, path }, 'request failed');
    };
    const { status, body } = toOpenAiError(cause, log);
    if (writer(response).headersSent) writer(response).end();
    else sendJson(response, status, body, retryHeaders(cause));
    if (cause instanceof BodyTooLarge) discardRest(request);
  } finally {
    span?.end();
    release();
  }
}

/**
 * What is left of a body that is too large. HTTP/2 stops the stream behind the answer; on HTTP/1.1 closing at once
 * could take the answer with it, so the rest is let run into nothing until the request's time is over.
 */
function discardRest(request: EdgeRequest): void {
  if (request.httpVersionMajor === 1) request.resume();
  else (request as Http2ServerRequest).stream.close(constants.NGHTTP2_NO_ERROR);
}

function traceHeaders(request: EdgeRequest): Record<string, string> {
  const { traceparent, tracestate } = request.headers as Record<string, string | undefined>;
  return { ...(traceparent ? { traceparent } : {}), ...(tracestate ? { tracestate } : {}) };
}
