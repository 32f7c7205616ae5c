import type { Checkpoint } from '../src/checkpoint/checkpoint.ts';
import type { Adapter } from '../src/checkpoint/peft.ts';
import { CachedDecoder } from '../src/serving/cached-decoder.ts';

/** Greedy decoding of one prompt after another with the engine's own cache. */
export async function greedyTokens(
  checkpoint: Checkpoint,
  prompts: readonly number[][],
  count: number,
  cacheFolder: string,
  adapter?: Adapter,
): Promise<number[][]> {
  const options = { threads: 1, cacheFolder, blocks: 16, blockSize: 8, adapterSlots: 1 };
  const decoder = await CachedDecoder.create(checkpoint, options);
  if (adapter) decoder.setAdapter(1, adapter);
  const blockTable = Array.from({ length: 16 }, (_, i) => i);
  const answers: number[][] = [];
  for (const prompt of prompts) {
    const answer: number[] = [];
    let [tokens, start] = [[...prompt], adapter ? decoder.prefixTokens(1) : 0];
    while (answer.length < count) {
      const [logits] = await decoder.step([{ tokens, start, blockTable, adapterSlot: adapter ? 1 : 0 }]);
      start += tokens.length;
      tokens = [logits!.indexOf(Math.max(...logits!))];
      answer.push(tokens[0]!);
    }
    answers.push(answer);
  }
  await decoder.release();
  return answers;
}
