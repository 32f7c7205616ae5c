import { setTimeout as delay } from 'node:timers/promises';
import { type DescMessage, fromJsonString, type MessageShape } from '@bufbuild/protobuf';
import {
  AckPolicy,
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  type JsMsg,
} from '@nats-io/jetstream';
import { headers, nanos } from '@nats-io/transport-node';
import { context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { ProcessedMessageSchema } from '../db/chassis-tables.ts';
import type { Database, EntityManager } from '../db/database.ts';
import type { Logger } from '../log/logger.ts';
import { type Broker, EVENT_STREAM } from './broker.ts';

/** Deliveries before a message goes to the dead letters. */
export const MAX_DELIVERIES = 5;
const ACK_WAIT_MS = 30_000;
const BACKOFF_MS = [100, 500, 2000, 5000];
/** Processed ids are kept longer than the stream keeps messages, so that no repeat can outlive its mark. */
const KEEP_PROCESSED_MS = 8 * 86_400_000;

export interface ConsumerOptions<S extends DescMessage> {
  broker: Broker;
  /** Where the effect is kept; without one the handler must itself be safe to repeat. */
  database?: Database;
  logger: Logger;
  /** Durable name, unique in the mesh; without one the consumer is this process's own and sees new events only. */
  durable?: string;
  subject: string;
  schema: S;
  /** Effects go through `em`, so that they and the mark of the message are one transaction. */
  handle: (
    event: MessageShape<S>,
    meta: { id: string; subject: string; em: EntityManager | undefined },
  ) => Promise<void>;
}

const tracer = trace.getTracer('landfall.events');
const getter = {
  keys: (message: JsMsg) => message.headers?.keys() ?? [],
  get: (message: JsMsg, key: string) => message.headers?.get(key) || undefined,
};

/**
 * Takes events off the stream, one effect each: a mark in the effect's own transaction tells repeats. A message that
 * fails five times goes to the dead-letter stream, once, and the ones behind it flow on.
 */
export class EventConsumer<S extends DescMessage> implements AsyncDisposable {
  readonly #options: ConsumerOptions<S>;
  readonly #stopping = new AbortController();
  #messages: ConsumerMessages | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: ConsumerOptions<S>) {
    this.#options = options;
  }

  /** Resolves when the consumer exists; events flow from then on. */
  async start(): Promise<void> {
    const consumer = await this.#consumer();
    this.#loop = this.#run(consumer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#messages?.close();
    await this.#loop;
  }

  async #consumer(): Promise<Consumer> {
    const { broker, durable, subject } = this.#options;
    const info = await broker.manager.consumers.add(EVENT_STREAM, {
      ...(durable ? { durable_name: durable } : { inactive_threshold: nanos(60_000) }),
      deliver_policy: durable ? DeliverPolicy.All : DeliverPolicy.New,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(ACK_WAIT_MS),
      filter_subject: subject,
      max_ack_pending: 64,
    });
    return broker.js.consumers.get(EVENT_STREAM, info.name);
  }

  async #run(first: Consumer): Promise<void> {
    let consumer = first;
    while (!this.#stopping.signal.aborted) {
      try {
        this.#messages = await consumer.consume({ max_messages: 16 });
        for await (const message of this.#messages) await this.#take(message);
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        this.#options.logger.warn(
          { err: error, subject: this.#options.subject },
          'the consumer is taken up again',
        );
      }
      if (this.#stopping.signal.aborted) return;
      await delay(500, undefined, { signal: this.#stopping.signal }).catch(() => {});
      // The broker may have lost it (a new state folder, an idle time-out): make it anew.
      consumer = await this.#consumer().catch(() => consumer);
    }
  }

  async #take(message: JsMsg): Promise<void> {
    const { subject, logger } = this.#options;
    const id =
      message.headers?.get('ce-id') ||
      message.headers?.get('Nats-Msg-Id') ||
      `${EVENT_STREAM}-${message.seq}`;
    const parent = propagation.extract(ROOT_CONTEXT, message, getter);
    const span = tracer.startSpan(`process ${subject}`, { kind: SpanKind.CONSUMER }, parent);
    try {
      await context.with(trace.setSpan(parent, span), () => this.#effect(message, id));
      message.ack();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      const deliveries = message.info.deliveryCount;
      logger.warn({ err: error, subject, message_id: id, deliveries }, 'an event could not be handled');
      if (deliveries >= MAX_DELIVERIES) await this.#bury(message, id, error);
      else message.nak(BACKOFF_MS[deliveries - 1] ?? 5000);
    } finally {
      span.end();
    }
  }

  async #effect(message: JsMsg, id: string): Promise<void> {
    const { database, schema, handle, durable } = this.#options;
    const { subject } = message;
    const event = fromJsonString(schema, message.string(), { ignoreUnknownFields: true });
    if (!database) return handle(event, { id, subject, em: undefined });
    const consumer = durable ?? this.#options.subject;
    await database.transaction(async (em) => {
      if (await em.findOne(ProcessedMessageSchema, { consumer, messageId: id })) return;
      await handle(event, { id, subject, em });
      const processedMs = Date.now();
      await em.insert(ProcessedMessageSchema, { consumer, messageId: id, processedMs });
      if (message.seq % 256 === 0) {
        const old = { consumer, processedMs: { $lt: processedMs - KEEP_PROCESSED_MS } };
        await em.nativeDelete(ProcessedMessageSchema, old);
      }
    });
  }

  /** To the dead letters, with why; its id keeps it single even when this is interrupted and done again. */
  async #bury(message: JsMsg, id: string, error: unknown): Promise<void> {
    const { broker, durable, subject } = this.#options;
    const consumer = durable ?? 'ephemeral';
    const letter = headers();
    for (const key of message.headers?.keys() ?? []) letter.set(key, message.headers!.get(key));
    letter.set('landfall-consumer', consumer);
    letter.set('landfall-subject', subject);
    const reason = error instanceof Error ? error.message : String(error);
    letter.set('landfall-reason', reason.replaceAll(/[\r\n]+/g, ' ').slice(0, 512));
    letter.delete('Nats-Msg-Id');
    await broker.js.publish(`landfall-dlq.${consumer}`, message.data, {
      msgID: `${consumer}-${id}`,
      headers: letter,
    });
    message.term('dead letter');
  }
}
