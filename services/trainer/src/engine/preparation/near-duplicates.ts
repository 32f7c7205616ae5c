const HASHES = 128;
/** Rows of one bucket that a new one is compared with at most: a boilerplate must not make the work quadratic. */
const COMPARED = 64;
/** Chance that a pair at the threshold is seen. */
const RECALL = 0.999;

/** Shingles of a text as 32-bit hashes, sorted and different. */
export type Shingles = Uint32Array;

/**
 * Overlapping parts of a text, without regard to case, width and blanks: of three characters where it is in Chinese,
 * Japanese or Korean, of five elsewhere. A shorter text is one part.
 */
export function shinglesOf(text: string): Shingles {
  const plain = normalise(text);
  const size = /[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]/.test(plain) ? 3 : 5;
  const hashes = new Set<number>();
  for (let at = 0; at === 0 || at + size <= plain.length; at++) {
    // FNV-1a
    let hash = 0x811c9dc5;
    for (let i = at; i < Math.min(at + size, plain.length); i++)
      hash = Math.imul(hash ^ plain.charCodeAt(i), 0x01000193);
    hashes.add(hash >>> 0);
  }
  return Uint32Array.from(hashes).sort();
}

/** A text as it is compared: without regard to case, width, blanks and punctuation. */
export function normalise(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[\s\p{P}]+/gu, '');
}

/** Size of the intersection over that of the union. */
export function jaccard(a: Shingles, b: Shingles): number {
  let [i, j, common] = [0, 0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      common++;
      i++;
      j++;
    } else if (a[i]! < b[j]!) i++;
    else j++;
  }
  return common / (a.length + b.length - common);
}

/**
 * Finds texts that are nearly one that was added before: MinHash signatures (Broder 1997) in buckets by bands choose
 * whom to compare with, and the exact Jaccard similarity of the shingles decides.
 */
export class NearDuplicates {
  readonly #threshold: number;
  readonly #band: number;
  readonly #buckets: Map<string, number[]>[];
  readonly #texts: { id: number; shingles: Shingles }[] = [];

  /** @param threshold similarity from which two texts count as the same, above 0 and at most 1 */
  constructor(threshold: number) {
    this.#threshold = threshold;
    this.#band = bandWidth(threshold);
    this.#buckets = Array.from({ length: HASHES / this.#band }, () => new Map());
  }

  /** The id of the nearest text that is like this one, or undefined. */
  find(shingles: Shingles): number | undefined {
    const seen = new Set<number>();
    let [best, found] = [0, undefined as number | undefined];
    for (const [band, key] of this.#keys(shingles)) {
      for (const index of this.#buckets[band]!.get(key) ?? []) {
        if (seen.has(index)) continue;
        seen.add(index);
        const other = this.#texts[index]!;
        const similarity = jaccard(shingles, other.shingles);
        if (similarity >= this.#threshold && similarity > best) [best, found] = [similarity, other.id];
      }
    }
    return found;
  }

  add(id: number, shingles: Shingles): void {
    const index = this.#texts.push({ id, shingles }) - 1;
    for (const [band, key] of this.#keys(shingles)) {
      const bucket = this.#buckets[band]!.get(key);
      if (!bucket) this.#buckets[band]!.set(key, [index]);
      else if (bucket.length < COMPARED) bucket.push(index);
    }
  }

  *#keys(shingles: Shingles): Generator<[number, string]> {
    const signature = minHash(shingles);
    for (let band = 0; band < this.#buckets.length; band++) {
      yield [band, signature.subarray(band * this.#band, (band + 1) * this.#band).join()];
    }
  }
}

/** The widest band, so the fewest comparisons, with which a pair at the threshold still meets in one of them. */
function bandWidth(threshold: number): number {
  for (const width of [16, 8, 4, 2]) {
    if (1 - (1 - threshold ** width) ** (HASHES / width) >= RECALL) return width;
  }
  return 1;
}

/** Multipliers and additions of the hash functions, from a fixed generator (splitmix32). */
const FUNCTIONS = (() => {
  let state = 0x9e3779b9;
  const next = () => {
    state = (state + 0x9e3779b9) | 0;
    let x = state ^ (state >>> 16);
    x = Math.imul(x, 0x21f0aaad);
    x ^= x >>> 15;
    x = Math.imul(x, 0x735a2d97);
    return (x ^ (x >>> 15)) >>> 0;
  };
  return Array.from({ length: HASHES }, () => ({ multiplier: next() | 1, addend: next() }));
})();

/** For each hash function the least hash of a shingle [HASHES]. */
function minHash(shingles: Shingles): Uint32Array {
  return Uint32Array.from(FUNCTIONS, ({ multiplier, addend }) => {
    let least = 0xffffffff;
    for (let i = 0; i < shingles.length; i++) {
      let hash = Math.imul(shingles[i]! ^ addend, multiplier);
      // The high bits of a product are the good ones.
      hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
      if (hash < least) least = hash;
    }
    return least;
  });
}
