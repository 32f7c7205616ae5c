import { Worker } from 'node:worker_threads';
import { TrainingError } from '../train/errors.ts';
import type { MeasuredRetrieval, RetrievalTask } from './measure.ts';

/** What the thread gets. */
export interface MeasureInput {
  task: RetrievalTask;
  /** One 32-bit number, not 0 once the measurement shall stop. */
  stopFlag: SharedArrayBuffer;
}

/** What the thread says. */
export type MeasureMessage =
  | { type: 'embedded'; done: number; all: number }
  | { type: 'measured'; measured: MeasuredRetrieval }
  | { type: 'failed'; kind: TrainingError['kind']; message: string };

/**
 * Measures a CLIP in a thread. It is never terminated (that would abort the process while onnxruntime runs): a stop is
 * waited for, at most one batch long.
 *
 * @param onEmbedded told how many images and texts have vectors, of how many
 * @throws TrainingError; the signal's reason once it has fired
 */
export async function measureInThread(
  task: RetrievalTask,
  signal: AbortSignal,
  onEmbedded: (done: number, all: number) => void = () => {},
): Promise<MeasuredRetrieval> {
  signal.throwIfAborted();
  const stopFlag = new SharedArrayBuffer(4);
  const input: MeasureInput = { task, stopFlag };
  const thread = new Worker(new URL('./measure-main.ts', import.meta.url), { workerData: input });
  const stop = () => Atomics.store(new Int32Array(stopFlag), 0, 1);
  signal.addEventListener('abort', stop, { once: true });
  let end: MeasureMessage | { type: 'broken'; error: Error } | undefined;
  thread.on('message', (message: MeasureMessage) => {
    if (message.type === 'embedded') onEmbedded(message.done, message.all);
    else end = message;
  });
  thread.on('error', (error) => {
    end = { type: 'broken', error: error as Error };
  });
  await new Promise<void>((resolve) => thread.on('exit', () => resolve()));
  signal.removeEventListener('abort', stop);
  if (end?.type === 'measured') return end.measured;
  signal.throwIfAborted();
  if (end?.type === 'failed') throw new TrainingError(end.kind, end.message);
  throw end?.type === 'broken' ? end.error : new Error('the measuring thread ended without a word');
}
