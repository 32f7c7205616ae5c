import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';

/** A `model.ready` event as it came off the stream. */
export interface ModelReadyEvent {
  name: string;
  version: string;
  ref: string;
  kind: string;
  metrics?: Record<string, number>;
}

/** Reads `model.ready` from the stream with nothing but a NATS client, as any subscriber could. */
export class ModelReadySubscriber {
  readonly #connection: NatsConnection;
  readonly #close: () => void;
  readonly events: ModelReadyEvent[] = [];
  #waiting: { match: (event: ModelReadyEvent) => boolean; resolve: (event: ModelReadyEvent) => void }[] = [];

  private constructor(
    connection: NatsConnection,
    messages: AsyncIterable<{ json<T>(): T }>,
    close: () => void,
  ) {
    this.#connection = connection;
    this.#close = close;
    void this.#read(messages);
  }

  static async open(url: string): Promise<ModelReadySubscriber> {
    const connection = await connect({ servers: url });
    // An ordered consumer needs no acknowledgement and begins at the stream's first message.
    await jetstreamManager(connection);
    const consumer = await jetstream(connection).consumers.get('LANDFALL', {
      filter_subjects: 'landfall.registry.model.ready.v1',
    });
    const messages = await consumer.consume();
    return new ModelReadySubscriber(connection, messages, () => messages.stop());
  }

  /** The first event that matches, past or to come. */
  next(match: (event: ModelReadyEvent) => boolean, signal: AbortSignal): Promise<ModelReadyEvent> {
    const known = this.events.find(match);
    if (known) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ match, resolve });
      signal.addEventListener('abort', () => reject(new Error('no model.ready event came in time')), {
        once: true,
      });
    });
  }

  async close(): Promise<void> {
    this.#close();
    await this.#connection.close();
  }

  async #read(messages: AsyncIterable<{ json<T>(): T }>): Promise<void> {
    for await (const message of messages) {
      const event = message.json<ModelReadyEvent>();
      this.events.push(event);
      for (const waiter of this.#waiting) if (waiter.match(event)) waiter.resolve(event);
    }
  }
}
