import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LoadSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { Ahead } from './admission.ts';
import type { LoadedModel } from './context.ts';

/** What is before a new request, with what was handed to the model's thread since its last report. */
export function ahead({ thread }: Pick<LoadedModel, 'thread'>): Ahead {
  const { running, queued, queuedTokens, promptTokenMs } = thread.load;
  const handed = Math.max(0, thread.active - running - queued);
  return { running, queued: queued + handed, queuedTokens, promptTokenMs };
}

/** The replica's load as the contract shows it. */
export function loadMessage({
  thread,
  adapters,
  admission,
  prefixes,
}: LoadedModel): MessageInitShape<typeof LoadSchema> {
  const load = thread.load;
  return {
    running: load.running,
    queued: ahead({ thread }).queued,
    queuedTokens: BigInt(load.queuedTokens),
    runningTokens: BigInt(load.runningTokens),
    freeBlocks: load.freeBlocks,
    totalBlocks: load.blocks,
    stepMs: load.stepMs,
    adapters: adapters.loaded,
    base: adapters.base,
    finished: BigInt(load.finished),
    outputTokens: BigInt(load.outputTokens),
    cachedPrefixes: [...prefixes.keys],
    maxBatch: admission.batch,
    refused: BigInt(admission.refused),
  };
}
