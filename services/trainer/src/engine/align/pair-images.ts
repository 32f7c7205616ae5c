import { readFile } from 'node:fs/promises';
import { augment, SMALL_CHANGES } from '@landfall/graph/vision/augment.ts';
import {
  type ImageProcessor,
  normalised,
  openImageProcessor,
  resized,
} from '@landfall/graph/vision/image-processor.ts';
import type { Pixels } from '@landfall/graph/vision/resample.ts';
import { decodeImage } from '@landfall/images/decode.ts';
import type { ExampleImage } from '../data/example.ts';

/** Of images that are kept in the size that they are cut from: 512 MiB, some 3,000 of 224 x 224. */
const KEPT_BYTES = 512 * 2 ** 20;

/** What a tower sees of a data set's images. */
export class PairImages {
  readonly #processor: ImageProcessor;
  readonly #keptBytes: number;
  /** By digest. Epochs go through all images in turn, so the first ones stay rather than the last. */
  readonly #kept = new Map<string, Pixels>();
  #bytes = 0;

  /** @param folder of the model @throws CheckpointError for an image processor that does not fit the tower */
  constructor(folder: string, imageSize: number, keptBytes = KEPT_BYTES) {
    this.#processor = openImageProcessor(folder, imageSize);
    this.#keptBytes = keptBytes;
  }

  /**
   * @param change decides how the image is changed a little; absent it is shown as it is
   * @returns [3, imageSize, imageSize], normalised
   */
  async pixels(
    image: ExampleImage,
    change?: { random: () => number; keepSides: boolean },
  ): Promise<Float32Array> {
    const sized = await this.#sized(image);
    if (!change) return normalised(this.#processor, sized);
    const changes = { ...SMALL_CHANGES, flip: !change.keepSides };
    return normalised(this.#processor, augment(sized, changes, change.random));
  }

  async #sized({ file, digest }: ExampleImage): Promise<Pixels> {
    const known = this.#kept.get(digest);
    if (known) return known;
    const { width, height, rgb } = await decodeImage(await readFile(file));
    const sized = resized(this.#processor, { width, height, channels: 3, data: rgb });
    if (this.#bytes + sized.data.byteLength <= this.#keptBytes) {
      this.#bytes += sized.data.byteLength;
      this.#kept.set(digest, sized);
    }
    return sized;
  }
}
