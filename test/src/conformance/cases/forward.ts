import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { float32Checkpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { ForwardGraph } from '@landfall/graph/training/forward.ts';
import { Differences, type Outcome, UnsupportedCase } from '../outcome.ts';
import { openBase, type PaddedBatch, sequencesOf } from './batches.ts';
import { clipCase, llavaForwardCase, visionType } from './vision.ts';

interface Expected {
  batch?: PaddedBatch;
  loss?: number;
  /** [B, T, V] */
  logits?: number[][][];
}

const LOGITS = 2e-4;
const LOSS = 1e-4;

/** Logits of every real token and the mean loss. */
export async function forwardCase({ folder, file }: { folder: string; file: string }): Promise<Outcome> {
  const type = visionType(folder);
  if (type) return type === 'clip' ? clipCase({ folder, file }) : llavaForwardCase({ folder, file });
  const checkpoint = openBase(folder);
  const expected = JSON.parse(readFileSync(file, 'utf8')) as Expected;
  if (!expected.batch || !expected.logits)
    throw new UnsupportedCase('a forward case without a batch of tokens');
  const sequences = sequencesOf(expected.batch);
  const differences = new Differences();
  const cache = mkdtempSync(path.join(tmpdir(), 'landfall-conformance-'));
  const graph = await ForwardGraph.create(float32Checkpoint(checkpoint, cache), 2);
  try {
    const { logits, loss } = await graph.run(sequences);
    const width = checkpoint.config.vocabSize;
    let row = 0;
    for (const [sequence, { ids }] of sequences.entries()) {
      for (let t = 0; t < ids.length; t++, row++) {
        const got = logits.subarray(row * width, (row + 1) * width);
        differences.addAll('logits', got, expected.logits[sequence]![t]!, LOGITS);
      }
    }
    if (expected.loss !== undefined) differences.add('loss', Math.abs(loss - expected.loss), LOSS);
  } finally {
    await graph.release();
    rmSync(cache, { recursive: true, force: true });
  }
  return differences.outcome();
}
