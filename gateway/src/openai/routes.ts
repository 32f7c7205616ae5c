import { constants, type Http2ServerRequest } from 'node:http2';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EventService } from '@landfall/proto/landfall/gateway/v1/event_service_pb.js';
import { IdentityService } from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { GatewayContext } from '../context.ts';
import { type Governed, outcomeOf } from '../edge/governance.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { type EdgeSpan, startSpan } from '../edge/span.ts';
import { sendEvents } from '../events/event-route.ts';
import { certificateOf } from '../identity/certificate-names.ts';
import { openApiDocument } from '../openapi/document.ts';
import { answer } from './answer.ts';
import { chatFormat } from './chat-format.ts';
import { parseChatRequest } from './chat-request.ts';
import { completionFormat } from './completion-format.ts';
import { parseCompletionRequest } from './completion-request.ts';
import { BodyTooLarge, notServed, toOpenAiError } from './errors.ts';
import type { AnswerFormat } from './format.ts';
import { readJson, retryHeaders, sendJson, writer } from './http.ts';
import { type ImageReader, imageReader } from './image-reader.ts';
import { getModel, listModels } from './models.ts';
import type { OpenAiRequest } from './request.ts';
import type { Route, Run } from './route.ts';
import { trainingRoutes } from './training-routes.ts';

const { generate } = TextInferenceService.method;
const { listDeployments } = BalancerService.method;
const { watchEvents } = EventService.method;
const { whoAmI } = IdentityService.method;

const completions =
  (
    parse: (body: unknown, read: ImageReader) => OpenAiRequest | Promise<OpenAiRequest>,
    format: AnswerFormat,
  ): Run =>
  async (context, request, response, call, governed) => {
    const { maxMessageBytes, imageHosts } = context.config;
    const body = await readJson(request, maxMessageBytes);
    const asked = await parse(body, imageReader(imageHosts, call.signal));
    await answer(context, response, call, governed, asked, format);
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
    '/v1/openapi.json',
    {
      verb: 'GET',
      method: whoAmI,
      run: async (_context, _request, response, _call, governed) => {
        await governed.end('OK');
        sendJson(response, 200, openApiDocument());
      },
    },
  ],
  [
    '/v1/events',
    {
      verb: 'GET',
      method: watchEvents,
      run: (context, request, response, call, governed) =>
        sendEvents(context, request, response, governed, call.signal),
    },
  ],
  [
    '/v1/models',
    {
      verb: 'GET',
      method: listDeployments,
      run: (context, _, response, call, governed) => listModels(context, response, call, governed),
    },
  ],
]);

const MODELS = '/v1/models/';

function routeOf(path: string, verb: string | undefined): Route | undefined {
  const others = trainingRoutes(path);
  const route = ROUTES.get(path) ?? others.find((each) => each.verb === verb) ?? others[0];
  if (route || !path.startsWith(MODELS) || path === MODELS) return route;
  return {
    verb: 'GET',
    method: listDeployments,
    run: (context, _, response, call, governed) =>
      getModel(context, response, call, governed, decoded(path.slice(MODELS.length))),
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
  let governed: Governed | undefined;
  try {
    // A stranger learns nothing of which paths exist.
    const route = routeOf(path, request.method);
    const method = route?.method ?? listDeployments;
    governed = await context.governance.begin({
      method,
      route: route ? `${route.verb} ${path}` : 'none',
      header: (name) => (request.headers[name] as string | undefined) ?? null,
      certificate: () => certificateOf(request),
      signal: gone.signal,
    });
    if (!route || route.verb !== request.method) {
      const { status, body } = notServed(request.method ?? '', path, route !== undefined);
      await governed.end('UNIMPLEMENTED');
      sendJson(response, status, body, route ? { allow: route.verb } : {});
      return;
    }
    span = startSpan(`${route.verb} ${path}`, new Headers(traceHeaders(request)), governed.caller);
    writer(response).setHeader('x-request-id', span.traceId);
    for (const [name, value] of Object.entries(governed.headers)) writer(response).setHeader(name, value);
    governed.flow.tell = (headers) => {
      for (const [name, value] of Object.entries(headers)) writer(response).setHeader(name, value);
    };
    const call = span.callContext(governed.caller, gone.signal, Number.POSITIVE_INFINITY);
    await route.run(context, request, response, call, governed);
  } catch (cause) {
    span?.fail(cause);
    const log = (unknown: unknown) => {
      // A client that leaves while it sends breaks off its own request.
      if (!gone.signal.aborted) context.logger.error({ err: unknown, path }, 'request failed');
    };
    const { status, body } = toOpenAiError(cause, log);
    await governed?.end(status === 400 || status === 413 ? 'INVALID_ARGUMENT' : outcomeOf(cause));
    if (writer(response).headersSent) writer(response).end();
    else sendJson(response, status, body, retryHeaders(cause));
    if (cause instanceof BodyTooLarge) discardRest(request);
  } finally {
    span?.end();
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
