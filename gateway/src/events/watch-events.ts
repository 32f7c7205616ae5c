import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Broker, EVENT_STREAM } from '@landfall/common/events/broker.ts';
import { hasRules, knowsAll } from '@landfall/common/identity/check.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import {
  type WatchEventsRequest,
  type WatchEventsResponse,
  WatchEventsResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/event_service_pb.js';
import { AckPolicy, type ConsumerMessages, DeliverPolicy, type JsMsg } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { OwnStream } from '../context.ts';
import { resourcesOfEvent } from './event-resources.ts';

/** A consumer whose reader has gone is forgotten by the broker after so long. */
const FORGOTTEN_MS = 30_000;

/** A caller's own reading of the stream, from wherever it left off. Events flow from when this resolves. */
export async function subscribe(
  { js, manager }: Broker,
  { subjects, after }: WatchEventsRequest,
): Promise<ConsumerMessages> {
  const start =
    after > 0n
      ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Number(after) + 1 }
      : { deliver_policy: DeliverPolicy.New };
  const { name } = await manager.consumers.add(EVENT_STREAM, {
    ...start,
    // Brokers before 2.10 take one filter; several are told apart here.
    filter_subject: subjects.length === 1 ? subjects[0]! : 'landfall.>',
    ack_policy: AckPolicy.None,
    inactive_threshold: nanos(FORGOTTEN_MS),
  });
  const consumer = await js.consumers.get(EVENT_STREAM, name);
  return consumer.consume({ max_messages: 64 });
}

/**
 * The events of a subscription that are the tenant's, until the signal fires, without those that are about or name what
 * the caller may not know of.
 * @param caller with the rights that they had when they began to watch
 */
export async function* eventsOf(
  messages: ConsumerMessages,
  { subjects }: WatchEventsRequest,
  caller: Identity,
  signal: AbortSignal,
): AsyncGenerator<WatchEventsResponse> {
  const stop = () => void messages.close();
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const message of messages) {
      if (subjects.length > 1 && !subjects.includes(message.subject)) continue;
      const event = shownTo(caller, message);
      if (event) yield event;
    }
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', stop);
    await messages.close();
  }
}

export const watchEvents: OwnStream<WatchEventsRequest, WatchEventsResponse> = ({ events }) =>
  async function* (request, caller, signal) {
    yield* eventsOf(await subscribe(events.broker, request), request, caller, signal);
  };

function shownTo(caller: Identity, message: JsMsg): WatchEventsResponse | undefined {
  const payload = message.string();
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(payload) as Record<string, unknown>;
  } catch {
    // Nobody's: what is no JSON is not of this mesh.
    return undefined;
  }
  if (fields?.tenant !== caller.tenant) return undefined;
  if (hasRules(caller) && !knowsAll(caller, resourcesOfEvent(message.subject, fields))) return undefined;
  return create(WatchEventsResponseSchema, {
    sequence: BigInt(message.seq),
    id: message.headers?.get('ce-id') ?? '',
    subject: message.subject,
    time: timestampFromDate(new Date(message.headers?.get('ce-time') || message.time)),
    payload,
  });
}
