import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LoadSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { LoadedModel } from './context.ts';

/** The replica's load as the contract shows it. */
export function loadMessage({ thread, adapters }: LoadedModel): MessageInitShape<typeof LoadSchema> {
  const load = thread.load;
  // What was handed to the model's thread since its last step is in no count of its own yet.
  const handed = Math.max(0, thread.active - load.running - load.queued);
  return {
    running: load.running,
    queued: load.queued + handed,
    queuedTokens: BigInt(load.queuedTokens),
    runningTokens: BigInt(load.runningTokens),
    freeBlocks: load.freeBlocks,
    totalBlocks: load.blocks,
    stepMs: load.stepMs,
    adapters: adapters.loaded,
    base: adapters.base,
    finished: BigInt(load.finished),
    outputTokens: BigInt(load.outputTokens),
  };
}
