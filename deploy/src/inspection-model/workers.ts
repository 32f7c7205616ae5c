import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';

/** What a worker computes of a step: the loss and gradients of its part of the batch. */
export type PartStep = (
  step: number,
  parameters: ReadonlyMap<string, NamedTensor>,
) => Promise<{ loss: number; gradients: ReadonlyMap<string, Float32Array> }>;

/** What a worker is made with: its place among the others, and what its script was given. */
export interface Part<Options> {
  index: number;
  count: number;
  options: Options;
}

interface Shared {
  weights: SharedArrayBuffer;
  gradients: SharedArrayBuffer;
  shapes: [name: string, shape: number[]][];
}

/** Parameters as views into one buffer, one after the other. */
function views(buffer: SharedArrayBuffer, shapes: Shared['shapes']): Map<string, NamedTensor> {
  let offset = 0;
  return new Map(
    shapes.map(([name, shape]) => {
      const size = shape.reduce((product, n) => product * n, 1);
      const data = new Float32Array(buffer, offset, size);
      offset += data.byteLength;
      return [name, { shape, data }];
    }),
  );
}

/**
 * Worker threads that each compute a part of every batch over the same weights. One thread a session wastes less on
 * small operations than several do in one session, and what other programs take from one does not hold up the others.
 */
export class Workers<Options> {
  /** What trains, in memory that all workers read. */
  readonly parameters: Map<string, NamedTensor>;
  readonly #workers: { worker: Worker; gradients: Map<string, NamedTensor> }[];

  /** @param script that calls `serveParts` @param initial values that are copied */
  constructor(script: string, count: number, options: Options, initial: ReadonlyMap<string, NamedTensor>) {
    const shapes = [...initial].map(([name, { shape }]): [string, number[]] => [name, shape]);
    const bytes = [...initial.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
    const weights = new SharedArrayBuffer(bytes);
    this.parameters = views(weights, shapes);
    for (const [name, { data }] of this.parameters) data.set(initial.get(name)!.data);
    this.#workers = Array.from({ length: count }, (_, index) => {
      const gradients = new SharedArrayBuffer(bytes);
      const part: Part<Options> = { index, count, options };
      const worker = new Worker(script, { workerData: { part, shared: { weights, gradients, shapes } } });
      return { worker, gradients: views(gradients, shapes) };
    });
  }

  /** Mean loss and mean gradients over all parts. */
  async step(step: number): Promise<{ loss: number; gradients: Map<string, Float32Array> }> {
    const losses = await Promise.all(
      this.#workers.map(
        ({ worker }) =>
          new Promise<number>((resolve, reject) => {
            worker.once('error', reject);
            worker.once('message', (loss: number) => {
              worker.off('error', reject);
              resolve(loss);
            });
            worker.postMessage(step);
          }),
      ),
    );
    const [first, ...rest] = this.#workers.map(({ gradients }) => gradients);
    const gradients = new Map<string, Float32Array>();
    for (const [name, { data }] of first!) {
      for (const other of rest) {
        const more = other.get(name)!.data;
        for (let i = 0; i < data.length; i++) data[i]! += more[i]!;
      }
      for (let i = 0; i < data.length; i++) data[i]! /= this.#workers.length;
      gradients.set(name, data);
    }
    return { loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length, gradients };
  }

  /** Ends them; not while a step runs. */
  async end(): Promise<void> {
    await Promise.all(this.#workers.map(({ worker }) => worker.terminate()));
  }
}

/** The other side, in a worker's script. */
export async function serveParts<Options>(make: (part: Part<Options>) => Promise<PartStep>): Promise<void> {
  if (isMainThread) throw new Error('this script runs in a worker');
  const { part, shared } = workerData as { part: Part<Options>; shared: Shared };
  const parameters = views(shared.weights, shared.shapes);
  const out = views(shared.gradients, shared.shapes);
  const step = make(part);
  parentPort!.on('message', async (at: number) => {
    const { loss, gradients } = await (await step)(at, parameters);
    for (const [name, { data }] of out) data.set(gradients.get(name)!);
    parentPort!.postMessage(loss);
  });
}
