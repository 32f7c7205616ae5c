import { type Canvas, type Color, cover, emptyShape, lay, line, type Shape, smooth } from '../canvas.ts';
import { grain, noise } from '../noise.ts';
import type { Random } from '../random.ts';

const MASKS: readonly Color[] = [
  [0.08, 0.36, 0.2],
  [0.1, 0.42, 0.18],
  [0.08, 0.2, 0.45],
  [0.42, 0.1, 0.12],
  [0.2, 0.2, 0.22],
];

/** A circuit board: traces under a solder mask, vias, solder points that shine, chips with their legs, white print. */
export function circuit(canvas: Canvas, random: Random): void {
  const { width, height, rgb, unit } = canvas;
  const base = random.pick(MASKS).map((part) => part * random.between(0.9, 1.15));
  const [ox, oy] = [random.below(200), random.below(200)];
  const glow = random.between(0, 0.12);
  const [gx, gy] = [random.next() * width, random.next() * height];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const far = Math.hypot(x - gx, y - gy) / (90 * unit);
      const value =
        1 + 0.06 * noise(x / (40 * unit) + ox, y / (40 * unit) + oy) + 0.05 * grain(x + ox * 3, y + oy * 5);
      const at = (y * width + x) * 3;
      for (let c = 0; c < 3; c++) rgb[at + c] = base[c]! * value + glow / (1 + far * far);
    }
  }
  const copper = base.map((part) => part * 1.35 + 0.05) as unknown as Color;
  const traces = emptyShape(canvas);
  const pads = emptyShape(canvas);
  const grid = random.pick([10, 12, 14]) * unit;
  const half = random.between(0.9, 1.8) * unit;
  for (let left = 5 + random.below(9); left > 0; left--) trace(canvas, random, { traces, pads, grid, half });
  lay(canvas, traces, copper, 0.85);
  const metal = random.pick<Color>([
    [0.78, 0.78, 0.8],
    [0.82, 0.7, 0.38],
  ]);
  for (let left = random.below(3); left > 0; left--) chip(canvas, random, metal, grid);
  for (let left = random.below(5); left > 0; left--) disc(canvas, pads, somewhere(canvas, random), 4 * unit);
  lay(canvas, pads, metal, 0.95);
  shine(canvas, pads, random);
  if (random.chance(0.5)) print(canvas, random);
}

const somewhere = ({ width, height }: Canvas, random: Random): [number, number] => [
  random.next() * width,
  random.next() * height,
];

function disc(canvas: Canvas, shape: Shape, [x, y]: readonly [number, number], radius: number): void {
  cover(canvas, shape, [x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1], (px, py) =>
    smooth(radius + 0.5, radius - 0.5, Math.hypot(px - x, py - y)),
  );
}

function rectangle(canvas: Canvas, shape: Shape, x: number, y: number, w: number, h: number): void {
  cover(canvas, shape, [x, y, x + w - 1, y + h - 1], () => 1);
}

/** A trace along the grid with bends of 45 degrees, a via at either end. */
function trace(
  canvas: Canvas,
  random: Random,
  { traces, pads, grid, half }: { traces: Shape; pads: Shape; grid: number; half: number },
): void {
  const snap = (value: number) => (Math.round(value / grid) + 0.5) * grid;
  let at = somewhere(canvas, random).map(snap) as [number, number];
  let direction = random.below(4) * 2;
  disc(canvas, pads, at, 2.2 * half);
  for (let left = 2 + random.below(4); left > 0; left--) {
    const turn = (direction * Math.PI) / 4;
    const length = (1 + random.below(6)) * grid * (direction % 2 ? Math.SQRT2 : 1);
    const next: [number, number] = [at[0] + Math.cos(turn) * length, at[1] + Math.sin(turn) * length];
    line(canvas, traces, at, next, [half, half]);
    at = next;
    direction = (direction + random.pick([1, 7, 1, 7, 2, 6])) % 8;
  }
  disc(canvas, pads, at, 2.2 * half);
}

function chip(canvas: Canvas, random: Random, metal: Color, grid: number): void {
  const { unit } = canvas;
  const [x, y] = somewhere(canvas, random);
  const [w, h] = [random.between(26, 60) * unit, random.between(22, 46) * unit];
  const legs = emptyShape(canvas);
  for (let step = grid / 2; step < w - grid / 3; step += grid * 0.7) {
    rectangle(canvas, legs, x + step, y - 5 * unit, 3 * unit, 5 * unit);
    rectangle(canvas, legs, x + step, y + h, 3 * unit, 5 * unit);
  }
  lay(canvas, legs, metal, 0.9);
  const body = emptyShape(canvas);
  rectangle(canvas, body, x, y, w, h);
  const tone = random.between(0.17, 0.26);
  lay(canvas, body, [tone, tone, tone * 1.05]);
  const dot = emptyShape(canvas);
  disc(canvas, dot, [x + 6 * unit, y + 6 * unit], 2 * unit);
  lay(canvas, dot, [tone + 0.15, tone + 0.15, tone + 0.15]);
}

/** Light on solder: a bright point on each pad towards the lamp. */
function shine(canvas: Canvas, pads: Shape, random: Random): void {
  const { width, height, rgb, light, unit } = canvas;
  const strength = random.between(0.1, 0.3);
  const shift = Math.round(2 * unit);
  const [dx, dy] = [Math.round(light[0] * shift), Math.round(light[1] * shift)];
  for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++) {
    for (let x = Math.max(0, -dx); x < Math.min(width, width - dx); x++) {
      const here = pads.cover[y * width + x]!;
      if (here === 0) continue;
      // Bright where the next pixels towards the light are solder, dark at the far edge.
      const slope = pads.cover[(y + dy) * width + x + dx]! - 0.6;
      for (let c = 0; c < 3; c++) rgb[(y * width + x) * 3 + c]! += strength * slope * here;
    }
  }
}

/** Marks of white print: rows of short strokes as letters have them. */
function print(canvas: Canvas, random: Random): void {
  const { unit } = canvas;
  const shape = emptyShape(canvas);
  const [x, y] = somewhere(canvas, random);
  for (let letter = 2 + random.below(3); letter > 0; letter--) {
    const left = x + letter * 7 * unit;
    for (let stroke = 0; stroke < 3; stroke++) {
      const corner = () => [left + random.below(2) * 4 * unit, y + random.below(3) * 3 * unit] as const;
      line(canvas, shape, corner(), corner(), [0.5 * unit, 0.5 * unit]);
    }
  }
  lay(canvas, shape, [0.85, 0.86, 0.84], 0.9);
}
