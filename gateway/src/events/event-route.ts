import { type EventEmitter, once } from 'node:events';
import { create } from '@bufbuild/protobuf';
import { validate } from '@landfall/common/rpc/validation.ts';
import {
  type WatchEventsRequest,
  WatchEventsRequestSchema,
  type WatchEventsResponse,
} from '@landfall/proto/landfall/gateway/v1/event_service_pb.js';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { BadRequest } from '../openai/errors.ts';
import { writer } from '../openai/http.ts';
import { eventsOf, subscribe } from './watch-events.ts';

/** How often a quiet stream shows proxies that it lives. */
const HEARTBEAT_MS = 15_000;

/**
 * `GET /v1/events?subject=landfall.registry.model.ready.v1`: server-sent events named `model.ready` and so on; a
 * browser that reconnects goes on behind its `Last-Event-ID`.
 */
export async function sendEvents(
  context: GatewayContext,
  request: EdgeRequest,
  response: EdgeResponse,
  governed: Governed,
  signal: AbortSignal,
): Promise<void> {
  const asked = readRequest(request);
  const out = writer(response);
  let heartbeat: NodeJS.Timeout | undefined;
  const events = governed.stream(asked, async function* (passed) {
    const messages = await subscribe(context.events.broker, passed as WatchEventsRequest);
    // Whoever has seen the head is told of all that comes after it, which may be long in coming.
    out.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
    });
    out.write(': \n\n');
    heartbeat = setInterval(() => out.writableNeedDrain || out.write(': \n\n'), HEARTBEAT_MS);
    yield* eventsOf(messages, passed as WatchEventsRequest, governed.caller, signal);
  });
  try {
    // A page that reads slowly is waited for, and the broker keeps the rest.
    for await (const event of events) if (!out.write(text(event))) await drained(out, signal);
    out.end();
  } finally {
    clearInterval(heartbeat);
  }
}

/** Resolves when more may be written. @throws where the reader has left */
async function drained(out: ReturnType<typeof writer>, signal: AbortSignal): Promise<void> {
  await once(out as unknown as EventEmitter, 'drain', { signal });
}

function readRequest(request: EdgeRequest): WatchEventsRequest {
  const { searchParams } = new URL(request.url ?? '', 'http://gateway');
  const last = (request.headers['last-event-id'] as string | undefined) ?? searchParams.get('after') ?? '0';
  if (!/^\d{1,15}$/.test(last)) throw new BadRequest('after', 'is the id of an event');
  const asked = create(WatchEventsRequestSchema, {
    subjects: searchParams.getAll('subject'),
    after: BigInt(last),
  });
  validate(WatchEventsRequestSchema, asked);
  return asked;
}

/** `landfall.registry.model.ready.v1` is `model.ready` to a browser. */
function text({ sequence, subject, payload }: WatchEventsResponse): string {
  const name = subject.split('.').slice(2, 4).join('.');
  return `id: ${sequence}\nevent: ${name}\ndata: ${payload.replaceAll(/\r?\n/g, ' ')}\n\n`;
}
