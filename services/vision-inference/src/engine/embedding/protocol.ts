import type { TowerPrecision } from '@landfall/graph/vision/packed-towers.ts';
import type { Pixels } from '@landfall/graph/vision/resample.ts';

/** What the thread of an embedding model begins with. */
export interface EmbedderOptions {
  /** Hugging Face folder of a CLIP model. */
  folder: string;
  /** Where weights in another form are kept. */
  cacheFolder: string;
  /** Of a run of the numeric runtime. */
  threads: number;
  precision: TowerPrecision;
}

/** One image or text that waits for its vector. */
export type Item = { id: number; image: Pixels } | { id: number; text: string };

export type ToEmbedder = { type: 'embed'; item: Item } | { type: 'drop'; id: number } | { type: 'close' };

export type FromEmbedder =
  | { type: 'ready'; dimensions: number }
  | { type: 'failed'; message: string }
  /** The pixels of an image are done with: what is left of it is small. */
  | { type: 'seen'; id: number }
  | { type: 'embedded'; id: number; vector: Float32Array }
  | { type: 'refused'; id: number; message: string };

/** A folder that holds no model that embeds. */
export class NoEmbedderError extends Error {
  override readonly name = 'NoEmbedderError';
}
