import { CATEGORIES, type CategoryModel, rowOf } from '@landfall/filtering/categories/model.ts';
import { UnitReader } from '@landfall/filtering/categories/reader.ts';
import type { Random } from '../base-model/random.ts';

/** Rows of the table, as a power of two: with six categories 1.5 MB. */
export const BITS = 18;
const COUNT = CATEGORIES.length;
/** Length of what is learnt as one: the window that a scanner looks at. */
const WINDOW = 48;
const RATE = 0.15;
/** Share of a window's features that are left out, so that no few of them carry it all. */
const DROPOUT = 0.4;
const DECAY = 2e-5;
/** Features in fewer windows tell of one text, not of a category. */
const FEWEST = 3;
const LARGEST = 127;

/** A window of a text, and its category's index; -1 for none. */
export interface Row {
  features: Uint32Array;
  category: number;
}

/** A text's windows, each as the table's rows of its features. */
export function rowsOf(text: string): Uint32Array[] {
  const windows: Uint32Array[] = [];
  let features: number[] = [];
  let length = 0;
  const cut = () => {
    if (features.length > 0) windows.push(Uint32Array.from(features));
    features = [];
    length = 0;
  };
  const reader = new UnitReader({
    unit(found, count, size) {
      if (length + size > WINDOW) cut();
      length += size;
      for (let i = 0; i < count; i++) features.push(rowOf(found[i]!, BITS));
    },
    part() {},
  });
  reader.push(text);
  reader.end();
  cut();
  return windows;
}

export interface LearnOptions {
  epochs: number;
  random: Random;
  log: (line: string) => void;
}

/** One logistic regression a category, by AdaGrad (Duchi et al. 2011) with dropout of features, rounded to eight bits. */
export function learn(
  rows: readonly Row[],
  { epochs, random, log }: LearnOptions,
): Omit<CategoryModel, 'bits'> {
  const weights = new Float32Array(COUNT << BITS);
  const squares = new Float32Array(COUNT << BITS).fill(1e-2);
  const biases = new Array<number>(COUNT).fill(-2);
  const biasSquares = new Array<number>(COUNT).fill(1);
  const frequent = often(rows);
  const logits = new Float64Array(COUNT);
  for (let epoch = 0; epoch < epochs; epoch++) {
    let loss = 0;
    for (const { features, category } of random.shuffle([...rows])) {
      const kept = features.filter((row) => frequent[row] === 1 && random.next() >= DROPOUT);
      logits.set(biases);
      for (const row of kept)
        for (let k = 0; k < COUNT; k++) logits[k]! += weights[row * COUNT + k]! / (1 - DROPOUT);
      for (let k = 0; k < COUNT; k++) {
        const wanted = category === k ? 1 : 0;
        const said = 1 / (1 + Math.exp(-logits[k]!));
        loss -= Math.log(Math.max(1e-9, wanted === 1 ? said : 1 - said));
        const slope = said - wanted;
        biasSquares[k]! += slope * slope;
        biases[k]! -= (RATE * slope) / Math.sqrt(biasSquares[k]!);
        if (Math.abs(slope) < 1e-4) continue;
        for (const row of kept) {
          const at = row * COUNT + k;
          const gradient = slope + DECAY * weights[at]!;
          squares[at]! += gradient * gradient;
          weights[at]! -= (RATE * gradient) / Math.sqrt(squares[at]!);
        }
      }
    }
    log(`epoch ${epoch + 1}: loss ${(loss / rows.length).toFixed(4)}`);
  }
  return rounded(weights, biases);
}

function often(rows: readonly Row[]): Uint8Array {
  const windows = new Uint32Array(1 << BITS);
  for (const { features } of rows) for (const row of new Set(features)) windows[row]!++;
  return Uint8Array.from(windows, (count) => (count >= FEWEST ? 1 : 0));
}

function rounded(weights: Float32Array, biases: number[]): Omit<CategoryModel, 'bits'> {
  const scales = biases.map((_, k) => {
    let most = 0;
    for (let at = k; at < weights.length; at += COUNT) most = Math.max(most, Math.abs(weights[at]!));
    return Number((most / LARGEST).toPrecision(6));
  });
  return {
    weights: Int8Array.from(weights, (weight, at) => Math.round(weight / scales[at % COUNT]!)),
    scales,
    biases: biases.map((bias) => Number(bias.toPrecision(6))),
  };
}
