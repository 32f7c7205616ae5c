import { linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import type { Provider } from './provider.ts';

export interface SessionOptions {
  /** Threads of a run; set always, since the runtime's own default takes every core. */
  threads: number;
  /** Packs weights for faster products, at the price of a copy of each (default true). */
  prepack?: boolean;
  /**
   * Plans one block of memory for shapes that come again (default true). Without it what a long graph no longer needs
   * is given to the next operation: a training graph then peaks at two thirds.
   */
  memoryPattern?: boolean;
  /**
   * Whether threads wait for the next run without sleep (default true). Without it another thread of the process finds
   * a core free between two runs, and need not take that of the thread which prepares the next.
   */
  spinsBetweenRuns?: boolean;
  /** Default `cpu`; `cuda` only where `cudaUnavailable` has nothing to say. */
  provider?: Provider;
}

/**
 * Makes a session of a serialised model whose weights lie in files.
 *
 * The runtime opens external files only below the model's own folder and follows no link out of it, so model and hard
 * links to the weights stand in a temporary folder while the session is made. A hard link needs one file system: where
 * the system's temporary folder is on another, one beside the weights is taken, and where that can't be written the
 * weights are read into memory.
 * @param files file by the location that the model calls it
 */
export async function createSession(
  model: Uint8Array,
  files: ReadonlyMap<string, string>,
  options: SessionOptions,
): Promise<InferenceSession> {
  const settings: InferenceSession.SessionOptions = {
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    executionProviders: options.provider === 'cuda' ? ['cuda', 'cpu'] : ['cpu'],
    enableMemPattern: options.memoryPattern ?? true,
    extra: {
      session: {
        ...(options.prepack === false ? { disable_prepacking: '1' } : {}),
        ...(options.spinsBetweenRuns === false ? { force_spinning_stop: '1' } : {}),
      },
    },
  };
  if (files.size === 0) return InferenceSession.create(model, settings);
  const folder = linkedFolder(files);
  if (!folder) {
    const externalData = [...files].map(([path, file]) => ({ path, data: readFileSync(file) }));
    return InferenceSession.create(model, { ...settings, externalData });
  }
  try {
    const path = join(folder, 'model.onnx');
    writeFileSync(path, model);
    return await InferenceSession.create(path, settings);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A new folder with a hard link to each file under its location; undefined where none can be made. */
function linkedFolder(files: ReadonlyMap<string, string>): string | undefined {
  for (const parent of new Set([tmpdir(), ...[...files.values()].map((file) => dirname(file))])) {
    let folder: string | undefined;
    try {
      folder = mkdtempSync(join(parent, '.landfall-model-'));
      for (const [location, file] of files) linkSync(file, join(folder, location));
      return folder;
    } catch {
      if (folder) rmSync(folder, { recursive: true, force: true });
    }
  }
  return undefined;
}

/**
 * Gives the memory of a run's output back, which is empty from then on. Left to the garbage collector, outputs of
 * megabytes set off collections of the whole heap, which take a core from the runs that follow.
 */
export function giveBack({ buffer }: Float32Array): void {
  (buffer as ArrayBuffer).transfer(0);
}
