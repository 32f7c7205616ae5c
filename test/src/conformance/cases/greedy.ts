import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Checkpoint, loadWeights } from '@landfall/graph/checkpoint/checkpoint.ts';
import { mergeLora } from '@landfall/graph/checkpoint/merge.ts';
import type { LoraAdapter } from '@landfall/graph/checkpoint/peft.ts';
import { writeModel } from '@landfall/graph/checkpoint/write-model.ts';
import { CachedDecoder } from '@landfall/graph/serving/cached-decoder.ts';
import { baseFolder } from '../find-cases.ts';
import { Differences, type Outcome, UnsupportedCase } from '../outcome.ts';
import { loraConfig } from './adapter.ts';
import { openBase, readTensors } from './batches.ts';
import { withTemporaryFolder } from './temporary-folder.ts';
import { llavaGreedyCase, visionType } from './vision.ts';

/** A prompt and the tokens that greedy decoding gives after it, end tokens ignored. */
interface Greedy {
  prompt: number[];
  tokens: number[];
}

const BLOCK = 16;

/** Greedy decoding of a base with cached keys and values, all prompts in one batch. */
export async function greedyCase({ folder, file }: { folder: string; file: string }): Promise<Outcome> {
  if (visionType(folder)) return llavaGreedyCase({ folder, file });
  const checkpoint = openBase(folder);
  const { greedy } = JSON.parse(readFileSync(file, 'utf8')) as { greedy: Greedy[] };
  const differences = new Differences();
  await withTemporaryFolder((cache) => compare(checkpoint, cache, greedy, differences));
  return differences.outcome();
}

/** The same, of a base whose weights hold what was trained. */
export async function mergedCase({ folder, file }: { folder: string; file: string }): Promise<Outcome> {
  const merged = JSON.parse(readFileSync(file, 'utf8')) as Greedy | Greedy[] | { greedy: Greedy[] };
  const greedy = 'greedy' in merged ? merged.greedy : [merged].flat();
  const training = JSON.parse(readFileSync(path.join(folder, 'expected_training.json'), 'utf8')) as {
    base: string;
    method: string;
    config: Record<string, unknown>;
  };
  if (training.method !== 'lora') throw new UnsupportedCase(`merging what ${training.method} has trained`);
  const base = baseFolder(folder, training.base);
  const checkpoint = openBase(base);
  const adapter: LoraAdapter = {
    config: loraConfig(training.config),
    tensors: readTensors(path.join(folder, 'final.safetensors')),
  };
  const weights = loadWeights(checkpoint);
  mergeLora(checkpoint.config, weights, adapter);
  const config = JSON.parse(readFileSync(path.join(base, 'config.json'), 'utf8')) as Record<string, unknown>;
  const differences = new Differences();
  await withTemporaryFolder(async (temporary) => {
    const written = path.join(temporary, 'merged');
    writeModel(written, config, weights);
    await compare(openBase(written), temporary, greedy, differences);
  });
  return differences.outcome();
}

async function compare(
  checkpoint: Checkpoint,
  cacheFolder: string,
  cases: readonly Greedy[],
  differences: Differences,
): Promise<void> {
  let blocks = 1;
  const sequences = cases.map(({ prompt, tokens }) => {
    const own = Math.ceil((prompt.length + tokens.length) / BLOCK);
    const blockTable = Array.from({ length: own }, (_, i) => blocks + i);
    blocks += own;
    return { pending: [...prompt], start: 0, got: [] as number[], want: tokens.length, blockTable };
  });
  const options = { threads: 2, cacheFolder, blocks, blockSize: BLOCK, adapterSlots: 1 };
  const decoder = await CachedDecoder.create(checkpoint, options);
  try {
    for (;;) {
      const active = sequences.filter((sequence) => sequence.got.length < sequence.want);
      if (active.length === 0) break;
      const logits = await decoder.step(
        active.map(({ pending, start, blockTable }) => ({
          tokens: pending,
          start,
          blockTable,
          adapterSlot: 0,
        })),
      );
      for (const [i, sequence] of active.entries()) {
        sequence.start += sequence.pending.length;
        const token = likeliest(logits[i]!);
        sequence.got.push(token);
        sequence.pending = [token];
      }
    }
  } finally {
    await decoder.release();
  }
  cases.forEach(({ tokens }, i) => {
    differences.addTokens('tokens', sequences[i]!.got, tokens);
  });
}

/** Of equal logits the first, as PyTorch's argmax. */
function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let token = 1; token < logits.length; token++) if (logits[token]! > logits[best]!) best = token;
  return best;
}
