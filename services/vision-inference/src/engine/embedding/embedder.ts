import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { AutoTokenizer, env, type PreTrainedTokenizer } from '@huggingface/transformers';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { readJsonObject } from '@landfall/graph/checkpoint/read-json.ts';
import { guardSpecialTokens, type SpecialTokens } from '@landfall/graph/checkpoint/special-tokens.ts';
import { openClip } from '@landfall/graph/checkpoint/vision.ts';
import { ClipEncoder } from '@landfall/graph/vision/clip-encoder.ts';
import {
  type ImageProcessor,
  pixelValues,
  readImageProcessor,
} from '@landfall/graph/vision/image-processor.ts';
import type { Pixels } from '@landfall/graph/vision/resample.ts';
import type { EmbedderOptions } from './protocol.ts';

/** A CLIP model with the tokenizer and the image processor of its folder. */
export class Embedder {
  readonly dimensions: number;
  readonly #encoder: ClipEncoder;
  readonly #processor: ImageProcessor;
  readonly #tokenizer: PreTrainedTokenizer;
  readonly #special: SpecialTokens;

  private constructor(encoder: ClipEncoder, processor: ImageProcessor, tokenizer: PreTrainedTokenizer) {
    this.dimensions = encoder.config.projectionSize;
    this.#encoder = encoder;
    this.#processor = processor;
    this.#tokenizer = tokenizer;
    this.#special = guardSpecialTokens(tokenizer);
  }

  /** @throws CheckpointError for a folder that holds no CLIP model, or not all of one */
  static async create({ folder, ...options }: EmbedderOptions): Promise<Embedder> {
    const checkpoint = openClip(folder);
    const processor = readImageProcessor(
      existsSync(join(folder, 'preprocessor_config.json'))
        ? readJsonObject(folder, 'preprocessor_config.json')
        : {
            size: { shortest_edge: checkpoint.config.vision.imageSize },
            crop_size: checkpoint.config.vision.imageSize,
          },
    );
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
      if (!existsSync(join(folder, file))) throw new CheckpointError(`the folder has no ${file}`);
    }
    env.allowRemoteModels = false;
    env.useFSCache = false;
    const tokenizer = await AutoTokenizer.from_pretrained(resolve(folder), { local_files_only: true });
    const encoder = await ClipEncoder.create(checkpoint, options);
    return new Embedder(encoder, processor, tokenizer);
  }

  /** What the tower sees of an image, [3, imageSize, imageSize]. */
  see(image: Pixels): Float32Array {
    return pixelValues(this.#processor, image);
  }

  /** @param seen as `see` returns it @returns a vector of length 1 for each */
  async images(seen: readonly Float32Array[]): Promise<Float32Array[]> {
    const size = seen[0]!.length;
    const pixels = new Float32Array(size * seen.length);
    for (const [i, one] of seen.entries()) pixels.set(one, i * size);
    return this.#rows(await this.#encoder.images(pixels));
  }

  /**
   * Texts longer than the model reads are cut off before their end mark. A mark that a text spells is words like others:
   * it would end the text there, and texts that differ behind it would mean the same.
   * @returns a vector of length 1 for each
   */
  async texts(texts: readonly string[]): Promise<Float32Array[]> {
    const most = this.#encoder.config.text.maxPositions;
    const tokens = texts.map((text) => {
      const ids = this.#tokenizer.encode(this.#special.guard(text));
      return ids.length > most ? [...ids.slice(0, most - 1), ids.at(-1)!] : ids;
    });
    return this.#rows(await this.#encoder.texts(tokens));
  }

  release(): Promise<void> {
    return this.#encoder.release();
  }

  #rows(all: Float32Array): Float32Array[] {
    const size = this.dimensions;
    return Array.from({ length: all.length / size }, (_, i) => all.slice(i * size, (i + 1) * size));
  }
}
