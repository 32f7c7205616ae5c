/** The runner that computes: a checkpoint as an ONNX graph over a block pool, adapters mixed by row. */

import path from 'node:path';
import { openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { type Adapter, readAdapter } from '@landfall/graph/checkpoint/peft.ts';
import { readJsonObject } from '@landfall/graph/checkpoint/read-json.ts';
import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { patchCount } from '@landfall/graph/models/clip-config.ts';
import type { ModelConfig } from '@landfall/graph/models/config.ts';
import type { LlavaConfig } from '@landfall/graph/models/llava-config.ts';
import { CachedDecoder } from '@landfall/graph/serving/cached-decoder.ts';
import type { LoraConfig } from '@landfall/graph/training/lora.ts';
import type { ImageGrid } from './prompt.ts';
import { AdapterError, type Runner, type RunnerOptions } from './runner.ts';

const FLOAT_BYTES = 4;
/** Share of the free memory that the pool takes by default. */
const MEMORY_SHARE = 1 / 4;
/** Tokens of each sequence of a full batch whose memory is there from the start. */
const READY_TOKENS = 512;
/** Share of the pool that this may be: a large model's would take long, and all that the pool may ever need. */
const READY_SHARE = 1 / 8;
/** Share of the free memory that contexts may take which lie in one piece beside the pool. */
const CONTEXT_SHARE = 1 / 8;
/** Share of it that weights may take which are packed once more, for batches that need not all that there is. */
const COPY_SHARE = 1 / 10;
/** A step computes all ranks of its adapters, so a single one can not be arbitrarily large. */
const HIGHEST_RANK = 256;

/** Opens a Hugging Face folder, converts half precision once, makes the session. @throws Error naming what is wrong. */
export async function createRunner(options: RunnerOptions): Promise<Runner> {
  const { checkpoint, images } = openModel(options.folder);
  const { config } = checkpoint;
  const { threads, blockSize, adapterSlots, precision, int4Block } = options;
  const cacheFolder = path.join(options.cacheFolder, 'weights');
  const free = process.availableMemory();
  const blocks = options.blocks ?? defaultBlocks(config, options, free);
  const decoder = await CachedDecoder.create(checkpoint, {
    threads,
    cacheFolder,
    blocks,
    blockSize,
    readyBlocks: Math.floor(Math.min((options.maxBatch * READY_TOKENS) / blockSize, blocks * READY_SHARE)),
    contextBytes: free * CONTEXT_SHARE,
    adapterSlots,
    copyBytes: free * COPY_SHARE,
    images: images !== undefined,
    ...(precision ? { precision } : {}),
    ...(int4Block ? { int4Block } : {}),
  });
  return {
    shape: {
      vocabularySize: config.vocabSize,
      contextLength: config.maxPositions,
      blocks,
      blockSize,
      images,
    },
    adapterSlots,
    run(rows) {
      decoder.takeBack();
      return decoder.step(rows);
    },
    save: (table, from, end) => decoder.save(table, from, end),
    restore: (table, from, saved) => decoder.restore(table, from, saved),
    loadAdapter: async (slot, folder) => decoder.setAdapter(slot, openAdapter(folder, config)),
    prefixTokens: (slot) => decoder.prefixTokens(slot),
    clearAdapter: (slot) => decoder.setAdapter(slot, undefined),
    release: () => decoder.release(),
  };
}

/** A decoder, or the language half of a model that reads images too. */
function openModel(folder: string) {
  if (readJsonObject(folder, 'config.json').model_type !== 'llava')
    return { checkpoint: openCheckpoint(folder), images: undefined };
  const { language, config } = openLlava(folder);
  return { checkpoint: language, images: imageGrid(config) };
}

function imageGrid({ vision, imageToken, withClass }: LlavaConfig): ImageGrid {
  const side = Math.floor(vision.imageSize / vision.patchSize);
  const before = Number(withClass);
  return { token: imageToken, count: patchCount(vision) + before, before, rows: side, columns: side };
}

function openAdapter(folder: string, config: ModelConfig): Adapter {
  try {
    const adapter = readAdapter(folder, config);
    if (adapter.kind === 'lora') checkServed(adapter.config);
    else if (adapter.numVirtualTokens >= config.maxPositions)
      throw new AdapterError(
        `adapter_config.json: ${adapter.numVirtualTokens} virtual tokens fill the context of ${config.maxPositions}`,
      );
    return adapter;
  } catch (error) {
    if (error instanceof CheckpointError) throw new AdapterError(error.message);
    throw error;
  }
}

/** What one batch of many adapters can't hold. */
function checkServed({ r, bias = 'none', modulesToSave = [] }: LoraConfig): void {
  if (r > HIGHEST_RANK) throw new AdapterError(`adapter_config.json: r ${r} is above ${HIGHEST_RANK}`);
  const own = bias !== 'none' ? `bias ${bias}` : modulesToSave.length > 0 ? 'modules_to_save' : undefined;
  if (own)
    throw new AdapterError(
      `adapter_config.json: ${own} changes the base's own weights; merge the adapter into a base of its own`,
    );
}

/** Blocks for a full batch of full contexts, within a share of the memory, and for one full context at least. */
export function defaultBlocks(
  config: ModelConfig,
  { blockSize, maxBatch }: Pick<RunnerOptions, 'blockSize' | 'maxBatch'>,
  freeBytes: number,
): number {
  const one = Math.ceil(config.maxPositions / blockSize);
  const blockBytes = 2 * config.layers * config.keyValueHeads * config.headDim * blockSize * FLOAT_BYTES;
  const affordable = Math.floor((freeBytes * MEMORY_SHARE) / blockBytes);
  return Math.max(one, Math.min(one * maxBatch, affordable));
}
