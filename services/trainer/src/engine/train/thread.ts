import { Worker } from 'node:worker_threads';
import { TrainingError } from './errors.ts';
import type { TrainingEvent, TrainingTask } from './task.ts';

/** What the thread gets. */
export interface ThreadInput {
  task: TrainingTask;
  /** One 32-bit number, not 0 once the run shall stop: the thread is too busy to take messages. */
  stopFlag: SharedArrayBuffer;
  outputFolder: string;
  baseName: string;
}

/** What the thread says. */
export type ThreadMessage =
  | { type: 'event'; event: TrainingEvent }
  | { type: 'ended'; finished: boolean; stoppedEarly: string; step: number }
  | { type: 'failed'; kind: TrainingError['kind']; message: string };

/** What is to be run and where its result goes. */
export interface ThreadedRun {
  task: TrainingTask;
  /** Where the result is written once the run has finished: an adapter in peft's layout, or a whole model. */
  outputFolder: string;
  /** What the adapter's configuration names as its base. */
  baseName: string;
  onEvent: (event: TrainingEvent) => void;
  /** The run stops after its step in hand and leaves a checkpoint. */
  signal?: AbortSignal;
}

/** How a run ended. */
export interface RunEnd {
  /** False when it was stopped before. */
  finished: boolean;
  /** Why it ended before its last step; empty when it did not. */
  stoppedEarly: string;
  step: number;
}

/**
 * Runs a task in a thread and waits for it. The thread is never terminated (that would abort the process while
 * onnxruntime runs): a stop is waited for, at most one step long.
 *
 * @throws TrainingError as runTraining does
 */
export async function runInThread(run: ThreadedRun): Promise<RunEnd> {
  const { task, outputFolder, baseName, onEvent, signal } = run;
  const stopFlag = new SharedArrayBuffer(4);
  const input: ThreadInput = { task, stopFlag, outputFolder, baseName };
  const thread = new Worker(new URL('./thread-main.ts', import.meta.url), { workerData: input });
  const stop = () => Atomics.store(new Int32Array(stopFlag), 0, 1);
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise((resolve, reject) => {
      let outcome: () => void = () => reject(new Error('the training thread ended without a word'));
      thread.on('message', (message: ThreadMessage) => {
        if (message.type === 'event') onEvent(message.event);
        else if (message.type === 'ended') outcome = () => resolve(message);
        else outcome = () => reject(new TrainingError(message.kind, message.message));
      });
      thread.on('error', (error) => {
        outcome = () => reject(error);
      });
      // Settled only here, so that nothing of the thread is left when the caller goes on.
      thread.on('exit', () => outcome());
    });
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}
