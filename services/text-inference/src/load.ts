import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LoadSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { Ahead } from './admission.ts';
import type { LoadedModel } from './context.ts';
import type { LoadNews } from './load-news.ts';

/** What is before a new request, with what was handed to the model's thread since its last report. */
export function ahead({ thread }: Pick<LoadedModel, 'thread'>): Ahead {
  const { running, queued, queuedTokens, promptTokenMs } = thread.load;
  const handed = Math.max(0, thread.active - running - queued);
  return { running, queued: queued + handed, queuedTokens, promptTokenMs };
}

type LoadMessage = MessageInitShape<typeof LoadSchema>;

/** What the next message of a stream tells of the load; undefined for nothing. */
export function loadNews(model: LoadedModel, news: LoadNews, last: boolean): LoadMessage | undefined {
  const { running, queuedTokens, stepMs } = model.thread.load;
  const numbers = { running, queued: ahead(model).queued, queuedTokens, stepMs };
  const part = news.next(numbers, model.prefixes.version, last);
  if (part === 'nothing') return undefined;
  return part === 'whole' ? loadMessage(model) : { ...numbersOf(model), numbersOnly: true };
}

/** The replica's load as the contract shows it. */
export function loadMessage(model: LoadedModel): LoadMessage {
  const { adapters, prefixes } = model;
  return {
    ...numbersOf(model),
    adapters: adapters.loaded,
    base: adapters.base,
    cachedPrefixes: [...prefixes.keys],
  };
}

function numbersOf({ thread, admission }: LoadedModel) {
  const { load } = thread;
  return {
    running: load.running,
    queued: ahead({ thread }).queued,
    queuedTokens: BigInt(load.queuedTokens),
    runningTokens: BigInt(load.runningTokens),
    freeBlocks: load.freeBlocks,
    totalBlocks: load.blocks,
    stepMs: load.stepMs,
    finished: BigInt(load.finished),
    outputTokens: BigInt(load.outputTokens),
    maxBatch: admission.batch,
    refused: BigInt(admission.refused),
  };
}
