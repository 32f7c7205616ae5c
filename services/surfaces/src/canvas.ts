export type Color = readonly [red: number, green: number, blue: number];

/** An image while it is made: light by channel, 0 to 1. */
export interface Canvas {
  width: number;
  height: number;
  /** [height, width, 3] */
  rgb: Float32Array;
  /** What a length of one pixel in an image of 256 is here. */
  unit: number;
  /** Where the light comes from, a unit vector. */
  light: readonly [x: number, y: number];
}

/** How much of each pixel a shape covers, 0 to 1, and where it lies. */
export interface Shape {
  /** [height, width] */
  cover: Float32Array;
  /** Pixels; right and bottom exclusive. */
  bounds: { left: number; top: number; right: number; bottom: number };
}

export const clamp = (value: number, low: number, high: number): number =>
  value < low ? low : value > high ? high : value;

/** 0 below `from`, 1 above `to`, smooth between. */
export function smooth(from: number, to: number, value: number): number {
  const t = clamp((value - from) / (to - from), 0, 1);
  return t * t * (3 - 2 * t);
}

export function emptyShape({ width, height }: Canvas): Shape {
  return {
    cover: new Float32Array(width * height),
    bounds: { left: width, top: height, right: 0, bottom: 0 },
  };
}

/** Adds what `coverAt` says of each pixel of a square around a place; the larger cover stays. */
export function cover(
  canvas: Canvas,
  shape: Shape,
  [left, top, right, bottom]: readonly [number, number, number, number],
  coverAt: (x: number, y: number) => number,
): void {
  const { width, height } = canvas;
  const [x0, y0] = [Math.max(0, Math.floor(left)), Math.max(0, Math.floor(top))];
  const [x1, y1] = [Math.min(width, Math.ceil(right) + 1), Math.min(height, Math.ceil(bottom) + 1)];
  if (x0 >= x1 || y0 >= y1) return;
  const { bounds } = shape;
  bounds.left = Math.min(bounds.left, x0);
  bounds.top = Math.min(bounds.top, y0);
  bounds.right = Math.max(bounds.right, x1);
  bounds.bottom = Math.max(bounds.bottom, y1);
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const value = coverAt(x + 0.5, y + 0.5);
      const at = y * width + x;
      if (value > shape.cover[at]!) shape.cover[at] = value;
    }
  }
}

/** A line with soft edges from a to b. @param half half of its width at either end, pixels */
export function line(
  canvas: Canvas,
  shape: Shape,
  a: readonly [number, number],
  b: readonly [number, number],
  half: readonly [number, number],
): void {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const squared = dx * dx + dy * dy || 1e-9;
  const reach = Math.max(half[0], half[1]) + 1;
  const box = [
    Math.min(a[0], b[0]) - reach,
    Math.min(a[1], b[1]) - reach,
    Math.max(a[0], b[0]) + reach,
    Math.max(a[1], b[1]) + reach,
  ] as const;
  cover(canvas, shape, box, (x, y) => {
    const t = clamp(((x - a[0]) * dx + (y - a[1]) * dy) / squared, 0, 1);
    const [ox, oy] = [x - a[0] - t * dx, y - a[1] - t * dy];
    const distance = Math.sqrt(ox * ox + oy * oy);
    return clamp(half[0] + (half[1] - half[0]) * t + 0.5 - distance, 0, 1);
  });
}

/** Calls for each pixel that a shape covers. */
export function eachCovered(
  { width }: Canvas,
  { cover: values, bounds }: Shape,
  visit: (at: number, value: number, x: number, y: number) => void,
): void {
  for (let y = bounds.top; y < bounds.bottom; y++) {
    for (let x = bounds.left; x < bounds.right; x++) {
      const value = values[y * width + x]!;
      if (value > 0) visit(y * width + x, value, x, y);
    }
  }
}

/** Lays a colour over what a shape covers. */
export function lay(canvas: Canvas, shape: Shape, color: Color, opacity = 1): void {
  eachCovered(canvas, shape, (at, value) => {
    for (let c = 0; c < 3; c++) {
      const i = at * 3 + c;
      canvas.rgb[i]! += (color[c]! - canvas.rgb[i]!) * value * opacity;
    }
  });
}
