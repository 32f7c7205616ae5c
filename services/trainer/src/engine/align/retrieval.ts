import type { PairKeys } from '@landfall/graph/training/pair-targets.ts';

/** Where a class's name stands in a template. */
export const LABEL_PLACE = '{label}';
/** As Radford et al. 2021 ask for a class. */
export const DEFAULT_CLASS_TEMPLATES = [`a photo of a ${LABEL_PLACE}.`];

/** Vectors of length 1, one behind the other. */
export interface Vectors {
  size: number;
  values: Float32Array;
}

/** What was found of held-out pairs, by the names of the contract. */
export interface Retrieval {
  images: number;
  texts: number;
  imageToTextRecallAt1: number;
  imageToTextRecallAt5: number;
  imageToTextRecallAt10: number;
  textToImageRecallAt1: number;
  textToImageRecallAt5: number;
  textToImageRecallAt10: number;
  classes: number;
  zeroShotAccuracy: number;
}

/** Different images and texts of pairs, and which belong together. */
export interface Candidates {
  /** Indices of the pairs that each image, and each text, comes first in. */
  images: number[];
  texts: number[];
  /** By image, indices in `texts`; by text, indices in `images`. */
  textsOf: number[][];
  imagesOf: number[][];
}

/** Each different image and text once. */
export function candidatesOf(pairs: readonly PairKeys[]): Candidates {
  const [images, texts] = [new Map<string, number>(), new Map<string, number>()];
  const found: Candidates = { images: [], texts: [], textsOf: [], imagesOf: [] };
  for (const [row, pair] of pairs.entries()) {
    let image = images.get(pair.image);
    if (image === undefined) {
      image = found.images.push(row) - 1;
      images.set(pair.image, image);
      found.textsOf.push([]);
    }
    let text = texts.get(pair.text);
    if (text === undefined) {
      text = found.texts.push(row) - 1;
      texts.set(pair.text, text);
      found.imagesOf.push([]);
    }
    if (!found.textsOf[image]!.includes(text)) found.textsOf[image]!.push(text);
    if (!found.imagesOf[text]!.includes(image)) found.imagesOf[text]!.push(image);
  }
  return found;
}

/**
 * For each query, how many candidates that do not belong to it are at least as near as the nearest that does. A model
 * that finds all alike finds nothing.
 * @param belongs by query, indices of candidates
 */
export function ranks(
  queries: Vectors,
  candidates: Vectors,
  belongs: readonly (readonly number[])[],
): number[] {
  const count = candidates.values.length / candidates.size;
  const near = new Float64Array(count);
  return belongs.map((own, query) => {
    for (let i = 0; i < count; i++) near[i] = product(queries, query, candidates, i);
    const best = own.reduce((most, i) => Math.max(most, near[i]!), Number.NEGATIVE_INFINITY);
    const mine = new Set(own);
    let nearer = 0;
    for (let i = 0; i < count; i++) if (!mine.has(i) && !(near[i]! < best)) nearer++;
    return nearer;
  });
}

/** Share of queries of such a rank within the first k. */
export const recallAt = (ranks: readonly number[], k: number): number =>
  ranks.filter((rank) => rank < k).length / ranks.length;

/** Ranks of what belongs to each query, by which versions are compared query by query. */
export interface RetrievalRanks {
  /** By different image, among texts. */
  images: number[];
  /** By different text, among images. */
  texts: number[];
  /** By labelled image, among classes; empty without classes. */
  labels: number[];
}

/** Ranks within embedded candidates. @param labels by `classRanks` */
export const retrievalRanks = (
  found: Candidates,
  images: Vectors,
  texts: Vectors,
  labels: number[],
): RetrievalRanks => ({
  images: ranks(images, texts, found.textsOf),
  texts: ranks(texts, images, found.imagesOf),
  labels,
});

/** What ranks come to. @param classes how many there are */
export function retrievalScores({ images, texts, labels }: RetrievalRanks, classes: number): Retrieval {
  return {
    images: images.length,
    texts: texts.length,
    imageToTextRecallAt1: recallAt(images, 1),
    imageToTextRecallAt5: recallAt(images, 5),
    imageToTextRecallAt10: recallAt(images, 10),
    textToImageRecallAt1: recallAt(texts, 1),
    textToImageRecallAt5: recallAt(texts, 5),
    textToImageRecallAt10: recallAt(texts, 10),
    classes,
    zeroShotAccuracy: labels.length === 0 ? 0 : recallAt(labels, 1),
  };
}

/**
 * For each labelled image, how many other classes are at least as near as its own; of rank 0 it is taken for what it is.
 * @param labels by image, empty for none
 * @param classes vectors of the classes, in the order of their names
 * @returns nothing where there are fewer than two classes
 */
export function classRanks(
  images: Vectors,
  labels: readonly string[],
  names: readonly string[],
  classes: Vectors,
): number[] {
  const labelled = labels.flatMap((label, image) => (label === '' ? [] : [image]));
  if (labelled.length === 0 || names.length < 2) return [];
  const rows = Float32Array.from(labelled.flatMap((image) => [...vectorAt(images, image)]));
  const own = labelled.map((image) => [names.indexOf(labels[image]!)]);
  return ranks({ size: images.size, values: rows }, classes, own);
}

/** Means of vectors that stand for one thing, of length 1 again. @param each how many stand for one */
export function meanVectors({ size, values }: Vectors, each: number): Vectors {
  const means = new Float32Array(values.length / each);
  for (let i = 0; i < values.length; i++)
    means[Math.floor(i / (size * each)) * size + (i % size)]! += values[i]!;
  for (let at = 0; at < means.length; at += size) {
    const own = means.subarray(at, at + size);
    const length = Math.hypot(...own) || 1;
    for (let i = 0; i < size; i++) own[i]! /= length;
  }
  return { size, values: means };
}

const vectorAt = ({ size, values }: Vectors, i: number) => values.subarray(i * size, (i + 1) * size);

function product(a: Vectors, i: number, b: Vectors, j: number): number {
  let sum = 0;
  for (let k = 0; k < a.size; k++) sum += a.values[i * a.size + k]! * b.values[j * b.size + k]!;
  return sum;
}
