import type { NamedTensor } from '../checkpoint/safetensors.ts';

export interface AdamWOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled decay. */
  weightDecay: number;
  /** Names that do not decay; none by default. */
  noDecay?: (name: string) => boolean;
}

/** First and second moments of each parameter and the number of steps so far: all that a checkpoint needs. */
export interface AdamWState {
  step: number;
  first: Map<string, Float32Array>;
  second: Map<string, Float32Array>;
}

/** AdamW (Loshchilov and Hutter 2019) with PyTorch's arithmetic, on typed arrays in place. */
export class AdamW {
  readonly state: AdamWState;
  readonly #options: AdamWOptions;

  constructor(parameters: ReadonlyMap<string, NamedTensor>, options: AdamWOptions, state?: AdamWState) {
    this.#options = options;
    const zeros = () =>
      new Map([...parameters].map(([name, { data }]) => [name, new Float32Array(data.length)]));
    this.state = state ?? { step: 0, first: zeros(), second: zeros() };
  }

  /** One step along the gradients. @param scale factor on every gradient, for clipping */
  step(
    parameters: ReadonlyMap<string, NamedTensor>,
    gradients: ReadonlyMap<string, Float32Array>,
    learningRate: number,
    scale = 1,
  ): void {
    const { beta1, beta2, epsilon, weightDecay, noDecay } = this.#options;
    this.state.step += 1;
    const correction1 = 1 - beta1 ** this.state.step;
    const root2 = Math.sqrt(1 - beta2 ** this.state.step);
    // One root and one division an element: root2 is taken into the rate and into epsilon.
    const rate = (learningRate / correction1) * root2;
    const floor = epsilon * root2;
    const [share1, share2] = [1 - beta1, 1 - beta2];
    for (const [name, { data }] of parameters) {
      const gradient = gradients.get(name)!;
      const m = this.state.first.get(name)!;
      const v = this.state.second.get(name)!;
      const keep = noDecay?.(name) ? 1 : 1 - learningRate * weightDecay;
      for (let i = 0; i < data.length; i++) {
        const g = gradient[i]! * scale;
        const mi = m[i]! + (g - m[i]!) * share1;
        const vi = v[i]! * beta2 + g * g * share2;
        m[i] = mi;
        v[i] = vi;
        data[i] = data[i]! * keep - (rate * mi) / (Math.sqrt(vi) + floor);
      }
    }
  }
}

/** Euclidean norm of all gradients together. */
export function globalNorm(gradients: ReadonlyMap<string, Float32Array>): number {
  let total = 0;
  for (const gradient of gradients.values()) total += squares(gradient);
  return Math.sqrt(total);
}

/** Sum of squares, in four sums that do not wait for one another. */
function squares(x: Float32Array): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = x.length - (x.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += x[i]! * x[i]!;
    b += x[i + 1]! * x[i + 1]!;
    c += x[i + 2]! * x[i + 2]!;
    d += x[i + 3]! * x[i + 3]!;
  }
  for (let i = whole; i < x.length; i++) a += x[i]! * x[i]!;
  return a + b + c + d;
}

/** Factor that brings a gradient of this norm to at most `maxNorm` (PyTorch's clip_grad_norm_). */
export function clipScale(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}

/** Adds `scale` times each micro-batch's gradients into a sum. */
export function accumulate(
  sum: Map<string, Float32Array>,
  gradients: ReadonlyMap<string, Float32Array>,
  scale: number,
): void {
  for (const [name, gradient] of gradients) {
    const total = sum.get(name);
    if (!total) {
      sum.set(
        name,
        gradient.map((g) => g * scale),
      );
      continue;
    }
    for (let i = 0; i < gradient.length; i++) total[i]! += gradient[i]! * scale;
  }
}
