import type { Canvas, Color } from '../canvas.ts';
import { grain, noise } from '../noise.ts';
import type { Random } from '../random.ts';

const DYES: readonly Color[] = [
  [0.72, 0.68, 0.58],
  [0.36, 0.42, 0.56],
  [0.58, 0.32, 0.3],
  [0.42, 0.5, 0.4],
  [0.6, 0.6, 0.62],
  [0.66, 0.56, 0.38],
  [0.48, 0.4, 0.52],
];

/** Woven fabric: warp over weft over warp, in soft folds; threads differ, and some are thicker along all their length. */
export function fabric(canvas: Canvas, random: Random): void {
  const { width, height, rgb, unit, light } = canvas;
  const angle = random.pick([0, 0, Math.PI / 4]) + random.between(-0.15, 0.15);
  const [ax, ay] = [Math.cos(angle), Math.sin(angle)];
  const period = random.between(3.6, 7) * unit;
  const warp = random.pick(DYES);
  const weft = random.chance(0.6) ? warp : random.pick(DYES);
  const relief = random.between(0.14, 0.3);
  const uneven = random.between(0.04, 0.12);
  const fold = random.between(0.02, 0.1);
  const foldSize = random.between(60, 140) * unit;
  const twill = random.chance(0.3) ? 1 : 0;
  const [ox, oy] = [random.below(200), random.below(200)];
  const slubs = [threads(random), threads(random)] as const;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const u = (x * ax + y * ay) / period + ox;
      const v = (y * ax - x * ay) / period + oy;
      const i = Math.floor(u);
      const j = Math.floor(v);
      const fu = u - i - 0.5;
      const fv = v - j - 0.5;
      const above = twill ? (((i + j) % 3) + 3) % 3 !== 0 : ((i + j) & 1) === 0;
      // Across the thread on top it is round, along it it dips at either end.
      const across = above ? fu : fv;
      const along = above ? fv : fu;
      const round = 1 - 4 * across * across * 0.9 - 1.6 * along * along;
      const thread = above ? grain(i, 31) + slubs[0](i) : grain(57, j) + slubs[1](j);
      const folds = noise(x / foldSize + oy, y / foldSize + ox);
      const shade =
        1 +
        relief * (round - 0.55) +
        uneven * thread +
        fold * (folds + 0.5 * (light[0] * (x / width - 0.5) + light[1] * (y / height - 0.5))) +
        0.03 * grain(x + ox * 3, y + oy * 7);
      const dye = above ? warp : weft;
      const at = (y * width + x) * 3;
      rgb[at] = dye[0] * shade;
      rgb[at + 1] = dye[1] * shade;
      rgb[at + 2] = dye[2] * shade;
    }
  }
}

/** How much lighter each thread is; one in some dozens is a thick one. */
function threads(random: Random): (index: number) => number {
  const [row, share] = [random.below(256), random.between(0.9, 0.985)];
  return (index) => (grain(index, row) * 0.5 + 0.5 > share ? 1.2 : 0);
}
