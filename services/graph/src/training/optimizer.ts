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
    const rate = learningRate / correction1;
    for (const [name, { data }] of parameters) {
      const gradient = gradients.get(name)!;
      const m = this.state.first.get(name)!;
      const v = this.state.second.get(name)!;
      const keep = noDecay?.(name) ? 1 : 1 - learningRate * weightDecay;
      for (let i = 0; i < data.length; i++) {
        const g = gradient[i]! * scale;
        const mi = m[i]! + (g - m[i]!) * (1 - beta1);
        const vi = v[i]! * beta2 + g * g * (1 - beta2);
        m[i] = mi;
        v[i] = vi;
        data[i] = data[i]! * keep - (rate * mi) / (Math.sqrt(vi) / root2 + epsilon);
      }
    }
  }
}

/** Euclidean norm of all gradients together. */
export function globalNorm(gradients: ReadonlyMap<string, Float32Array>): number {
  let sum = 0;
  for (const gradient of gradients.values()) {
    for (let i = 0; i < gradient.length; i++) sum += gradient[i]! * gradient[i]!;
  }
  return Math.sqrt(sum);
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

/** Linear warm-up, then linear decay to zero. @param step from 0 */
export function linearSchedule(step: number, steps: number, warmupSteps: number): number {
  const warmup = warmupSteps > 0 ? Math.min(1, (step + 1) / warmupSteps) : 1;
  return (warmup * (steps - step)) / steps;
}
