import { readFileSync } from 'node:fs';

/** What texts are told apart by; the names are stable, policies keep them. */
export const CATEGORIES = ['violence', 'self_harm', 'sexual', 'hate', 'illegal_goods', 'fraud'] as const;
export type Category = (typeof CATEGORIES)[number];

/** Logistic regressions over hashed features, one a category, that share one table. */
export interface CategoryModel {
  /** Features that are told apart: 2 ^ bits. */
  readonly bits: number;
  /** [2 ^ bits, categories], whole numbers of `scales`. */
  readonly weights: Int8Array;
  /** What a weight of 1 adds to a category's logit. */
  readonly scales: readonly number[];
  readonly biases: readonly number[];
}

/** Row of a feature. */
export const rowOf = (feature: number, bits: number): number => feature >>> (32 - bits);

let loaded: CategoryModel | undefined;

/** The model of this package (how it was made: `deploy/src/category-model`). It is read when it is needed first. */
export function categoryModel(): CategoryModel {
  loaded ??= readCategoryModel(new URL('../data/', import.meta.url));
  return loaded;
}

/** A folder of `categories.json` and `categories.bin`. */
export function readCategoryModel(folder: URL): CategoryModel {
  const { categories, bits, scales, biases } = JSON.parse(
    readFileSync(new URL('categories.json', folder), 'utf8'),
  ) as Omit<CategoryModel, 'weights'> & { categories: readonly string[] };
  const bytes = readFileSync(new URL('categories.bin', folder));
  const weights = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  if (categories.join() !== CATEGORIES.join() || weights.length !== CATEGORIES.length << bits)
    throw new Error('categories.bin and categories.json do not belong together; make the model again');
  return { bits, weights, scales, biases };
}
