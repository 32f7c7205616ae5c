import {
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from '@nats-io/jetstream';
import { connect, type NatsConnection, nanos } from '@nats-io/transport-node';
import type { Logger } from '../log/logger.ts';

/** Stream of what has happened, and subjects in it. */
export const EVENT_STREAM = 'LANDFALL';
/** Messages that no consumer could take, once each. */
export const DEAD_LETTER_STREAM = 'LANDFALL_DLQ';
const DEAD_LETTER_SUBJECTS = 'landfall-dlq.>';
/** Entities with events; work queues of a service have streams of their own beside these. */
const EVENT_SUBJECTS = ['registry', 'trainer', 'balancer', 'vision', 'prompt', 'gateway', 'mesh'].map(
  (service) => `landfall.${service}.>`,
);

const DAY_MS = 86_400_000;

/** A connection to the broker that outlives its restarts, with the mesh's streams in place. */
export class Broker implements AsyncDisposable {
  readonly connection: NatsConnection;
  readonly js: JetStreamClient;
  readonly manager: JetStreamManager;

  private constructor(connection: NatsConnection, manager: JetStreamManager) {
    this.connection = connection;
    this.js = jetstream(connection);
    this.manager = manager;
  }

  /** Connects and makes the streams that are missing. Waits for a broker that is not up yet. */
  static async connect(url: string, name: string, logger: Logger): Promise<Broker> {
    const connection = await connect({
      servers: url,
      name,
      waitOnFirstConnect: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 250,
      pingInterval: 10_000,
    });
    void logStatus(connection, logger);
    const manager = await jetstreamManager(connection);
    const broker = new Broker(connection, manager);
    await broker.ensureStream({
      name: EVENT_STREAM,
      subjects: EVENT_SUBJECTS,
      max_age: nanos(7 * DAY_MS),
      max_bytes: 1024 ** 3,
      duplicate_window: nanos(120_000),
    });
    await broker.ensureStream({
      name: DEAD_LETTER_STREAM,
      subjects: [DEAD_LETTER_SUBJECTS],
      max_age: nanos(30 * DAY_MS),
      max_bytes: 256 * 1024 ** 2,
      duplicate_window: nanos(DAY_MS),
    });
    return broker;
  }

  /** Makes a stream on disk, or brings an existing one to these settings. */
  async ensureStream(config: Partial<StreamConfig> & { name: string; subjects: string[] }): Promise<void> {
    const full = { storage: StorageType.File, retention: RetentionPolicy.Limits, ...config };
    try {
      await this.manager.streams.info(config.name);
      await this.manager.streams.update(config.name, full);
    } catch {
      await this.manager.streams.add(full).catch(async (error: Error) => {
        // Another service has made it in between.
        await this.manager.streams.info(config.name).catch(() => {
          throw error;
        });
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.connection.isClosed()) await this.connection.drain().catch(() => this.connection.close());
  }
}

async function logStatus(connection: NatsConnection, logger: Logger): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === 'disconnect' || type === 'reconnect') logger.warn({ broker: type }, 'broker');
  }
}
