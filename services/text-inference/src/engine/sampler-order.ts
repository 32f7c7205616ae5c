/** Order among logits: the largest, the largest few, and the sum that normalises them. */

/** The model gave a row without a largest finite number; nothing can be chosen from it. */
export class LogitsNotFiniteError extends Error {
  override name = 'LogitsNotFiniteError';
}

/** Index of the largest value, the lowest index among equals. Throws {@link LogitsNotFiniteError}. */
export function argmax(values: Float32Array): number {
  let best = -1;
  let bestValue = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value > bestValue) {
      bestValue = value;
      best = i;
    }
  }
  if (best < 0 || bestValue === Number.POSITIVE_INFINITY) {
    throw new LogitsNotFiniteError('the model returned logits that are not finite');
  }
  return best;
}

/** A token that the runner has found to be the likeliest. Throws {@link LogitsNotFiniteError}. */
export function likeliest(token: number, logit: number): { token: number } {
  if (!Number.isFinite(logit))
    throw new LogitsNotFiniteError('the model returned logits that are not finite');
  return { token };
}

/** Indices of the `count` largest values, largest first, lower index first among equals. */
export function largest(values: Float32Array, count: number): number[] {
  const size = Math.min(count, values.length);
  if (size <= 0) return [];
  // A heap whose root is the worst of those kept.
  const heap: number[] = [];
  const worse = (a: number, b: number) => values[a]! < values[b]! || (values[a] === values[b] && a > b);
  const sink = (from: number) => {
    let i = from;
    for (;;) {
      const left = 2 * i + 1;
      let worst = i;
      if (left < heap.length && worse(heap[left]!, heap[worst]!)) worst = left;
      if (left + 1 < heap.length && worse(heap[left + 1]!, heap[worst]!)) worst = left + 1;
      if (worst === i) return;
      [heap[i], heap[worst]] = [heap[worst]!, heap[i]!];
      i = worst;
    }
  };
  for (let i = 0; i < values.length; i++) {
    if (heap.length < size) {
      heap.push(i);
      if (heap.length === size) for (let j = (size >> 1) - 1; j >= 0; j--) sink(j);
    } else if (worse(heap[0]!, i)) {
      heap[0] = i;
      sink(0);
    }
  }
  return heap.sort((a, b) => (worse(a, b) ? 1 : -1));
}

/** Natural logarithm of the sum of exponentials, given the largest logit. */
export function logSumExp(logits: Float32Array, max: number): number {
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}
