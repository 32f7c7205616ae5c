import type { PixelBox } from '@landfall/deploy/inspection-model/figures.ts';
import type { Piece } from './inspect-folder.ts';

/** Shares of a model's attention by patch. */
export interface Grid {
  rows: number;
  columns: number;
  weights: readonly number[];
}

/** How far a heat map agrees with where a defect is. */
export interface Agreement {
  /** Whether the patch that was looked at most touches the defect (the pointing game; Zhang et al. 2016). */
  points: boolean;
  /** Share of the attention within the defect's box, and the box's share of the image: what chance would give. */
  within: number;
  area: number;
}

/** @param index of the defect @param size of the image */
export function agreementOf(
  grid: Grid,
  { defects, mask }: Piece,
  index: number,
  { width, height }: { width: number; height: number },
): Agreement {
  const { rows, columns, weights } = grid;
  const box = defects[index]!.box;
  const cell = (at: number): PixelBox => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    return [
      (column * width) / columns,
      (row * height) / rows,
      ((column + 1) * width) / columns,
      ((row + 1) * height) / rows,
    ];
  };
  const most = weights.indexOf(Math.max(...weights));
  const shared = (a: PixelBox, b: PixelBox) =>
    Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) *
    Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const cellArea = (width * height) / (rows * columns);
  return {
    points: mask ? touches(mask, cell(most), index + 1) : shared(cell(most), box) > 0,
    within: weights.reduce((sum, weight, at) => sum + (weight * shared(cell(at), box)) / cellArea, 0),
    area: shared(box, [0, 0, width, height]) / (width * height),
  };
}

function touches({ width, data }: NonNullable<Piece['mask']>, box: PixelBox, value: number): boolean {
  for (let y = Math.floor(box[1]); y < Math.ceil(box[3]); y++)
    for (let x = Math.floor(box[0]); x < Math.ceil(box[2]); x++)
      if (data[y * width + x] === value) return true;
  return false;
}
