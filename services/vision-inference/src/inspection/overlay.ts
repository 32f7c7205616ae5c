import sharp from 'sharp';
import { drawLabel } from './label.ts';

/** Where a model looked, row by row from the top; the weights' sum is 1. */
export interface Grid {
  rows: number;
  columns: number;
  weights: readonly number[];
}

/** A defect to be drawn; the box in shares of the image, 0 to 1. */
export interface Marked {
  box: readonly [number, number, number, number];
  /** ASCII, such as `scratch 87%`. */
  label: string;
  grid: Grid | undefined;
}

/** Small images are drawn larger, so that labels can be read, and large ones smaller. */
const [SMALLEST_SIDE, LARGEST_SIDE] = [512, 1536];
const BORDER = 2;
/** Share of the hottest place that is left of the image. */
const STRONGEST = 0.65;
const MARKS = [
  [255, 64, 64],
  [64, 200, 255],
  [255, 200, 0],
  [120, 255, 120],
] as const;

/**
 * Draws where a model looked over its image, and the boxes of what it found: the grids of all defects, each by its own
 * strongest patch, made smooth by cubic interpolation.
 *
 * @param image encoded, upright
 * @returns PNG
 */
export async function drawOverlay(image: Uint8Array, defects: readonly Marked[]): Promise<Uint8Array> {
  const { width: w, height: h } = await sharp(image).metadata();
  const longest = Math.max(w, h);
  const scale = Math.min(LARGEST_SIDE, Math.max(SMALLEST_SIDE, longest)) / longest;
  const [width, height] = [Math.max(1, Math.round(w * scale)), Math.max(1, Math.round(h * scale))];
  const rgb = await sharp(image)
    .flatten({ background: '#ffffff' })
    .resize(width, height, { fit: 'fill', kernel: 'cubic' })
    .toColourspace('srgb')
    .removeAlpha()
    .raw()
    .toBuffer();
  const heat = new Float32Array(width * height);
  for (const { grid } of defects) {
    if (!grid) continue;
    const smooth = await smoothly(grid, width, height);
    for (let i = 0; i < heat.length; i++) heat[i] = Math.max(heat[i]!, smooth[i]! / 255);
  }
  blend(rgb, heat);
  const canvas = { rgb, width, height };
  for (const [i, { box, label }] of defects.entries()) {
    const colour = MARKS[i % MARKS.length]!;
    const [x0, y0, x1, y1] = box;
    const at = [x0 * width, y0 * height, x1 * width, y1 * height].map(Math.round) as [
      number,
      number,
      number,
      number,
    ];
    drawBox(canvas, at, colour);
    drawLabel(canvas, at, label, colour);
  }
  return sharp(rgb, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Pixels to be drawn on: [height, width, 3]. */
export interface Canvas {
  rgb: Uint8Array;
  width: number;
  height: number;
}

export type Colour = readonly [red: number, green: number, blue: number];

/** A grid at the size of the image, 255 at its strongest place. */
async function smoothly(
  { rows, columns, weights }: Grid,
  width: number,
  height: number,
): Promise<Uint8Array> {
  const most = Math.max(...weights) || 1;
  const bytes = Uint8Array.from(weights, (weight) => Math.round((255 * weight) / most));
  const raw = { width: columns, height: rows, channels: 1 as const };
  const { data, info } = await sharp(bytes, { raw })
    .resize(width, height, { fit: 'fill', kernel: 'cubic' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  // Grey may come back with several equal channels.
  return info.channels === 1 ? data : data.filter((_, i) => i % info.channels === 0);
}

/** Colours from blue over green and yellow to red, stronger the more was looked at. */
function blend(rgb: Uint8Array, heat: Float32Array): void {
  for (let i = 0; i < heat.length; i++) {
    const strength = heat[i]!;
    const share = STRONGEST * strength;
    const colour = [ramp(4 * strength - 2), ramp(2 - Math.abs(4 * strength - 2)), ramp(2 - 4 * strength)];
    for (let c = 0; c < 3; c++) {
      const at = 3 * i + c;
      rgb[at] = Math.round((1 - share) * rgb[at]! + share * 255 * colour[c]!);
    }
  }
}

const ramp = (value: number) => Math.min(1, Math.max(0, value));

function drawBox({ rgb, width, height }: Canvas, at: readonly number[], colour: Colour): void {
  const [x0, y0, x1, y1] = at as [number, number, number, number];
  for (let y = Math.max(0, y0); y < Math.min(height, y1); y++) {
    for (let x = Math.max(0, x0); x < Math.min(width, x1); x++) {
      const inside = x >= x0 + BORDER && x < x1 - BORDER && y >= y0 + BORDER && y < y1 - BORDER;
      if (!inside) rgb.set(colour, 3 * (y * width + x));
    }
  }
}
