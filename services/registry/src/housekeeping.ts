import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { Blobs } from './domain/blobs.ts';
import { describeOlder } from './domain/describe-older.ts';
import { removeEmptyModels } from './domain/empty-models.ts';
import { stagingRoot } from './domain/gather-hub.ts';
import { forgetOldAnswers } from './domain/idempotency.ts';
import { purgeDue } from './domain/purge.ts';
import { Staging } from './hub/staging.ts';

/** How long what a hub has sent is kept for a repeat of a broken import, in milliseconds. */
const KEEP_STAGING_MS = 86_400_000;

export type HousekeepingOptions = {
  database: Database;
  artifacts: ArtifactStore;
  blobs: Blobs;
  /** The service's state folder. */
  home: string;
  /** Name of the service, as events name it. */
  source: string;
  logger: Logger;
  /** How long a model of which no version became READY is kept, in milliseconds. */
  keepEmptyMs: number;
  /** Pause between two rounds, in milliseconds. */
  intervalMs: number;
};

/**
 * Describes versions from before there was a catalog, forgets old answers, purges deleted versions that are due, removes
 * models that broken uploads have left and collects content that nothing refers to, now and then. The end waits for the step that runs, so that nothing asks a database that is closed.
 */
export class Housekeeping implements AsyncDisposable {
  readonly #options: HousekeepingOptions;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #stopping = false;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#next(), options.intervalMs);
    this.#timer.unref();
    this.#next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  #next(): void {
    // A round that takes longer than the interval is not joined by a second one.
    this.#running ??= this.#round().finally(() => {
      this.#running = undefined;
    });
  }

  async #round(): Promise<void> {
    const { database, artifacts, blobs, home, source, keepEmptyMs, logger } = this.#options;
    const steps = [
      async () => {
        while (!this.#stopping && (await describeOlder(database, artifacts, logger)) > 0);
      },
      async () => forgetOldAnswers(database),
      async () => {
        const removed = await Staging.sweep(stagingRoot(home), KEEP_STAGING_MS);
        if (removed > 0) logger.info({ removed }, 'imports that nobody went on with were removed');
      },
      async () => {
        const purged = await purgeDue(database, source, logger);
        if (purged > 0) logger.info({ purged }, 'deleted versions were purged');
      },
      async () => {
        await removeEmptyModels(database, source, keepEmptyMs, logger);
      },
      async () => {
        const deleted = await blobs.collect();
        if (deleted > 0) logger.info({ deleted }, 'content that nothing refers to was deleted');
      },
    ];
    try {
      for (const step of steps) if (!this.#stopping) await step();
    } catch (error) {
      logger.warn({ err: error }, 'the housekeeping failed and is tried again later');
    }
  }
}
