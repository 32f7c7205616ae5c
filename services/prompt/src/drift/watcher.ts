import { setTimeout as delay } from 'node:timers/promises';
import type { PromptContext } from '../context.ts';
import { DriftWatchEntity } from '../db/evaluation-entities.ts';
import { look } from './look.ts';

/** Looks at all drift watches every so often. Several processes may: what one has written, the others leave. */
export class DriftWatcher implements AsyncDisposable {
  readonly #stopping = new AbortController();
  #looking: Promise<void> | undefined;

  start(context: PromptContext): void {
    this.#looking = this.#run(context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#looking;
  }

  async #run(context: PromptContext): Promise<void> {
    const { signal } = this.#stopping;
    const everyMs = context.config.driftCheckSeconds * 1000;
    while (!signal.aborted) {
      await this.#round(context, signal).catch((error: unknown) =>
        context.logger.warn({ err: error }, 'drift watches could not be looked at'),
      );
      await delay(everyMs, undefined, { signal }).catch(() => {});
    }
  }

  async #round(context: PromptContext, signal: AbortSignal): Promise<void> {
    const rows = await context.database.read((em) => em.find(DriftWatchEntity, {}));
    for (const row of rows) {
      if (signal.aborted) return;
      const { name, label } = row;
      await look(context, row, signal).catch((error: unknown) =>
        context.logger.warn({ err: error, prompt: name, label }, 'a drift watch could not be looked at'),
      );
    }
  }
}
