import { expect } from 'vitest';

/**
 * Holds the gradient of one tensor against differences of the loss along it, where a difference is largest beside rounding.
 * @param data of the tensor, put back in the end
 * @param loss as it is with what `data` holds
 */
export async function expectSlope(
  name: string,
  data: Float32Array,
  gradient: Float32Array,
  loss: () => Promise<number>,
): Promise<void> {
  const norm = Math.hypot(...gradient);
  expect(norm, name).toBeGreaterThan(0);
  const before = data.slice();
  const at = (distance: number) => {
    for (let i = 0; i < data.length; i++) data[i] = before[i]! + (distance * gradient[i]!) / norm;
    return loss();
  };
  const over = async (step: number) => ((await at(step)) - (await at(-step))) / (2 * step);
  const step = Math.min(0.02, 0.02 / norm);
  // Of two steps, so that the bend of the loss cancels out (Richardson 1911).
  const slope = (4 * (await over(step / 2)) - (await over(step))) / 3;
  data.set(before);
  expect(Math.abs(slope - norm), name).toBeLessThan(2e-3 + 0.02 * norm);
}
