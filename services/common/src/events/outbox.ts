import { type DescMessage, type MessageShape, toJsonString } from '@bufbuild/protobuf';
import { headers } from '@nats-io/transport-node';
import { context, propagation } from '@opentelemetry/api';
import { v7 as uuidv7 } from 'uuid';
import { OutboxSchema } from '../db/chassis-tables.ts';
import type { Database, EntityManager } from '../db/database.ts';
import type { Logger } from '../log/logger.ts';
import type { Broker } from './broker.ts';

/** An event to be announced. */
export interface OutgoingEvent<S extends DescMessage> {
  /** `landfall.registry.model.ready.v1` */
  subject: string;
  schema: S;
  payload: MessageShape<S>;
}

/** How often a relay looks for rows that no signal announced (another process wrote them, or it was away), in ms. */
const SAFETY_POLL_MS = 2000;
const BATCH = 100;

/**
 * Announces an event when, and only when, the transaction of `em` commits. Payload is ProtoJSON, headers are those
 * of CloudEvents and W3C trace context; the row's id is the message's id.
 */
export async function announce<S extends DescMessage>(
  em: EntityManager,
  source: string,
  event: OutgoingEvent<S>,
): Promise<string> {
  const id = uuidv7();
  const createdMs = Date.now();
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  await em.insert(OutboxSchema, {
    id,
    subject: event.subject,
    headers: {
      'ce-specversion': '1.0',
      'ce-id': id,
      'ce-type': event.subject,
      'ce-source': `landfall/${source}`,
      'ce-time': new Date(createdMs).toISOString(),
      'content-type': 'application/json',
      ...carrier,
    },
    payload: toJsonString(event.schema, event.payload, { alwaysEmitImplicit: true }),
    createdMs,
  });
  return id;
}

/**
 * Carries outbox rows to the broker, in order: publish, wait for the acknowledgement, delete the row. A process that
 * dies in between publishes again with the same id, which the stream and every consumer recognise.
 */
export class OutboxRelay implements AsyncDisposable {
  readonly #database: Database;
  readonly #broker: Broker;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #wake = Promise.withResolvers<void>();
  #loop: Promise<void> | undefined;
  readonly #signal = () => this.#wake.resolve();

  constructor(database: Database, broker: Broker, logger: Logger) {
    this.#database = database;
    this.#broker = broker;
    this.#logger = logger;
  }

  start(): void {
    this.#database.onCommit.add(this.#signal);
    this.#loop = this.#run();
  }

  /** Resolves when the row in hand is done; what is left is carried by the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#database.onCommit.delete(this.#signal);
    this.#stopping.abort();
    this.#wake.resolve();
    await this.#loop;
  }

  async #run(): Promise<void> {
    let backoffMs = 100;
    while (!this.#stopping.signal.aborted) {
      this.#wake = Promise.withResolvers<void>();
      try {
        while ((await this.#drainBatch()) === BATCH);
        backoffMs = 100;
        await this.#pause(SAFETY_POLL_MS);
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        this.#logger.warn({ err: error, retry_ms: backoffMs }, 'the outbox could not be carried on');
        await this.#pause(backoffMs, false);
        backoffMs = Math.min(backoffMs * 2, 2000);
      }
    }
  }

  /** Waits, or until a commit (unless told to ignore it) or the end. */
  #pause(ms: number, wakeable = true): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      const end = () => {
        clearTimeout(timer);
        resolve();
      };
      if (wakeable) void this.#wake.promise.then(end);
      this.#stopping.signal.addEventListener('abort', end, { once: true });
    });
  }

  async #drainBatch(): Promise<number> {
    const rows = await this.#database.read((em) =>
      em.find(OutboxSchema, {}, { orderBy: { id: 'asc' }, limit: BATCH }),
    );
    for (const row of rows) {
      if (this.#stopping.signal.aborted) return 0;
      const messageHeaders = headers();
      for (const [key, value] of Object.entries(row.headers)) messageHeaders.set(key, value);
      await this.#broker.js.publish(row.subject, row.payload, {
        msgID: row.id,
        headers: messageHeaders,
        timeout: 5000,
      });
      await this.#database.read((em) => em.nativeDelete(OutboxSchema, { id: row.id }));
    }
    return rows.length;
  }
}
