/** Overlapping parts of a text as 32-bit hashes, sorted and different. */
export type Shingles = Uint32Array;

/** Characters of Chinese, Japanese and Korean. */
const CJK = /[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]/;

/**
 * Overlapping parts of a text as it is compared: of three characters where it is in Chinese, Japanese or Korean, of five
 * elsewhere. A shorter text is one part.
 */
export function shinglesOf(text: string): Shingles {
  const plain = normalise(text);
  const size = CJK.test(plain) ? 3 : 5;
  const hashes = new Set<number>();
  for (let at = 0; at === 0 || at + size <= plain.length; at++) {
    // FNV-1a
    let hash = 0x811c9dc5;
    const end = Math.min(at + size, plain.length);
    for (let i = at; i < end; i++) hash = Math.imul(hash ^ plain.charCodeAt(i), 0x01000193);
    hashes.add(hash >>> 0);
  }
  return Uint32Array.from(hashes).sort();
}

/** A text as it is compared: without regard to case, width, blanks and punctuation, unless it is nothing else. */
export function normalise(text: string): string {
  const plain = text.normalize('NFKC').toLowerCase();
  return plain.replace(/[\s\p{P}]+/gu, '') || plain;
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
