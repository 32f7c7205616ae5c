import { type Canvas, cover, emptyShape, lay, smooth } from '../canvas.ts';
import { grain, noise } from '../noise.ts';
import type { Random } from '../random.ts';

/** A casting: a rough grey skin of grains under slanting light, with pores and at times the line of the mould. */
export function casting(canvas: Canvas, random: Random): void {
  const { width, height, rgb, unit, light } = canvas;
  const tone = random.between(0.32, 0.6);
  const tint = random.pick([
    [1, 1, 1],
    [1.05, 1, 0.94],
    [0.95, 1, 1.04],
    [1.1, 0.98, 0.88],
  ]);
  const size = random.between(2.2, 6) * unit;
  const rough = random.between(0.09, 0.2);
  const uneven = random.between(0.02, 0.08);
  const grit = random.between(0.015, 0.045);
  const [ox, oy, ow] = [random.below(200), random.below(200), random.below(200)];
  const slope = random.between(-0.1, 0.1);
  const parting = random.chance(0.3) ? partingLine(canvas, random) : undefined;
  const [lx, ly] = light;
  const sx = lx * 0.6;
  const sy = ly * 0.6;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const u = x / size + ox;
      const v = y / size + oy;
      // The slope of the grains towards the light is what is seen of them.
      const bumps = noise(u - sx, v - sy) - noise(u + sx, v + sy);
      const broad = noise(u / 9 + ow, v / 9 + ox);
      const shade = (x * lx) / width + (y * ly) / height;
      let value = tone * (1 + rough * bumps + 2 * uneven * broad - slope * shade);
      if (parting) value += tone * parting(x, y);
      value += grit * grain(x + ow * 7, y + ox * 5);
      const at = (y * width + x) * 3;
      rgb[at] = value * tint[0]!;
      rgb[at + 1] = value * tint[1]!;
      rgb[at + 2] = value * tint[2]!;
    }
  }
  for (let left = random.below(14); left > 0; left--) pore(canvas, random, tone);
}

/** The seam where two halves of a mould met: a raised edge from side to side. */
function partingLine(
  { width, height, unit, light }: Canvas,
  random: Random,
): (x: number, y: number) => number {
  const angle = random.between(0, Math.PI);
  const [nx, ny] = [Math.sin(angle), -Math.cos(angle)];
  const at = nx * random.between(0.25, 0.75) * width + ny * random.between(0.25, 0.75) * height;
  const wide = random.between(4, 8) * unit;
  const strength = random.between(0.1, 0.22) * (nx * light[0] + ny * light[1]);
  return (x, y) => {
    const off = (x * nx + y * ny - at) / wide;
    return off > -1.6 && off < 1.6 ? -strength * off * Math.exp(0.5 - 1.5 * off * off) * 1.7 : 0;
  };
}

/** A pinhole, as castings have them: too small to count. */
function pore(canvas: Canvas, random: Random, tone: number): void {
  const radius = random.between(0.8, 2) * canvas.unit;
  const [x, y] = [random.next() * canvas.width, random.next() * canvas.height];
  const shape = emptyShape(canvas);
  cover(canvas, shape, [x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1], (px, py) =>
    smooth(radius + 0.5, radius - 0.5, Math.hypot(px - x, py - y)),
  );
  lay(canvas, shape, [tone * 0.45, tone * 0.45, tone * 0.45], random.between(0.5, 0.9));
}
