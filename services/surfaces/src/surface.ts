import { type Canvas, clamp, eachCovered, type Shape } from './canvas.ts';
import { crack } from './defects/crack.ts';
import type { Drafter } from './defects/defect.ts';
import { deformation } from './defects/deformation.ts';
import { scratch } from './defects/scratch.ts';
import { stain } from './defects/stain.ts';
import { casting } from './materials/casting.ts';
import { circuit } from './materials/circuit.ts';
import { fabric } from './materials/fabric.ts';
import { metal } from './materials/metal.ts';
import { Random } from './random.ts';
import { damageOf, SEVERITIES, type Severity } from './severity.ts';

export const MATERIALS = ['metal', 'casting', 'fabric', 'circuit'] as const;
export type Material = (typeof MATERIALS)[number];
export const DEFECT_TYPES = ['crack', 'deformation', 'scratch', 'stain'] as const;
export type DefectType = (typeof DEFECT_TYPES)[number];

export type Box = [x0: number, y0: number, x1: number, y1: number];

export interface Defect {
  type: DefectType;
  severity: Severity;
  /** Pixels, right and bottom exclusive: around all of its mask, and no narrower than a sixteenth of the image. */
  box: Box;
}

export interface Surface {
  width: number;
  height: number;
  material: Material;
  /** [height, width, 3] */
  rgb: Uint8Array;
  /** From top to bottom of their boxes, left to right where they begin in one row. */
  defects: Defect[];
  /** [height, width]: 0 where the surface is sound, else one more than the index of the defect that lies there. */
  mask: Uint8Array;
}

export interface SurfaceOptions {
  seed: number;
  /** Pixels, 32 to 4096 (default 256). */
  width?: number;
  height?: number;
  material?: Material;
  /** How many defects are tried for; one that finds no room is left out. Default: none for two fifths, else 1 to 3. */
  count?: number;
}

const PAINT: Record<Material, (canvas: Canvas, random: Random) => void> = { metal, casting, fabric, circuit };
const DRAFT: Record<DefectType, Drafter> = { crack, deformation, scratch, stain };

/** From this cover on a pixel belongs to its defect. */
const SEEN = 0.35;
/** Light that a defect changes on average where it lies; what changes less on this ground is no defect. */
const VISIBLE = 0.055;
const TRIES = 24;

/** An industrial surface, with defects or without. The same options make the same bytes. @throws RangeError */
export function makeSurface(options: SurfaceOptions): Surface {
  const { seed, width = 256, height = 256 } = options;
  for (const side of [width, height])
    if (!Number.isInteger(side) || side < 32 || side > 4096)
      throw new RangeError(`a surface has 32 to 4096 pixels a side, not ${side}`);
  const random = new Random(seed);
  const material = options.material ?? random.pick(MATERIALS);
  const lamp = random.between(0, 2 * Math.PI);
  const canvas: Canvas = {
    width,
    height,
    rgb: new Float32Array(width * height * 3),
    unit: Math.min(width, height) / 256,
    light: [Math.cos(lamp), Math.sin(lamp)],
  };
  PAINT[material](canvas, random);
  const count = options.count ?? random.pick([0, 0, 0, 0, 1, 1, 1, 2, 2, 3]);
  const found: { defect: Defect; pixels: Uint32Array }[] = [];
  for (let i = 0; i < count; i++) {
    const added = addDefect(canvas, random, found);
    if (added) found.push(added);
  }
  found.sort(({ defect: { box: a } }, { defect: { box: b } }) => a[1] - b[1] || a[0] - b[0]);
  const mask = new Uint8Array(width * height);
  for (const [i, { pixels }] of found.entries()) for (const at of pixels) mask[at] = i + 1;
  return {
    width,
    height,
    material,
    rgb: bytes(canvas, random),
    defects: found.map(({ defect }) => defect),
    mask,
  };
}

function addDefect(
  canvas: Canvas,
  random: Random,
  others: readonly { defect: Defect }[],
): { defect: Defect; pixels: Uint32Array } | undefined {
  const type = random.pick(DEFECT_TYPES);
  const severity = random.pick(SEVERITIES);
  const damage = damageOf(severity, random);
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const { shape, paint } = DRAFT[type](canvas, random, damage);
    const pixels = seen(canvas, shape);
    const box = boxOf(canvas, pixels);
    if (!box || others.some(({ defect }) => near(defect.box, box, 6 * canvas.unit))) continue;
    const before = canvas.rgb.slice();
    paint();
    if (change(canvas.rgb, before, pixels) >= VISIBLE) return { defect: { type, severity, box }, pixels };
    canvas.rgb.set(before);
  }
  return undefined;
}

function seen(canvas: Canvas, shape: Shape): Uint32Array {
  const pixels: number[] = [];
  eachCovered(canvas, shape, (at, value) => {
    if (value >= SEEN) pixels.push(at);
  });
  return Uint32Array.from(pixels);
}

/** The box of some pixels; undefined where there are none or they touch the image's edge. */
function boxOf({ width, height, unit }: Canvas, pixels: Uint32Array): Box | undefined {
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (const at of pixels) {
    const [x, y] = [at % width, Math.floor(at / width)];
    x0 = Math.min(x0, x);
    y0 = Math.min(y0, y);
    x1 = Math.max(x1, x + 1);
    y1 = Math.max(y1, y + 1);
  }
  if (pixels.length === 0 || x0 === 0 || y0 === 0 || x1 === width || y1 === height) return undefined;
  const least = Math.ceil(16 * unit);
  const widened = (low: number, high: number, side: number): [number, number] => {
    const missing = least - (high - low);
    if (missing <= 0) return [low, high];
    const from = clamp(low - Math.floor(missing / 2), 0, side - least);
    return [from, from + least];
  };
  [x0, x1] = widened(x0, x1, width);
  [y0, y1] = widened(y0, y1, height);
  return [x0, y0, x1, y1];
}

const near = (a: Box, b: Box, gap: number) =>
  a[0] - gap < b[2] && b[0] - gap < a[2] && a[1] - gap < b[3] && b[1] - gap < a[3];

/** Mean difference over some pixels of the channel that differs most. */
function change(now: Float32Array, before: Float32Array, pixels: Uint32Array): number {
  let sum = 0;
  for (const at of pixels) {
    let most = 0;
    for (let c = 0; c < 3; c++)
      most = Math.max(most, Math.abs(clamp(now[at * 3 + c]!, 0, 1) - clamp(before[at * 3 + c]!, 0, 1)));
    sum += most;
  }
  return sum / pixels.length;
}

/** What a camera makes of it: a little noise of its own, 8 bits. */
function bytes({ rgb }: Canvas, random: Random): Uint8Array {
  const noisy = random.between(0.002, 0.012);
  const out = new Uint8Array(rgb.length);
  let state = random.below(2 ** 31) | 1;
  for (let i = 0; i < rgb.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const value = rgb[i]! + (noisy * state) / 2 ** 31;
    out[i] = value <= 0 ? 0 : value >= 1 ? 255 : Math.round(value * 255);
  }
  return out;
}
