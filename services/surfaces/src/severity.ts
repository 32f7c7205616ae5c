import { clamp } from './canvas.ts';
import type { Random } from './random.ts';

export const SEVERITIES = ['slight', 'moderate', 'severe'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** How large and how plain a defect is, each from 0 (the least of its type) to 1 (the most). */
export interface Damage {
  size: number;
  contrast: number;
}

/** Where one severity ends and the next begins: what is made keeps away from these, since people would disagree. */
const [MODERATE, SEVERE] = [0.32, 0.68];
const BANDS: Record<Severity, readonly [number, number]> = {
  slight: [0.02, 0.26],
  moderate: [0.38, 0.62],
  severe: [0.74, 0.98],
};

/** The rule: the mean of size and contrast; slight below 0.32, severe from 0.68. */
export function severityOf({ size, contrast }: Damage): Severity {
  const damage = (size + contrast) / 2;
  return damage < MODERATE ? 'slight' : damage < SEVERE ? 'moderate' : 'severe';
}

/** A damage of a severity. Size and contrast go together but for a tenth either way. */
export function damageOf(severity: Severity, random: Random): Damage {
  const damage = random.between(...BANDS[severity]);
  const apart = random.between(-0.1, 0.1);
  const room = Math.min(damage, 1 - damage);
  const shift = clamp(apart, -room, room);
  return { size: damage + shift, contrast: damage - shift };
}
