import type { ClipConfig } from '@landfall/graph/models/clip-config.ts';
import type { MethodName } from './choose-method.ts';

/** Methods that a CLIP is aligned by. */
export const ALIGNMENT_METHODS = ['lora', 'frozen', 'full'] as const;
export type AlignmentMethod = (typeof ALIGNMENT_METHODS)[number];

export const isAlignmentMethod = (method: MethodName): method is AlignmentMethod =>
  ALIGNMENT_METHODS.some((one) => one === method);

export const ALIGNMENT_DEFAULTS = {
  rank: 16,
  alphaFactor: 2,
  targetModules: ['q_proj', 'k_proj', 'v_proj', 'out_proj'],
  /** The more pairs are compared, the more there is to tell apart. */
  batchSize: 32,
  maxGradNorm: 1,
} as const;

const MANY_PAIRS = 100_000;
const SOME_PAIRS = 10_000;

/** By the number of pairs, and by memory last: the more there are, the more parameters they can teach. */
export function chooseAlignment(
  pairs: number,
  memoryBytes: number,
  needs: Readonly<Record<AlignmentMethod, number>>,
): { method: AlignmentMethod; reason: string } {
  const count = pairs.toLocaleString('en');
  const wanted: { method: AlignmentMethod; reason: string } =
    pairs > MANY_PAIRS
      ? { method: 'full', reason: `${count} pairs are enough to train both towers` }
      : pairs >= SOME_PAIRS
        ? { method: 'frozen', reason: `${count} pairs: the projections and the top layers learn them` }
        : { method: 'lora', reason: `${count} pairs are few: low-rank adapters of the attention fit` };
  if (needs[wanted.method] <= memoryBytes) return wanted;
  const gib = (bytes: number) => (bytes / 1024 ** 3).toFixed(1);
  const short = `${wanted.method} would need about ${gib(needs[wanted.method])} GiB of ${gib(memoryBytes)} GiB`;
  return { method: 'frozen', reason: `${wanted.reason}; but ${short}, and frozen layers need the least` };
}

/** Peak learning rate by the wider tower's width: adapters 4e-4 at 768, top layers 1e-4, everything 1e-5. */
export function alignmentRate(method: AlignmentMethod, { vision, text }: ClipConfig): number {
  const width = Math.max(vision.hiddenSize, text.hiddenSize);
  if (method === 'lora') return Math.min(5e-3, 0.3 / width);
  return method === 'frozen' ? Math.min(5e-3, 0.08 / width) : Math.min(1e-3, 0.008 / width);
}
