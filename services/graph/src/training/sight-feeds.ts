import { Tensor as OrtTensor } from 'onnxruntime-node';
import { patchCount } from '../models/clip-config.ts';
import type { Sight } from './build.ts';
import { FrozenTower } from './frozen-tower.ts';
import type { Sequence } from './packing.ts';
import { checkImages, imageRows, type SequenceImage, stackPixels } from './sequence-images.ts';
import { featureRows, frozenLayers } from './sight.ts';

/** Gives a training graph what it reads of a batch's images. */
export class SightFeeds {
  readonly #sight: Sight;
  /** The layers below those that train; undefined where the tower trains as a whole. */
  readonly #tower: FrozenTower | undefined;

  private constructor(sight: Sight, tower: FrozenTower | undefined) {
    this.#sight = sight;
    this.#tower = tower;
  }

  static async create(sight: Sight, options: { threads: number; cacheBytes: number }): Promise<SightFeeds> {
    const layer = frozenLayers(sight.checkpoint.config, sight);
    const tower =
      layer === undefined ? undefined : await FrozenTower.create(sight.checkpoint, layer, options);
    return new SightFeeds(sight, tower);
  }

  /** @throws BatchError for image tokens that are not those of the images */
  check(sequences: readonly Sequence[]): void {
    checkImages(this.#sight.checkpoint.config, sequences);
  }

  /** @param ids of the packed batch */
  async of(sequences: readonly Sequence[], ids: BigInt64Array): Promise<Record<string, OrtTensor>> {
    const { config } = this.#sight.checkpoint;
    const images = sequences.flatMap((sequence) => sequence.images ?? []);
    // Nothing is taken of a blank one: a reshape can't do with no image at all.
    const seen = images.length > 0 ? images : [this.#blank];
    const [taken, rows] = [featureRows(config, images.length), imageRows(config, ids)];
    return {
      ...(await this.#seen(seen)),
      feature_rows: new OrtTensor('int64', taken, [taken.length]),
      image_rows: new OrtTensor('int64', rows, [rows.length]),
    };
  }

  async release(): Promise<void> {
    await this.#tower?.release();
  }

  async #seen(images: readonly SequenceImage[]): Promise<Record<string, OrtTensor>> {
    const { vision } = this.#sight.checkpoint.config;
    if (!this.#tower) return { pixels: await stackPixels(images, vision) };
    const shape = [images.length * (patchCount(vision) + 1), vision.hiddenSize];
    return { tower_hidden: new OrtTensor('float32', await this.#tower.hidden(images), shape) };
  }

  get #blank(): SequenceImage {
    const { channels, imageSize } = this.#sight.checkpoint.config.vision;
    return { key: '', pixels: () => new Float32Array(channels * imageSize ** 2) };
  }
}
