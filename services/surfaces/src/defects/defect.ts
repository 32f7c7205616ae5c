import type { Canvas, Shape } from '../canvas.ts';
import type { Random } from '../random.ts';
import type { Damage } from '../severity.ts';

/** A defect that has its place and is not painted yet. */
export interface Draft {
  /** What of the surface it touches. */
  shape: Shape;
  paint(): void;
}

/** Puts a defect somewhere; it may reach over the image's edge, where it is not wanted then. */
export type Drafter = (canvas: Canvas, random: Random, damage: Damage) => Draft;

/** A value between the least and the most of a type. */
export const within = ([least, most]: readonly [number, number], share: number): number =>
  least + (most - least) * share;

/** A place for something of a width and height, wholly inside where it fits. */
export function placeFor(canvas: Canvas, random: Random, width: number, height: number): [number, number] {
  const edge = 3 * canvas.unit;
  const at = (side: number, size: number) => edge + random.next() * Math.max(0, side - size - 2 * edge);
  return [at(canvas.width, width), at(canvas.height, height)];
}

/** Points moved and scaled so that their box has a diagonal, at a place of their own in the image. */
export function fitted(
  canvas: Canvas,
  random: Random,
  paths: readonly (readonly [number, number])[][],
  diagonal: number,
): [number, number][][] {
  const all = paths.flat();
  const xs = all.map(([x]) => x);
  const ys = all.map(([, y]) => y);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = diagonal / Math.hypot(width, height);
  const [x0, y0] = placeFor(canvas, random, width * scale, height * scale);
  return paths.map((path) => path.map(([x, y]) => [x0 + (x - left) * scale, y0 + (y - top) * scale]));
}
