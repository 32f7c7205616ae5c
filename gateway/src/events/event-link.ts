import type { Database } from '@landfall/common/db/database.ts';
import { unavailable } from '@landfall/common/errors/errors.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { OutboxRelay } from '@landfall/common/events/outbox.ts';
import type { Logger } from '@landfall/common/log/logger.ts';

/** The broker, once it is there: the gateway serves calls without waiting for it. */
export class EventLink implements AsyncDisposable {
  readonly #running = new AsyncDisposableStack();
  readonly #connecting: Promise<void> | undefined;
  #broker: Broker | undefined;
  #stopped = false;

  /** @param url empty where there is no broker @param onReady what else lives on events */
  constructor(
    url: string,
    database: Database,
    logger: Logger,
    onReady: (broker: Broker, running: AsyncDisposableStack) => Promise<void>,
  ) {
    if (url === '') return;
    this.#connecting = this.#connect(url, database, logger, onReady).catch((cause) =>
      logger.error({ err: cause }, 'events are not served'),
    );
  }

  /** @throws LandfallError UNAVAILABLE */
  get broker(): Broker {
    if (!this.#broker)
      throw unavailable('the broker of events is not there; try again', { retryAfterMs: 2000 });
    return this.#broker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    // One that is still being waited for is closed when it comes.
    if (this.#broker) await this.#connecting;
    await this.#running.disposeAsync();
  }

  async #connect(
    url: string,
    database: Database,
    logger: Logger,
    onReady: (broker: Broker, running: AsyncDisposableStack) => Promise<void>,
  ): Promise<void> {
    const broker = await Broker.connect(url, 'gateway', logger);
    if (this.#stopped) return broker[Symbol.asyncDispose]();
    this.#broker = this.#running.use(broker);
    const relay = this.#running.use(new OutboxRelay(database, broker, logger));
    relay.start();
    await onReady(broker, this.#running);
  }
}
