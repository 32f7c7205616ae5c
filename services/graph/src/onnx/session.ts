import { linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';

export interface SessionOptions {
  /** Threads of a run; set always, since the runtime's own default takes every core. */
  threads: number;
  /** Packs weights for faster products, at the price of a copy of each (default true). */
  prepack?: boolean;
}

/**
 * Makes a session of a serialised model whose weights lie in files.
 *
 * The runtime opens external files only below the model's own folder and follows no link out of it, so model and hard
 * links to the weights stand in a temporary folder while the session is made. Where a file system has no hard links
 * between the two places, the file is read into memory instead.
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
    executionProviders: ['cpu'],
    ...(options.prepack === false ? { extra: { session: { disable_prepacking: '1' } } } : {}),
  };
  if (files.size === 0) return InferenceSession.create(model, settings);
  const folder = mkdtempSync(join(tmpdir(), 'landfall-model-'));
  try {
    const path = join(folder, 'model.onnx');
    writeFileSync(path, model);
    const inMemory: { path: string; data: Uint8Array }[] = [];
    for (const [location, file] of files) {
      try {
        linkSync(file, join(folder, location));
      } catch {
        inMemory.push({ path: location, data: readFileSync(file) });
      }
    }
    return await InferenceSession.create(
      path,
      inMemory.length > 0 ? { ...settings, externalData: inMemory } : settings,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
