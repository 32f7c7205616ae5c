/** Entry of the thread that measures a CLIP: onnxruntime blocks the thread that calls it. */

import { parentPort, workerData } from 'node:worker_threads';
import { TrainingError } from '../train/errors.ts';
import { measureRetrieval } from './measure.ts';
import type { MeasureInput, MeasureMessage } from './measure-thread.ts';

const { task, stopFlag } = workerData as MeasureInput;
const stopped = new Int32Array(stopFlag);
const send = (message: MeasureMessage) => parentPort!.postMessage(message);

try {
  const measured = await measureRetrieval(
    task,
    (done, all) => send({ type: 'embedded', done, all }),
    () => Atomics.load(stopped, 0) !== 0,
  );
  if (measured) send({ type: 'measured', measured });
} catch (error) {
  if (error instanceof TrainingError) send({ type: 'failed', kind: error.kind, message: error.message });
  else throw error;
}
