import { type Canvas, type Color, cover, eachCovered, emptyShape, type Shape, smooth } from '../canvas.ts';
import { noise } from '../noise.ts';
import type { Random } from '../random.ts';
import type { Damage } from '../severity.ts';
import { type Draft, placeFor, within } from './defect.ts';

/** Mean diameter of a stain, of an image of 256, and how much of the surface's own colour it hides. */
const DIAMETER = [26, 104] as const;
const OPACITY = [0.35, 0.8] as const;

/** Oil, rust, coffee, dried flux, chalk. */
const COLORS: readonly Color[] = [
  [0.1, 0.09, 0.08],
  [0.5, 0.24, 0.08],
  [0.32, 0.2, 0.1],
  [0.78, 0.74, 0.52],
  [0.92, 0.92, 0.9],
];

/** A stain: a blot with an uneven rim that tints the surface and leaves its pattern; darker where it dried last. */
export function stain(canvas: Canvas, random: Random, { size, contrast }: Damage): Draft {
  const radius = (within(DIAMETER, size) / 2) * canvas.unit;
  const reach = radius * 1.3;
  const [x0, y0] = placeFor(canvas, random, 2 * reach, 2 * reach);
  const [cx, cy] = [x0 + reach, y0 + reach];
  const lobes = [2, 3, 4, 5].map((count) => ({
    count,
    phase: random.between(0, 2 * Math.PI),
    size: random.between(0, 0.22) / Math.sqrt(count),
  }));
  const soft = random.between(0.06, 0.2);
  const [ox, oy] = [random.below(200), random.below(200)];
  const shape = emptyShape(canvas);
  cover(canvas, shape, [cx - reach, cy - reach, cx + reach, cy + reach], (x, y) => {
    const angle = Math.atan2(y - cy, x - cx);
    const rim = lobes.reduce((sum, lobe) => sum + lobe.size * Math.sin(lobe.count * angle + lobe.phase), 1);
    const r = Math.hypot(x - cx, y - cy) / (radius * rim);
    if (r >= 1) return 0;
    const ring = 0.25 * smooth(1 - 2.5 * soft, 1 - soft, r);
    const blotch = 0.12 * noise((3 * x) / radius + ox, (3 * y) / radius + oy);
    return smooth(1, 1 - soft, r) * Math.min(1, 0.75 + ring + blotch);
  });
  const opacity = within(OPACITY, contrast);
  const color = farthest([random.pick(COLORS), random.pick(COLORS)], canvas, shape);
  return { shape, paint };

  function paint(): void {
    eachCovered(canvas, shape, (at, value) => {
      for (let c = 0; c < 3; c++) {
        const i = at * 3 + c;
        canvas.rgb[i]! += (color[c]! - canvas.rgb[i]!) * value * opacity;
      }
    });
  }
}

/** Of some colours the one that differs most from what the shape covers. */
function farthest(colors: readonly Color[], canvas: Canvas, shape: Shape): Color {
  const sum = [0, 0, 0];
  let count = 0;
  eachCovered(canvas, shape, (at) => {
    for (let c = 0; c < 3; c++) sum[c]! += canvas.rgb[at * 3 + c]!;
    count += 1;
  });
  const distance = (color: Color) =>
    color.reduce((most, part, c) => most + Math.abs(part - sum[c]! / count), 0);
  return colors.reduce((best, color) => (distance(color) > distance(best) ? color : best));
}
