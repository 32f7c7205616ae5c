/** How the learning rate moves beside its warm-up. */
export type Schedule = 'linear' | 'cosine' | 'constant';

/**
 * Factor on the peak learning rate: a linear warm-up, min(1, (s + 1) / warmup), times a decay over the whole run:
 * `linear` 1 - s / steps, `cosine` (1 + cos(pi s / steps)) / 2 (Loshchilov and Hutter 2017), `constant` 1.
 * @param step from 0
 */
export function scheduleFactor(schedule: Schedule, step: number, steps: number, warmupSteps: number): number {
  const warmup = warmupSteps > 0 ? Math.min(1, (step + 1) / warmupSteps) : 1;
  switch (schedule) {
    case 'linear':
      return (warmup * (steps - step)) / steps;
    case 'cosine':
      return (warmup * (1 + Math.cos((Math.PI * step) / steps))) / 2;
    case 'constant':
      return warmup;
  }
}
