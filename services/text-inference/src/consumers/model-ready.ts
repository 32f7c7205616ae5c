import { connect as connectTcp } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { EventConsumer } from '@landfall/common/events/consumer.ts';
import { type ModelReady, ModelReadySchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { LoadedModel, TextContext } from '../context.ts';

const SUBJECT = 'landfall.registry.model.ready.v1';
const PROBE_PAUSE_MS = 500;

/**
 * Loads adapters of this replica's base as they become ready. The consumer is the replica's own and sees new events
 * only; what it missed is loaded when it is asked for, so a replica serves without a broker too.
 */
export class ModelReadyConsumer implements AsyncDisposable {
  readonly #context: TextContext;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #broker: Broker | undefined;
  #consumer: EventConsumer<typeof ModelReadySchema> | undefined;

  /** Connects in the background, whenever the broker is up. */
  constructor(context: TextContext, model: LoadedModel) {
    this.#context = context;
    this.#running = this.#start(model).catch((error) => {
      if (!this.#stopping.signal.aborted) context.logger.error({ err: error }, 'events can not be consumed');
    });
  }

  async #start(model: LoadedModel): Promise<void> {
    const { config, logger } = this.#context;
    // The broker's client can not be stopped while it waits for its first connection.
    await reachable(config.natsUrl, this.#stopping.signal);
    this.#broker = await Broker.connect(config.natsUrl, config.name, logger);
    this.#consumer = new EventConsumer({
      broker: this.#broker,
      logger,
      subject: SUBJECT,
      schema: ModelReadySchema,
      handle: (event) => loadWhenOurs(event, this.#context, model),
    });
    await this.#consumer.start();
    logger.info({ subject: SUBJECT }, 'listening for adapters');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#consumer?.[Symbol.asyncDispose]();
    await this.#broker?.[Symbol.asyncDispose]();
  }
}

/** Safe to repeat: an adapter that is loaded stays as it is. */
async function loadWhenOurs(
  event: ModelReady,
  { config, logger }: TextContext,
  model: LoadedModel,
): Promise<void> {
  const { adapters } = model;
  if (event.kind !== 'adapter' || event.base !== adapters.base || event.tenant !== config.tenant) return;
  try {
    const { loadMs, changed } = await adapters.loadRef(
      event.ref,
      AbortSignal.timeout(config.graceMs + 60_000),
    );
    logger.info({ model: event.ref, load_ms: loadMs, changed }, 'adapter loaded on its event');
  } catch (error) {
    const again = error instanceof LandfallError && error.code === status.UNAVAILABLE;
    if (again) throw error;
    // Another delivery would end the same way; whoever asks for the adapter is told why.
    logger.error({ err: error, model: event.ref }, 'an adapter that became ready can not be loaded');
  }
}

/** Resolves once the broker's port takes connections. */
async function reachable(url: string, signal: AbortSignal): Promise<void> {
  const { hostname, port } = new URL(url.includes('://') ? url : `nats://${url}`);
  const probe = () =>
    new Promise<boolean>((resolve) => {
      const socket = connectTcp(Number(port) || 4222, hostname);
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  while (!(await probe())) await delay(PROBE_PAUSE_MS, undefined, { signal });
  signal.throwIfAborted();
}
