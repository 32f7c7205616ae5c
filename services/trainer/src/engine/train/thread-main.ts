// Runs a training task in a thread of its own: onnxruntime blocks the thread that calls it, and the process must go
// on saying that it is alive.

import { parentPort, workerData } from 'node:worker_threads';
import { TrainingError } from './errors.ts';
import { writeOutput } from './output.ts';
import { runTraining } from './run.ts';
import type { ThreadInput, ThreadMessage } from './thread.ts';

const { task, stopFlag, outputFolder, baseName } = workerData as ThreadInput;
const stopped = new Int32Array(stopFlag);
const send = (message: ThreadMessage) => parentPort!.postMessage(message);

try {
  const { finished, stoppedEarly, state, parameters } = await runTraining(
    task,
    (event) => send({ type: 'event', event }),
    () => Atomics.load(stopped, 0) !== 0,
  );
  if (finished) writeOutput(outputFolder, task, parameters, baseName);
  send({ type: 'ended', finished, stoppedEarly, step: state.step });
} catch (error) {
  if (error instanceof TrainingError) send({ type: 'failed', kind: error.kind, message: error.message });
  else throw error;
}
