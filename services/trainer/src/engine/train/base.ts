import { type Checkpoint, openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { readJsonObject } from '@landfall/graph/checkpoint/read-json.ts';
import { type LlavaCheckpoint, openLlava } from '@landfall/graph/checkpoint/vision.ts';

/** What a run trains: a decoder, and what it sees with where it reads images. */
export interface Base {
  /** Stands for itself where the model reads text alone. */
  language: Checkpoint;
  llava?: LlavaCheckpoint;
}

/** Opens a model folder of either kind; headers only. @throws CheckpointError */
export function openBase(folder: string): Base {
  if (readJsonObject(folder, 'config.json').model_type !== 'llava')
    return { language: openCheckpoint(folder) };
  const llava = openLlava(folder);
  return { language: llava.language, llava };
}
