import { Worker } from 'node:worker_threads';
import type { PreparationResult, PreparationTask } from './task.ts';

export type PreparationMessage =
  | { type: 'done'; result: PreparationResult }
  | { type: 'failed'; message: string; diskFull: boolean };

/** A preparation that has not come to its end. */
export class PreparationError extends Error {
  readonly kind: 'disk' | 'memory' | 'internal';

  constructor(kind: PreparationError['kind'], message: string) {
    super(message);
    this.name = 'PreparationError';
    this.kind = kind;
  }
}

/**
 * Prepares a data set in a thread: a large one takes minutes of computation, and the service has others to answer.
 *
 * @throws PreparationError; the signal's reason when it fires, which ends the thread
 */
export async function prepareInThread(
  task: PreparationTask,
  signal?: AbortSignal,
): Promise<PreparationResult> {
  signal?.throwIfAborted();
  const thread = new Worker(new URL('./thread-main.ts', import.meta.url), { workerData: task });
  const stop = () => void thread.terminate();
  signal?.addEventListener('abort', stop, { once: true });
  let end: PreparationMessage | { type: 'broken'; error: Error } | undefined;
  thread.on('message', (message: PreparationMessage) => {
    end = message;
  });
  thread.on('error', (error) => {
    end = { type: 'broken', error };
  });
  await new Promise<void>((resolve) => thread.on('exit', () => resolve()));
  signal?.removeEventListener('abort', stop);
  if (end?.type === 'done') return end.result;
  signal?.throwIfAborted();
  if (end?.type === 'failed') throw new PreparationError(end.diskFull ? 'disk' : 'internal', end.message);
  const { code, message = 'the preparation thread ended without a word' } = (end?.error ??
    {}) as Partial<NodeJS.ErrnoException>;
  throw new PreparationError(code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'memory' : 'internal', message);
}
