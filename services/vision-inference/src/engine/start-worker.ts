import { Worker } from 'node:worker_threads';

/**
 * Starts a worker and waits for its first message; later ones are kept until a listener is there.
 * @throws Error when it ends before.
 */
export async function startWorker<First>(module: URL, workerData: unknown): Promise<[Worker, First]> {
  const worker = new Worker(module, { workerData });
  const first = await new Promise<First>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the thread ended while it was loading')));
  });
  // By name: the worker has listeners of its own that start and stop its port.
  worker.removeAllListeners('error');
  worker.removeAllListeners('exit');
  return [worker, first];
}
