import { type Canvas, eachCovered, emptyShape, line } from '../canvas.ts';
import type { Random } from '../random.ts';
import type { Damage } from '../severity.ts';
import { type Draft, fitted, within } from './defect.ts';

/** Diagonal of a scratch's box, of an image of 256, and the light that its bright side adds. */
const LENGTH = [38, 180] as const;
const LIGHT = [0.17, 0.42] as const;
const HALF_WIDTH = [0.45, 1] as const;

/** A scratch: a smooth thin groove, at times several side by side; one flank catches the light, the other lies dark. */
export function scratch(canvas: Canvas, random: Random, { size, contrast }: Damage): Draft {
  const heading = random.between(0, 2 * Math.PI);
  const bend = random.between(-0.35, 0.35);
  const [dx, dy] = [Math.cos(heading), Math.sin(heading)];
  const strokes = random.pick([1, 1, 2, 3]);
  const gap = random.between(0.03, 0.07);
  const paths = Array.from({ length: strokes }, (_, stroke) => {
    const [from, to] = stroke === 0 ? [0, 1] : [random.between(0, 0.3), random.between(0.7, 1)];
    return Array.from({ length: 17 }, (_, i): [number, number] => {
      const t = from + ((to - from) * i) / 16;
      const off = bend * t * (1 - t) + stroke * gap;
      return [t * dx - off * dy, t * dy + off * dx];
    });
  });
  const shape = emptyShape(canvas);
  const flank = emptyShape(canvas);
  const half = within(HALF_WIDTH, contrast) * canvas.unit;
  const beside = 2 * half + 0.4 * canvas.unit;
  for (const path of fitted(canvas, random, paths, within(LENGTH, size) * canvas.unit)) {
    const last = path.length - 1;
    const widthAt = (at: number) => half * (0.35 + 0.65 * Math.sin((Math.PI * at) / last));
    for (let at = 0; at < last; at++) {
      const widths = [widthAt(at), widthAt(at + 1)] as const;
      const [a, b] = [path[at]!, path[at + 1]!];
      line(canvas, shape, a, b, widths);
      const move = ([x, y]: readonly [number, number]) => [x - dy * beside, y + dx * beside] as const;
      line(canvas, flank, move(a), move(b), widths);
    }
  }
  const light = within(LIGHT, contrast);
  return { shape, paint };

  function paint(): void {
    const { rgb } = canvas;
    const shade = (amount: number) => (at: number, value: number) => {
      for (let c = 0; c < 3; c++) rgb[at * 3 + c]! += amount * value;
    };
    eachCovered(canvas, flank, shade(-0.5 * light));
    eachCovered(canvas, shape, shade(light));
  }
}
