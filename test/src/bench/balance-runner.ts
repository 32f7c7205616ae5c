/** The runner of the overload's replicas: tokens out of a hash instead of a model, in the time that real steps take. */

import type { Runner, RunnerOptions, StepRow } from '../../../services/text-inference/src/engine/runner.ts';
import { FakeRunner } from '../../../services/text-inference/test/fake-runner.ts';
import { TINY } from '../../../services/text-inference/test/tiny-model.ts';
import { stepMs } from './balance-engine.ts';

const CONTEXT = 2048;
const SEQUENCES = 32;

export async function createRunner({ blockSize, adapterSlots }: RunnerOptions): Promise<Runner> {
  const runner = new FakeRunner({
    vocabularySize: TINY.vocabulary,
    contextLength: CONTEXT,
    blocks: (SEQUENCES * CONTEXT) / blockSize,
    blockSize,
    adapterSlots,
  });
  const never = new Int32Array(new SharedArrayBuffer(4));
  runner.beforeStep = (rows: StepRow[]) => {
    // A row of one token goes on from what it has; longer ones are parts of prompts.
    const prompts = rows.filter(({ tokens }) => tokens.length > 1);
    const promptTokens = prompts.reduce((sum, { tokens }) => sum + tokens.length, 0);
    Atomics.wait(never, 0, 0, stepMs(rows.length - prompts.length, promptTokens));
  };
  return runner;
}
