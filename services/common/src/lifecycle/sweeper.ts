import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../log/logger.ts';

/** Work that is done at the start and then again and again until the service ends; a failure waits for the next time. */
export class Sweeper implements AsyncDisposable {
  readonly #stopping = new AbortController();
  readonly #loop: Promise<void>;

  /**
   * @param what for the log: what is swept away
   * @param sweep one pass @returns how many it swept away
   */
  constructor(
    what: string,
    everyMs: number,
    sweep: (signal: AbortSignal) => Promise<number>,
    logger: Logger,
  ) {
    this.#loop = this.#run(what, everyMs, sweep, logger);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async #run(
    what: string,
    everyMs: number,
    sweep: (signal: AbortSignal) => Promise<number>,
    logger: Logger,
  ): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await sweep(signal).then(
        (swept) => swept > 0 && logger.info({ swept }, `${what} were swept away`),
        (err) => logger.warn({ err }, `${what} could not be swept away`),
      );
      await delay(everyMs, undefined, { signal }).catch(() => {});
    }
  }
}
