import { type Canvas, emptyShape, lay, line } from '../canvas.ts';
import { grain, noise } from '../noise.ts';
import type { Random } from '../random.ts';

/** Brushed metal: fine lines of one direction under a band of light; machining marks run along the brushing. */
export function metal(canvas: Canvas, random: Random): void {
  const { width, height, rgb, unit } = canvas;
  const angle = random.between(0, Math.PI);
  const [ax, ay] = [Math.cos(angle), Math.sin(angle)];
  const tone = random.between(0.4, 0.66);
  const tint = random.pick([
    [1, 1, 1],
    [0.96, 0.99, 1.05],
    [1.06, 1, 0.9],
    [1.08, 0.97, 0.86],
  ]);
  const long = random.between(30, 90) * unit;
  const fine = random.between(1.1, 2.2) * unit;
  const coarse = random.between(5, 12) * unit;
  const depth = random.between(0.04, 0.1);
  const grit = random.between(0.01, 0.035);
  const [ox, oy, ow] = [random.below(200), random.below(200), random.below(200)];
  // A reflection: a soft bright band across the plate.
  const bandAngle = angle + Math.PI / 2 + random.between(-0.5, 0.5);
  const [bx, by] = [Math.cos(bandAngle), Math.sin(bandAngle)];
  const bandAt = random.between(0.2, 0.8) * (bx * width + by * height);
  const bandWidth = random.between(40, 120) * unit;
  const shine = random.between(0.02, 0.2);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const along = x * ax + y * ay;
      const across = y * ax - x * ay;
      const brushed =
        0.6 * noise(along / long + ox, across / fine + oy) +
        0.4 * noise(along / (3 * long) + oy, across / coarse + ow);
      const off = (x * bx + y * by - bandAt) / bandWidth;
      const value =
        tone * (1 + 2 * depth * brushed) + shine / (1 + off * off) + grit * grain(x + ow * 7, y + ox * 5);
      const at = (y * width + x) * 3;
      rgb[at] = value * tint[0]!;
      rgb[at + 1] = value * tint[1]!;
      rgb[at + 2] = value * tint[2]!;
    }
  }
  for (let left = random.below(5); left > 0; left--) machiningMark(canvas, random, angle, tone);
}

/** A faint line of the tool that goes through the whole plate. */
function machiningMark(canvas: Canvas, random: Random, angle: number, tone: number): void {
  const { width, height, unit } = canvas;
  const turned = angle + random.between(-0.02, 0.02);
  const [dx, dy] = [Math.cos(turned), Math.sin(turned)];
  const [x, y] = [random.next() * width, random.next() * height];
  const far = width + height;
  const shape = emptyShape(canvas);
  const half = random.between(0.2, 0.7) * unit;
  line(canvas, shape, [x - dx * far, y - dy * far], [x + dx * far, y + dy * far], [half, half]);
  const value = tone * random.pick([0.72, 0.8, 1.15, 1.25]);
  lay(canvas, shape, [value, value, value], random.between(0.2, 0.5));
}
