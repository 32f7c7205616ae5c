import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { OnnxGraph } from './graph.ts';

/** What a session computes on. */
export type Provider = 'cpu' | 'cuda';

/**
 * Why CUDA can't be used here, or undefined where it can: a session of one node is made on it and run. The runtime
 * throws for a provider that it lacks, even with the CPU behind it in the list.
 */
export async function cudaUnavailable(): Promise<string | undefined> {
  // Asked for a provider whose library is not there, the runtime also writes an error of its own to the terminal.
  const folder = libraries();
  const file =
    process.platform === 'win32' ? 'onnxruntime_providers_cuda.dll' : 'libonnxruntime_providers_cuda.so';
  if (!existsSync(join(folder, file))) {
    return `ONNX Runtime's CUDA library ${file} is not installed beside its own`;
  }
  const graph = new OnnxGraph();
  graph.output(graph.node('Add', [graph.float(1), graph.float(1)]), 'sum');
  try {
    const session = await InferenceSession.create(graph.serialize(), { executionProviders: ['cuda', 'cpu'] });
    await session.run({});
    await session.release();
    return undefined;
  } catch (error) {
    // The runtime's message names its own source files before the reason.
    return (error as Error).message
      .split('\n')[0]!
      .replace(/^.*\]\s*/, '')
      .slice(0, 300);
  }
}

/** Where the runtime's libraries lie, and where it looks for those of its providers. */
function libraries(): string {
  const main = createRequire(import.meta.url).resolve('onnxruntime-node');
  return join(dirname(main), '..', 'bin', 'napi-v6', process.platform, process.arch);
}
