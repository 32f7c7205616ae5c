import { type Canvas, cover, eachCovered, emptyShape } from '../canvas.ts';
import type { Random } from '../random.ts';
import type { Damage } from '../severity.ts';
import { type Draft, placeFor, within } from './defect.ts';

/** Mean diameter of a deformation, of an image of 256, and the light that its steepest flank gains and loses. */
const DIAMETER = [30, 104] as const;
const SLOPE = [0.2, 0.6] as const;

/** A dent or a bulge: the surface's own pattern is pushed aside, one flank lies in the light and the other in shade. */
export function deformation(canvas: Canvas, random: Random, { size, contrast }: Damage): Draft {
  const radius = (within(DIAMETER, size) / 2) * canvas.unit;
  const aspect = random.between(0.75, 1.33);
  const [rx, ry] = [radius * Math.sqrt(aspect), radius / Math.sqrt(aspect)];
  const turn = random.between(0, Math.PI);
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  const halfWidth = Math.hypot(rx * cos, ry * sin);
  const halfHeight = Math.hypot(rx * sin, ry * cos);
  const [x0, y0] = placeFor(canvas, random, 2 * halfWidth, 2 * halfHeight);
  const [cx, cy] = [x0 + halfWidth, y0 + halfHeight];
  const sign = random.pick([-1, 1]);
  /** In radii, along the two axes. */
  const local = (x: number, y: number): [number, number] => [
    ((x - cx) * cos + (y - cy) * sin) / rx,
    ((y - cy) * cos - (x - cx) * sin) / ry,
  ];
  const shape = emptyShape(canvas);
  cover(canvas, shape, [cx - halfWidth, cy - halfHeight, cx + halfWidth, cy + halfHeight], (x, y) => {
    const [u, v] = local(x, y);
    const square = u * u + v * v;
    // (1 - r^2)^2 is flat at the rim: what is seen ends a little before it.
    return square < 0.85 ? 1 : square < 1 ? 0.2 : 0;
  });
  const slope = within(SLOPE, contrast);
  return { shape, paint };

  function paint(): void {
    const { rgb, width, height, light } = canvas;
    const before = rgb.slice();
    eachCovered(canvas, shape, (at, _, x, y) => {
      const [u, v] = local(x + 0.5, y + 0.5);
      const square = u * u + v * v;
      if (square >= 1) return;
      const rise = (1 - square) ** 2;
      // The gradient of the height, back in the image's axes, 1 where it is steepest.
      const [gu, gv] = [3.5 * u * (1 - square), 3.5 * v * (1 - square)].map((part) => part / 1.35);
      const [gx, gy] = [gu! * cos - gv! * sin, gu! * sin + gv! * cos];
      const shade = 1 + sign * slope * (gx * light[0] + gy * light[1]);
      const pull = 0.35 * slope * sign * rise;
      const fx = Math.min(width - 2, Math.max(0, x - (x + 0.5 - cx) * pull));
      const fy = Math.min(height - 2, Math.max(0, y - (y + 0.5 - cy) * pull));
      const [ix, iy] = [Math.floor(fx), Math.floor(fy)];
      const [wx, wy] = [fx - ix, fy - iy];
      const from = (iy * width + ix) * 3;
      for (let c = 0; c < 3; c++) {
        const i = from + c;
        const top = before[i]! + (before[i + 3]! - before[i]!) * wx;
        const below = before[i + width * 3]! + (before[i + width * 3 + 3]! - before[i + width * 3]!) * wx;
        rgb[at * 3 + c] = (top + (below - top) * wy) * shade + 0.12 * (shade - 1);
      }
    });
  }
}
