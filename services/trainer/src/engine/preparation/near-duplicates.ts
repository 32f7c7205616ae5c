import { jaccard, type Shingles } from './shingles.ts';

const HASHES = 128;
/** Texts of one bucket that a new one is compared with at most: a boilerplate must not make the work quadratic. */
const COMPARED = 64;
/** Exact comparisons of one text at most, the likeliest first. */
const VERIFIED = 16;
/** Chance that a pair at the threshold meets in a bucket; one a little above it meets almost surely. */
const RECALL = 0.99;
/** Sets parts apart within one signature. */
const PART = 0x9e3779b9;

/** A text of one or more parts (question and answer), ready to be compared. */
export interface Sketch {
  parts: readonly Shingles[];
  /** For each hash function the least hash of a shingle of all parts [HASHES]. */
  signature: Uint32Array;
}

/**
 * Finds texts that are nearly one that was added before: MinHash signatures (Broder 1997) in buckets by bands choose
 * whom to compare with, their lowest bytes (b-bit minwise hashing, Li and König 2010) sort out who is far off, and the
 * exact Jaccard similarity of each part decides. Holds about a kilobyte a text, however long it is.
 */
export class NearDuplicates {
  readonly #threshold: number;
  readonly #partsOf: (id: number) => readonly Shingles[];
  readonly #band: number;
  /** By band, from a band's hash to the texts with it. */
  readonly #buckets: Map<number, number | number[]>[];
  readonly #ids: number[] = [];
  /** Lowest bytes of signatures [texts, HASHES]. */
  #bytes = new Uint8Array(64 * HASHES);

  /**
   * @param threshold similarity from which two texts count as the same, above 0 and at most 1
   * @param partsOf the parts of a text that was added
   */
  constructor(threshold: number, partsOf: (id: number) => readonly Shingles[]) {
    this.#threshold = threshold;
    this.#partsOf = partsOf;
    this.#band = bandWidth(threshold);
    this.#buckets = Array.from({ length: HASHES / this.#band }, () => new Map());
  }

  /** The id of an added text of which every part is like this one's, or undefined. */
  find({ parts, signature }: Sketch): number | undefined {
    // Four standard deviations of an estimate below the threshold no pair that reaches it is lost.
    const t = this.#threshold;
    const least = Math.floor(HASHES * (t - 4 * Math.sqrt((t * (1 - t)) / HASHES)));
    const seen = new Set<number>();
    const candidates: { index: number; equal: number }[] = [];
    for (const [band, buckets] of this.#buckets.entries()) {
      const bucket = buckets.get(bandKey(signature, band * this.#band, this.#band));
      if (bucket === undefined) continue;
      for (const index of typeof bucket === 'number' ? [bucket] : bucket) {
        if (seen.has(index)) continue;
        seen.add(index);
        const equal = this.#equalBytes(index, signature);
        if (equal >= least) candidates.push({ index, equal });
      }
    }
    candidates.sort((a, b) => b.equal - a.equal || a.index - b.index);
    for (const { index } of candidates.slice(0, VERIFIED)) {
      const id = this.#ids[index]!;
      const others = this.#partsOf(id);
      if (parts.every((part, i) => jaccard(part, others[i]!) >= t)) return id;
    }
    return undefined;
  }

  add(id: number, { signature }: Sketch): void {
    const index = this.#ids.push(id) - 1;
    if ((index + 1) * HASHES > this.#bytes.length) {
      const grown = new Uint8Array(this.#bytes.length * 2);
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    for (let i = 0; i < HASHES; i++) this.#bytes[index * HASHES + i] = signature[i]! & 0xff;
    for (const [band, buckets] of this.#buckets.entries()) {
      const key = bandKey(signature, band * this.#band, this.#band);
      const bucket = buckets.get(key);
      if (bucket === undefined) buckets.set(key, index);
      else if (typeof bucket === 'number') buckets.set(key, [bucket, index]);
      else if (bucket.length < COMPARED) bucket.push(index);
    }
  }

  #equalBytes(index: number, signature: Uint32Array): number {
    let equal = 0;
    const offset = index * HASHES;
    for (let i = 0; i < HASHES; i++) if (this.#bytes[offset + i] === (signature[i]! & 0xff)) equal++;
    return equal;
  }
}

/** Takes 128 multiplications a shingle. */
export function sketchOf(parts: readonly Shingles[]): Sketch {
  const signature = new Uint32Array(HASHES).fill(0xffffffff);
  for (const [part, shingles] of parts.entries()) {
    for (let i = 0; i < shingles.length; i++) {
      const shingle = shingles[i]! ^ Math.imul(part, PART);
      for (let f = 0; f < HASHES; f++) {
        let hash = Math.imul(shingle ^ ADDENDS[f]!, MULTIPLIERS[f]!);
        // The high bits of a product are the good ones.
        hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
        hash = (hash ^ (hash >>> 13)) >>> 0;
        if (hash < signature[f]!) signature[f] = hash;
      }
    }
  }
  return { parts, signature };
}

/** A band of a signature in 31 bits; two bands that meet by chance cost one more comparison. */
function bandKey(signature: Uint32Array, start: number, width: number): number {
  let key = 0x811c9dc5;
  for (let i = start; i < start + width; i++) {
    key = Math.imul(key ^ signature[i]!, 0x01000193);
    key ^= key >>> 15;
  }
  return key & 0x7fffffff;
}

/** The widest band, so the fewest comparisons, with which a pair at the threshold still meets in one of them. */
function bandWidth(threshold: number): number {
  for (const width of [16, 8, 4, 2]) {
    if (1 - (1 - threshold ** width) ** (HASHES / width) >= RECALL) return width;
  }
  return 1;
}

/** Of the hash functions, from a fixed generator (splitmix32). */
const [MULTIPLIERS, ADDENDS] = (() => {
  let state = 0x9e3779b9;
  const next = () => {
    state = (state + 0x9e3779b9) | 0;
    let x = state ^ (state >>> 16);
    x = Math.imul(x, 0x21f0aaad);
    x ^= x >>> 15;
    x = Math.imul(x, 0x735a2d97);
    return (x ^ (x >>> 15)) >>> 0;
  };
  const numbers = Array.from({ length: 2 * HASHES }, next);
  return [
    Int32Array.from(numbers.slice(0, HASHES), (n) => n | 1),
    Int32Array.from(numbers.slice(HASHES), (n) => n | 0),
  ];
})();
