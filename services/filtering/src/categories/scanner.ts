import { CATEGORIES, type Category, type CategoryModel, categoryModel, rowOf } from './model.ts';
import { UnitReader, type UnitSink } from './reader.ts';

/** Length of what is looked at together: about three sentences. */
const WINDOW = 48;
/** Units in a window at most, as a power of two. */
const RING = 64;
const COUNT = CATEGORIES.length;

/**
 * Called with each part of a text once it is read: the place behind it, and how likely it is of each category, from 0 to
 * 1, in the order of CATEGORIES. The scores are written over for the next part. Where it returns true the part is dealt with,
 * and what comes next is not judged together with it.
 */
export type PartSink = (end: number, scores: Float64Array) => boolean;

/**
 * Tells what parts of a text are of a category. A part is a sentence, or what is long of one; it is judged by itself and
 * together with what stands before it, within a window. However a text comes in pieces, its parts and their scores are
 * the same; each character costs the same.
 */
export class CategoryScanner implements UnitSink {
  readonly #model: CategoryModel;
  readonly #found: PartSink;
  readonly #reader = new UnitReader(this);
  readonly #scores = new Float64Array(COUNT);
  /** Sums of weights of all units so far; they wrap around, and so do their differences. */
  readonly #sums = new Int32Array(COUNT);
  readonly #sentence = new Int32Array(COUNT);
  /** Sums before each unit of the window, and the unit's length. */
  readonly #before = new Int32Array(RING * COUNT);
  readonly #lengths = new Uint8Array(RING);
  #first = 0;
  #next = 0;
  #length = 0;
  #sentenceFirst = 0;

  constructor(found: PartSink, model: CategoryModel = categoryModel()) {
    this.#found = found;
    this.#model = model;
  }

  push(text: string): void {
    this.#reader.push(text);
  }

  /** No more comes: what is left is a part. */
  end(): void {
    this.#reader.end();
  }

  unit(features: Uint32Array, count: number, length: number): void {
    const { weights, bits } = this.#model;
    const sums = this.#sums;
    const slot = this.#next % RING;
    this.#before.set(sums, slot * COUNT);
    this.#lengths[slot] = length;
    this.#next++;
    this.#length += length;
    while (this.#length > WINDOW) this.#length -= this.#lengths[this.#first++ % RING]!;
    for (let i = 0; i < count; i++) {
      const row = rowOf(features[i]!, bits) * COUNT;
      for (let k = 0; k < COUNT; k++) sums[k]! += weights[row + k]!;
    }
  }

  part(end: number, sentence: boolean): void {
    const { scales, biases } = this.#model;
    const window = this.#next === this.#first ? -1 : (this.#first % RING) * COUNT;
    const long = this.#sentenceFirst < this.#first;
    for (let k = 0; k < COUNT; k++) {
      const sum = this.#sums[k]!;
      const together = window < 0 ? 0 : (sum - this.#before[window + k]!) | 0;
      const alone = long ? together : (sum - this.#sentence[k]!) | 0;
      const logit = biases[k]! + scales[k]! * Math.max(together, alone);
      this.#scores[k] = 1 / (1 + Math.exp(-logit));
    }
    const dealtWith = this.#found(end, this.#scores);
    if (dealtWith) {
      this.#first = this.#next;
      this.#length = 0;
    }
    if (sentence || dealtWith) {
      this.#sentence.set(this.#sums);
      this.#sentenceFirst = this.#next;
    }
  }
}

/** How likely a text has something of each category in it, from 0 to 1. */
export function classify(text: string, model?: CategoryModel): Record<Category, number> {
  const most = new Float64Array(COUNT);
  const scanner = new CategoryScanner((_, scores) => {
    for (let k = 0; k < COUNT; k++) most[k] = Math.max(most[k]!, scores[k]!);
    return false;
  }, model);
  scanner.push(text);
  scanner.end();
  return Object.fromEntries(CATEGORIES.map((name, k) => [name, most[k]!])) as Record<Category, number>;
}
