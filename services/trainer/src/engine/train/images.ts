import { readFile } from 'node:fs/promises';
import type { LlavaCheckpoint } from '@landfall/graph/checkpoint/vision.ts';
import type { Sequence as GraphSequence } from '@landfall/graph/training/packing.ts';
import { openImageProcessor, pixelValues } from '@landfall/graph/vision/image-processor.ts';
import { decodeImage } from '@landfall/images/decode.ts';
import type { Sequence } from '../data/encode.ts';

/** A row as a training graph takes it. */
export type AsInput = (sequence: Sequence) => GraphSequence;

export const withoutImages: AsInput = ({ inputIds, labels }) => ({ ids: inputIds, labels });

/** Rows with what the model's own processor makes of their images; read when a tower asks for them. */
export function withImages({ folder, config }: LlavaCheckpoint): AsInput {
  const processor = openImageProcessor(folder, config.vision.imageSize);
  const pixels = async (file: string) => {
    const { width, height, rgb } = await decodeImage(await readFile(file));
    return pixelValues(processor, { width, height, channels: 3, data: rgb });
  };
  return ({ inputIds, labels, images = [] }) => ({
    ids: inputIds,
    labels,
    images: images.map(({ file, digest }) => ({ key: digest, pixels: () => pixels(file) })),
  });
}
