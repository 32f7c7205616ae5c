/**
 * What the image processors of transformers.js make of one image, and what stands for it in a prompt. The texts are those
 * of transformers' processors (processing_llava, _idefics3, _qwen2_vl, _paligemma, _florence2).
 */

import { cat, type ImageProcessor, type RawImage, Tensor } from '@huggingface/transformers';
import type { ExportedVision, FamilyName } from './transformersjs-families.ts';

/** One image as a model's graphs take it. */
export interface Looked {
  /** Inputs of the graphs, by their names. */
  tensors: Record<string, Tensor>;
  /** What stands in its place in the prompt. */
  text: string;
  /** Tokens that it takes outside of the prompt's text. */
  outside: number;
}

/** What processors may answer, as far as it is read here. */
interface Processed {
  pixel_values: Tensor;
  pixel_attention_mask?: Tensor;
  image_grid_thw?: Tensor;
  rows?: number[][];
  cols?: number[][];
}

/** @param whole not in parts, where the model takes parts */
type Look = (process: Process, image: RawImage, vision: ExportedVision, whole: boolean) => Promise<Looked>;
type Process = (image: RawImage, options?: object) => Promise<Processed>;

/** Dimension along which a prompt's images follow one another in each tensor. */
const ALONG: Partial<Record<FamilyName, number>> = { smolvlm: 1, idefics3: 1 };

/** The image alone: the processors of some models would take several for frames of one film. */
export async function look(
  processor: ImageProcessor,
  image: RawImage,
  vision: ExportedVision,
  whole: boolean,
): Promise<Looked> {
  const process: Process = async (raw, options = {}) =>
    (await (processor as unknown as (images: RawImage[], options: object) => Promise<unknown>)(
      [raw],
      options,
    )) as Processed;
  return LOOKS[vision.family](process, image, vision, whole);
}

/** The tensors of a prompt's images as one. */
export function joined(looked: readonly Looked[], family: FamilyName): Record<string, Tensor> {
  const names = Object.keys(looked[0]?.tensors ?? {});
  const along = ALONG[family] ?? 0;
  return Object.fromEntries(
    names.map((name) => {
      const parts = looked.map(({ tensors }) => tensors[name]!);
      return [name, parts.length === 1 ? parts[0]! : cat(parts, along)];
    }),
  );
}

/** As many tokens as the tower cuts patches. */
const patches: Look = async (process, image, { token, patchSize, additionalTokens }) => {
  const { pixel_values } = await process(image);
  if (!patchSize) throw new Error('neither processor_config.json nor config.json says patch_size');
  const [height, width] = pixel_values.dims.slice(-2) as [number, number];
  const count = Math.floor(height / patchSize) * Math.floor(width / patchSize) + additionalTokens;
  return { tensors: { pixel_values }, text: token.repeat(count), outside: 0 };
};

/** In tiles, row by row, and once as a whole; each takes as many tokens. */
const tiles: Look = async (process, image, { token, sequenceLength }, whole) => {
  const options = { return_row_col_info: true, ...(whole ? { do_image_splitting: false } : {}) };
  const { pixel_values, pixel_attention_mask, rows = [], cols = [] } = await process(image, options);
  if (!sequenceLength) throw new Error('processor_config.json does not say image_seq_len');
  const around = '<fake_token_around_image>';
  const own = token.repeat(sequenceLength);
  const [down = 0, across = 0] = [rows[0]?.[0], cols[0]?.[0]];
  let text = '';
  for (let row = 1; row <= down; row++) {
    for (let column = 1; column <= across; column++) text += `${around}<row_${row}_col_${column}>${own}`;
    text += '\n';
  }
  if (text !== '') text += '\n';
  text += `${around}<global-img>${own}${around}`;
  return {
    tensors: { pixel_values, ...(pixel_attention_mask ? { pixel_attention_mask } : {}) },
    text,
    outside: 0,
  };
};

/** At a size of its own: a token for every square of patches that the tower merges. */
const grid: Look = async (process, image, { token, mergeSize }) => {
  const { pixel_values, image_grid_thw } = await process(image);
  const places = (image_grid_thw!.data as BigInt64Array).reduce((product, n) => product * n, 1n);
  const text = token.repeat(Math.floor(Number(places) / mergeSize ** 2));
  return { tensors: { pixel_values, image_grid_thw: image_grid_thw! }, text, outside: 0 };
};

/** Always equally many tokens, in the text or outside of it. */
const fixed: Look = async (process, image, { token, sequenceLength }) => {
  const { pixel_values } = await process(image);
  if (!sequenceLength) throw new Error('preprocessor_config.json does not say image_seq_length');
  return {
    tensors: { pixel_values },
    text: token.repeat(sequenceLength),
    outside: token === '' ? sequenceLength : 0,
  };
};

const LOOKS: Record<FamilyName, Look> = {
  llava: patches,
  llava_onevision: patches,
  smolvlm: tiles,
  idefics3: tiles,
  qwen2_vl: grid,
  paligemma: fixed,
  florence2: fixed,
};

/** A tensor as threads pass it on. */
export interface PlainTensor {
  type: string;
  dims: number[];
  data: Float32Array | BigInt64Array | Uint8Array;
}

export function plainTensor({ type, dims, data }: Tensor): PlainTensor {
  const plain = data as PlainTensor['data'];
  // A part of a larger memory, or one that others hold too, can't go over.
  const own = plain.byteLength === plain.buffer.byteLength ? plain : plain.slice();
  return { type, dims: [...dims], data: own };
}

export function tensorOf({ type, dims, data }: PlainTensor): Tensor {
  return new Tensor(type as Tensor['type'], data as never, dims);
}
