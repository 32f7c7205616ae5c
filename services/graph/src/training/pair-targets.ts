/** What tells which pairs of a batch belong together. */
export interface PairKeys {
  /** Equal for equal texts alone. */
  text: string;
  /** Equal for equal images alone. */
  image: string;
  /** Class of the pair; empty for none. */
  label: string;
}

/**
 * Whether one pair's text fits the other's image: the text is the same, or the image is. Such pairs are right answers to
 * one another (Yang et al. 2022).
 */
export const isSame = (a: PairKeys, b: PairKeys): boolean => a.text === b.text || a.image === b.image;

/** Whether the pairs are wrong answers to one another: neither the same nor of one class. */
export const areApart = (a: PairKeys, b: PairKeys): boolean =>
  !isSame(a, b) && (a.label === '' || a.label !== b.label);

/** What a batch of pairs is compared with. */
export interface PairTargets {
  /** [B, B], each row summing to 1 over the pairs that are the same. */
  targets: Float32Array;
  /** [B, B]: 0 where pairs are compared; `left` where they are neither right nor wrong answers to one another. */
  mask: Float32Array;
  /** Some two pairs are wrong answers to one another: there is something to tell apart. */
  tellsApart: boolean;
}

/**
 * Which text belongs to which image. Pairs of equal text or image belong to one another alike, since a batch that is
 * balanced by class has a text more than once; pairs of one class with different texts are left out of one another's
 * comparison: that a text says the other's image less well is not known.
 * @param left added to the logits of pairs that are left out
 */
export function pairTargets(pairs: readonly PairKeys[], left: number): PairTargets {
  const size = pairs.length;
  const targets = new Float32Array(size ** 2);
  const mask = new Float32Array(size ** 2);
  let tellsApart = false;
  for (const [i, pair] of pairs.entries()) {
    const same = pairs.map((other) => isSame(pair, other));
    const share = 1 / same.filter(Boolean).length;
    for (const [j, other] of pairs.entries()) {
      if (same[j]) targets[i * size + j] = share;
      else if (areApart(pair, other)) tellsApart = true;
      else mask[i * size + j] = left;
    }
  }
  return { targets, mask, tellsApart };
}
