import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError } from '../checkpoint/errors.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';
import type { Json } from '../models/config.ts';
import { type Filter, type Pixels, resize } from './resample.ts';

/** What a preprocessor_config.json says is done to an image before a tower sees it. */
export interface ImageProcessor {
  /** Pixels that the shorter side gets, or both sides; undefined where nothing is resized. */
  resize: { shortest: number } | { width: number; height: number } | undefined;
  filter: Filter;
  /** What is cut out of the middle; undefined for all. */
  crop: { width: number; height: number } | undefined;
  /** What a value is multiplied with first. */
  rescale: number;
  /** By channel. */
  mean: readonly number[];
  std: readonly number[];
}

/** By the numbers that Pillow has for them. */
const RESAMPLE: Record<number, Filter> = { 1: 'lanczos', 2: 'bilinear', 3: 'bicubic' };

/** CLIP's own, of the images that it was trained on. */
const MEAN = [0.48145466, 0.4578275, 0.40821073];
const STD = [0.26862954, 0.26130258, 0.27577711];

/**
 * Reads a preprocessor_config.json as transformers does.
 * @throws CheckpointError that names what is wrong or not supported
 */
export function readImageProcessor(json: Json): ImageProcessor {
  const number = (json.resample ?? 3) as number;
  const filter = RESAMPLE[number];
  if (!filter)
    throw new CheckpointError(
      `preprocessor_config.json: resample ${String(number)} is not supported; 1 (lanczos), 2 (bilinear), 3 (bicubic) are`,
    );
  const size = json.do_resize === false ? undefined : sizeOf(json.size ?? 224, 'size');
  const crop = json.do_center_crop === false ? undefined : sizeOf(json.crop_size ?? 224, 'crop_size');
  if (crop && 'shortest' in crop)
    throw new CheckpointError('preprocessor_config.json: crop_size must have height and width');
  const normal = json.do_normalize !== false;
  return {
    // A number alone is the shorter side's.
    resize:
      size && typeof (json.size ?? 224) === 'number' ? { shortest: sideOf(json.size ?? 224, 'size') } : size,
    filter,
    crop,
    rescale: json.do_rescale === false ? 1 : positive(json.rescale_factor ?? 1 / 255, 'rescale_factor'),
    mean: normal ? channels(json.image_mean ?? MEAN, 'image_mean') : [0, 0, 0],
    std: normal
      ? channels(json.image_std ?? STD, 'image_std').map((one) => positive(one, 'image_std'))
      : [1, 1, 1],
  };
}

/**
 * What a model folder says of image processing: preprocessor_config.json, or what stands for it in processor_config.json,
 * or else CLIP's own for the tower's size.
 * @param imageSize pixels of a side that the tower takes
 * @throws CheckpointError that names what is wrong, not supported, or does not fit the tower
 */
export function openImageProcessor(folder: string, imageSize: number): ImageProcessor {
  const processor = readImageProcessor(processorJson(folder, imageSize));
  const { crop, resize } = processor;
  const size = crop ?? (resize && 'width' in resize ? resize : undefined);
  if (size?.width !== imageSize || size.height !== imageSize)
    throw new CheckpointError(
      `preprocessor_config.json makes no images of ${imageSize} x ${imageSize} pixels, which the tower takes`,
    );
  return processor;
}

function processorJson(folder: string, imageSize: number): Json {
  if (existsSync(join(folder, 'preprocessor_config.json')))
    return readJsonObject(folder, 'preprocessor_config.json');
  if (existsSync(join(folder, 'processor_config.json'))) {
    const { image_processor: json } = readJsonObject(folder, 'processor_config.json');
    if (typeof json === 'object' && json !== null) return json as Json;
  }
  return { size: { shortest_edge: imageSize }, crop_size: { width: imageSize, height: imageSize } };
}

/**
 * What a tower sees of an image.
 * @param image upright, 3 channels
 * @returns [3, height, width]
 */
export function pixelValues(processor: ImageProcessor, image: Pixels): Float32Array {
  const size = resizedSize(processor, image);
  const { width, height } = processor.crop ?? size;
  // Where the cut is larger than the image, black stands around it.
  const left = Math.floor((size.width - width) / 2);
  const top = Math.floor((size.height - height) / 2);
  const [seenLeft, seenTop] = [Math.max(0, left), Math.max(0, top)];
  const window = {
    ...{ left: seenLeft, width: Math.min(size.width, left + width) - seenLeft },
    ...{ top: seenTop, height: Math.min(size.height, top + height) - seenTop },
  };
  const { data } = resize(image, size.width, size.height, processor.filter, window);
  const values = new Float32Array(3 * height * width);
  for (let c = 0; c < 3; c++) {
    const table = valuesOfBytes(processor, c);
    if (window.width < width || window.height < height)
      values.fill(table[0]!, c * height * width, (c + 1) * height * width);
    for (let y = 0; y < window.height; y++) {
      let from = y * window.width * 3 + c;
      let to = (c * height + y + seenTop - top) * width + seenLeft - left;
      for (let x = 0; x < window.width; x++, from += 3) values[to++] = table[data[from]!]!;
    }
  }
  return values;
}

/** The image in the size that it is cut from: the first half of `pixelValues`. */
export function resized(processor: ImageProcessor, image: Pixels): Pixels {
  const { width, height } = resizedSize(processor, image);
  return resize(image, width, height, processor.filter);
}

/** The second half of `pixelValues`: cut out of the middle and normalised. @param sized as `resized` gives it */
export function normalised(processor: ImageProcessor, sized: Pixels): Float32Array {
  return pixelValues({ ...processor, resize: undefined }, sized);
}

/** What each byte of a channel becomes: [256]. */
function valuesOfBytes({ rescale, mean, std }: ImageProcessor, channel: number): Float32Array {
  return Float32Array.from({ length: 256 }, (_, byte) => (byte * rescale - mean[channel]!) / std[channel]!);
}

function resizedSize({ resize: wanted }: ImageProcessor, { width, height }: Pixels) {
  if (!wanted) return { width, height };
  if ('width' in wanted) return wanted;
  const short = Math.min(width, height);
  const long = (side: number) => Math.trunc((wanted.shortest * side) / short);
  return width < height
    ? { width: wanted.shortest, height: long(height) }
    : { width: long(width), height: wanted.shortest };
}

function sizeOf(value: unknown, name: string): { shortest: number } | { width: number; height: number } {
  if (typeof value === 'number') return { width: sideOf(value, name), height: sideOf(value, name) };
  if (typeof value !== 'object' || value === null)
    throw new CheckpointError(`preprocessor_config.json: ${name} must be a number or an object`);
  const { shortest_edge: shortest, width, height, longest_edge: longest } = value as Json;
  if (longest !== undefined)
    throw new CheckpointError(`preprocessor_config.json: ${name}.longest_edge is not supported`);
  if (shortest !== undefined) return { shortest: sideOf(shortest, `${name}.shortest_edge`) };
  return { width: sideOf(width, `${name}.width`), height: sideOf(height, `${name}.height`) };
}

function sideOf(value: unknown, name: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > 16_384)
    throw new CheckpointError(`preprocessor_config.json: ${name} must be a whole number from 1 to 16384`);
  return value as number;
}

function positive(value: unknown, name: string): number {
  if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value))
    throw new CheckpointError(`preprocessor_config.json: ${name} must be above 0`);
  return value;
}

function channels(value: unknown, name: string): number[] {
  if (!Array.isArray(value) || value.length !== 3 || !value.every((one) => Number.isFinite(one)))
    throw new CheckpointError(`preprocessor_config.json: ${name} must be three numbers`);
  return value as number[];
}
