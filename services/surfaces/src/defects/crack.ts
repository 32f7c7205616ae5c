import { type Canvas, eachCovered, emptyShape, line } from '../canvas.ts';
import type { Random } from '../random.ts';
import type { Damage } from '../severity.ts';
import { type Draft, fitted, within } from './defect.ts';

/** Diagonal of a crack's box, of an image of 256; a fully dark crack takes this share of the light. */
const LENGTH = [38, 170] as const;
const DEPTH = [0.5, 0.9] as const;
const HALF_WIDTH = [0.55, 1.4] as const;

/** A crack: dark, jagged, thinner towards its ends, often with branches; the edge that faces the light is brighter. */
export function crack(canvas: Canvas, random: Random, { size, contrast }: Damage): Draft {
  const heading = random.between(0, 2 * Math.PI);
  const main = walk(random, [0, 0], heading, 12 + random.below(8));
  const paths = [main];
  for (let left = random.below(3); left > 0; left--) {
    const from = 3 + random.below(main.length - 6);
    const side = heading + random.pick([-1, 1]) * random.between(0.5, 1.1);
    paths.push(walk(random, main[from]!, side, 3 + random.below(5)));
  }
  const shape = emptyShape(canvas);
  const half = within(HALF_WIDTH, contrast) * canvas.unit;
  for (const [i, path] of fitted(canvas, random, paths, within(LENGTH, size) * canvas.unit).entries()) {
    const last = path.length - 1;
    // The main crack is thin at both ends, a branch at its far one.
    const widthAt = (at: number) =>
      half * (i === 0 ? 0.45 + 0.55 * Math.sin((Math.PI * at) / last) : 0.75 - (0.4 * at) / last);
    for (let at = 0; at < last; at++)
      line(canvas, shape, path[at]!, path[at + 1]!, [widthAt(at), widthAt(at + 1)]);
  }
  const depth = within(DEPTH, contrast);
  return { shape, paint };

  function paint(): void {
    const { rgb, width, height, light, unit } = canvas;
    const [dx, dy] = light.map((part) => Math.round(part * 1.5 * unit)) as [number, number];
    eachCovered(canvas, shape, (_, value, x, y) => {
      const [ex, ey] = [x - dx, y - dy];
      if (ex < 0 || ey < 0 || ex >= width || ey >= height) return;
      for (let c = 0; c < 3; c++) rgb[(ey * width + ex) * 3 + c]! += 0.08 * contrast * value;
    });
    eachCovered(canvas, shape, (at, value) => {
      for (let c = 0; c < 3; c++) rgb[at * 3 + c]! *= 1 - depth * value;
    });
  }
}

/** Steps that keep a heading and swerve at each. */
function walk(
  random: Random,
  [x, y]: readonly [number, number],
  heading: number,
  steps: number,
): [number, number][] {
  const path: [number, number][] = [[x, y]];
  let drift = 0;
  for (let i = 0; i < steps; i++) {
    drift = 0.8 * drift + random.between(-0.2, 0.2);
    const turn = heading + drift + random.between(-0.75, 0.75);
    const length = random.between(0.6, 1.4);
    const [px, py] = path.at(-1)!;
    path.push([px + Math.cos(turn) * length, py + Math.sin(turn) * length]);
  }
  return path;
}
