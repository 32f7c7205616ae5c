import type { ModelConfig, RopeScaling } from './config.ts';

const f = Math.fround;

/** Rotary embedding's angles: cos and sin [positions, headDim / 2]. */
export interface RopeTables {
  cos: Float32Array;
  sin: Float32Array;
}

/**
 * Inverse frequencies [headDim / 2] and the factor on cos and sin (RoFormer; scalings as in transformers'
 * modeling_rope_utils).
 */
export function rotaryFrequencies(config: ModelConfig): { inverse: number[]; attention: number } {
  const { headDim, ropeTheta, rope } = config;
  const half = headDim / 2;
  const plain = Array.from({ length: half }, (_, i) => f(1 / f(ropeTheta ** f((2 * i) / headDim))));
  if (rope.type === 'linear') return { inverse: plain.map((x) => f(x / rope.factor)), attention: 1 };
  if (rope.type === 'llama3') return { inverse: plain.map((x) => llama3(x, rope)), attention: 1 };
  if (rope.type === 'yarn') return yarn(plain, config);
  return { inverse: plain, attention: 1 };
}

function llama3(x: number, rope: RopeScaling): number {
  const original = rope.originalMaxPosition!;
  const wavelength = (2 * Math.PI) / x;
  if (wavelength < original / rope.highFreqFactor!) return x;
  if (wavelength > original / rope.lowFreqFactor!) return f(x / rope.factor);
  const smooth = (original / wavelength - rope.lowFreqFactor!) / (rope.highFreqFactor! - rope.lowFreqFactor!);
  return f(((1 - smooth) * x) / rope.factor + smooth * x);
}

/** YaRN (Peng et al. 2023): high frequencies as they are, low ones interpolated, a ramp between. */
function yarn(
  plain: number[],
  { headDim, ropeTheta, rope }: ModelConfig,
): { inverse: number[]; attention: number } {
  const original = rope.originalMaxPosition!;
  const correction = (rotations: number) =>
    (headDim * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(ropeTheta));
  const [first, last] = [correction(rope.betaFast!), correction(rope.betaSlow!)];
  const low = Math.max(rope.truncate === false ? first : Math.floor(first), 0);
  let high = Math.min(rope.truncate === false ? last : Math.ceil(last), headDim - 1);
  if (low === high) high += 0.001;
  const inverse = plain.map((x, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return f((x / rope.factor) * ramp + x * (1 - ramp));
  });
  const scale = (mscale: number) => (rope.factor <= 1 ? 1 : 0.1 * mscale * Math.log(rope.factor) + 1);
  const attention =
    rope.attentionFactor ??
    (rope.mscale && rope.mscaleAllDim ? scale(rope.mscale) / scale(rope.mscaleAllDim) : scale(1));
  return { inverse, attention };
}

/** Tables for positions 0 to `positions` - 1. */
export function ropeTables(config: ModelConfig, positions: number): RopeTables {
  const { inverse, attention } = rotaryFrequencies(config);
  const cos = new Float32Array(positions * inverse.length);
  const sin = new Float32Array(cos.length);
  for (let position = 0, at = 0; position < positions; position++) {
    for (const frequency of inverse) {
      const angle = f(position * frequency);
      cos[at] = f(Math.cos(angle)) * attention;
      sin[at++] = f(Math.sin(angle)) * attention;
    }
  }
  return { cos, sin };
}
