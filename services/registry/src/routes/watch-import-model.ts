import { setTimeout as delay } from 'node:timers/promises';
import { WatchImportModelResponse_Step as Step } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Route } from '../context.ts';
import { type ImportProgress, importModel } from '../domain/import.ts';

/** Shortest pause between two messages, in milliseconds. */
const PAUSE_MS = 250;

const STEPS: Record<ImportProgress['step'], Step> = {
  list: Step.LIST,
  download: Step.DOWNLOAD,
  store: Step.STORE,
  check: Step.CHECK,
};

export const watchImportModel: Route<'watchImportModel'> = (context) =>
  async function* (request, { identity, signal }) {
    // The import ends with its caller, also where the caller just stops reading.
    const stop = new AbortController();
    let progress: ImportProgress = { step: 'list' };
    let changed = Promise.withResolvers<void>();
    const running = importModel(
      context,
      identity,
      request.import!,
      (next) => {
        progress = { ...progress, ...next };
        changed.resolve();
      },
      AbortSignal.any([signal, stop.signal]),
    );
    const ended = running.then(
      () => true,
      () => true,
    );
    try {
      for (let over = false; !over; ) {
        const { step, receivedBytes = 0, totalBytes = 0, receivedFiles = 0, totalFiles = 0 } = progress;
        yield {
          step: STEPS[step],
          receivedBytes: BigInt(receivedBytes),
          totalBytes: BigInt(totalBytes),
          receivedFiles,
          totalFiles,
        };
        over = await Promise.race([ended, delay(PAUSE_MS, false)]);
        if (!over) over = await Promise.race([ended, changed.promise.then(() => false)]);
        changed = Promise.withResolvers<void>();
      }
      const { version, skipped } = await running;
      const { totalBytes = 0, totalFiles = 0 } = progress;
      const sizes = { receivedBytes: BigInt(totalBytes), totalBytes: BigInt(totalBytes) };
      yield {
        step: Step.DONE,
        ...sizes,
        receivedFiles: totalFiles,
        totalFiles,
        skipped,
        ...(version && { version }),
      };
    } finally {
      stop.abort();
    }
  };
