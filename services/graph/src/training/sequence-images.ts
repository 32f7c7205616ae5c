import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { VisionTowerConfig } from '../models/clip-config.ts';
import { imageTokenCount } from '../models/llava.ts';
import type { LlavaConfig } from '../models/llava-config.ts';
import { BatchError } from './check-batch.ts';
import { IGNORED, type Sequence } from './packing.ts';

/** An image of a sequence. */
export interface SequenceImage {
  /** Equal for equal pixels alone, such as a digest. */
  key: string;
  /** [channels, imageSize, imageSize], normalised; not asked for where what comes of them is known. */
  pixels(): Float32Array | Promise<Float32Array>;
}

/** Pixels of all images as one tensor [I, channels, imageSize, imageSize]. @throws BatchError for another size */
export async function stackPixels(
  images: readonly SequenceImage[],
  { channels, imageSize }: VisionTowerConfig,
): Promise<OrtTensor> {
  const size = channels * imageSize ** 2;
  const stacked = new Float32Array(images.length * size);
  for (const [i, image] of images.entries()) {
    const pixels = await image.pixels();
    if (pixels.length !== size)
      throw new BatchError(
        `an image has ${pixels.length} values; the tower reads ${channels} x ${imageSize} x ${imageSize}`,
      );
    stacked.set(pixels, i * size);
  }
  return new OrtTensor('float32', stacked, [images.length, channels, imageSize, imageSize]);
}

/**
 * A sequence in which each image token stands as often as an image takes tokens. Nothing is learnt from them.
 * @param sequence with one image token for each image
 */
export function withImagePlaces(config: LlavaConfig, sequence: Sequence): Sequence {
  const count = imageTokenCount(config);
  const ids: number[] = [];
  const labels: number[] = [];
  for (let i = 0; i < sequence.ids.length; i++) {
    const id = sequence.ids[i]!;
    const isImage = id === config.imageToken;
    for (let n = 0; n < (isImage ? count : 1); n++) {
      ids.push(id);
      labels.push(isImage ? IGNORED : sequence.labels[i]!);
    }
  }
  return { ...sequence, ids, labels };
}

/**
 * Rows of a packed batch in which images stand.
 * @param ids of all sequences, one after the other
 * @returns int64 [R]
 */
export function imageRows(config: LlavaConfig, ids: BigInt64Array): BigInt64Array {
  const token = BigInt(config.imageToken);
  const rows: bigint[] = [];
  for (let row = 0; row < ids.length; row++) if (ids[row] === token) rows.push(BigInt(row));
  return BigInt64Array.from(rows);
}

/** @throws BatchError for a sequence whose image tokens are not those of its images, or that learns to say them */
export function checkImages(config: LlavaConfig, sequences: readonly Sequence[]): void {
  const each = imageTokenCount(config);
  for (const [s, { ids, labels, images = [] }] of sequences.entries()) {
    let places = 0;
    for (let i = 0; i < ids.length; i++) {
      if (labels[i] === config.imageToken)
        throw new BatchError(`sequence ${s} of the batch has an image token as a label at ${i}`);
      if (ids[i] === config.imageToken) places++;
    }
    if (places !== images.length * each)
      throw new BatchError(
        `sequence ${s} of the batch has ${places} image tokens and ${images.length} images of ${each} tokens`,
      );
  }
}
