import { resize } from '@landfall/graph/vision/resample.ts';
import type { Severity } from '@landfall/surfaces/severity.ts';
import { type DefectType, makeSurface, type SurfaceOptions } from '@landfall/surfaces/surface.ts';

/** Pixels of a side that the tower sees, and of one of its patches. */
export const SIDE = 192;
export const PATCH = 12;
/** What the boxes of an answer count to from edge to edge. */
export const BOX_SCALE = 64;
/** Cells of a side that the mask is kept in: four by four in a patch. */
export const CELLS = (SIDE / PATCH) * 4;

export interface Target {
  type: DefectType;
  severity: Severity;
  /** 0 to BOX_SCALE. */
  box: [x0: number, y0: number, x1: number, y1: number];
}

/** What is learnt from one surface. */
export interface Sample {
  /** [SIDE, SIDE, 3] */
  pixels: Uint8Array;
  targets: Target[];
  /** [CELLS, CELLS]: 0, or one more than the index of the target that lies there. */
  cells: Uint8Array;
}

/** Pixels of a cell that a defect must hold to be told from a stray one. */
const HELD = 2;

export function sampleOf(options: SurfaceOptions): Sample {
  const { rgb, width, height, defects, mask } = makeSurface(options);
  const counts = Array.from(defects, () => new Uint16Array(CELLS * CELLS));
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * CELLS) / height) * CELLS;
    for (let x = 0; x < width; x++) {
      const held = mask[y * width + x]!;
      if (held > 0) counts[held - 1]![row + Math.floor((x * CELLS) / width)]! += 1;
    }
  }
  const cells = new Uint8Array(CELLS * CELLS);
  for (let at = 0; at < cells.length; at++) {
    let most = HELD - 1;
    for (const [i, count] of counts.entries()) if (count[at]! > most) [most, cells[at]] = [count[at]!, i + 1];
  }
  const targets = defects.map(({ type, severity, box }): Target => {
    const scaled = (value: number, side: number) => Math.round((value * BOX_SCALE) / side);
    const [x0, y0, x1, y1] = box;
    return {
      type,
      severity,
      box: [scaled(x0, width), scaled(y0, height), scaled(x1, width), scaled(y1, height)],
    };
  });
  const { data } = resize({ data: rgb, width, height, channels: 3 }, SIDE, SIDE, 'bilinear');
  return { pixels: data, targets, cells };
}

/** One of the eight ways that a square can be turned and mirrored, 0 to 7. */
export function turned({ pixels, targets, cells }: Sample, way: number): Sample {
  if (way === 0) return { pixels, targets, cells };
  const from = (x: number, y: number, last: number): [number, number] => {
    const [u, v] = way & 4 ? [y, x] : [x, y];
    return [way & 1 ? last - u : u, way & 2 ? last - v : v];
  };
  const boxes = targets.map(({ box: [x0, y0, x1, y1], ...rest }) => {
    // `from` leads from the new image to the old one; its inverse mirrors first and swaps then.
    const mirror = (low: number, high: number, flipped: number): [number, number] =>
      flipped ? [BOX_SCALE - high, BOX_SCALE - low] : [low, high];
    const [u0, u1] = mirror(x0, x1, way & 1);
    const [v0, v1] = mirror(y0, y1, way & 2);
    const box: Target['box'] = way & 4 ? [v0, u0, v1, u1] : [u0, v0, u1, v1];
    return { ...rest, box };
  });
  const order = boxes.map((_, i) => i).sort((a, b) => inReadingOrder(boxes[a]!, boxes[b]!));
  const place = new Uint8Array(order.length + 1);
  for (const [now, before] of order.entries()) place[before + 1] = now + 1;
  const out = new Uint8Array(pixels.length);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const [u, v] = from(x, y, SIDE - 1);
      const [to, at] = [(y * SIDE + x) * 3, (v * SIDE + u) * 3];
      out[to] = pixels[at]!;
      out[to + 1] = pixels[at + 1]!;
      out[to + 2] = pixels[at + 2]!;
    }
  }
  const outCells = new Uint8Array(cells.length);
  for (let y = 0; y < CELLS; y++) {
    for (let x = 0; x < CELLS; x++) {
      const [u, v] = from(x, y, CELLS - 1);
      outCells[y * CELLS + x] = place[cells[v * CELLS + u]!]!;
    }
  }
  return { pixels: out, targets: order.map((i) => boxes[i]!), cells: outCells };
}

/** Answers list defects from top to bottom, left to right where they begin in one row. */
const inReadingOrder = ({ box: a }: Target, { box: b }: Target) => a[1] - b[1] || a[0] - b[0];
