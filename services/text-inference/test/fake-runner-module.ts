/** The fake model as a worker's runner: blocks its thread for some time at each step, as `session.run` does. */

import { AdapterError, type Runner, type RunnerOptions } from '../src/engine/runner.ts';
import { FakeRunner } from './fake-runner.ts';
import { TINY } from './tiny-model.ts';

export async function createRunner(options: RunnerOptions): Promise<Runner> {
  const runner = new FakeRunner({
    vocabularySize: TINY.vocabulary,
    contextLength: TINY.context,
    blocks: options.blocks ?? 64,
    blockSize: options.blockSize,
    adapterSlots: options.adapterSlots,
  });
  runner.beforeStep = () =>
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STEP_MS) && undefined;
  runner.loadAdapter = async (_slot: number, folder: string) => {
    if (folder.includes('bad')) throw new AdapterError('the adapter is for another model');
  };
  return runner;
}

/** Time that a step takes. */
export const STEP_MS = 10;
