import type { Pixels } from './resample.ts';

/** How far an image may be changed so that it still shows what is said of it. */
export interface Augmentation {
  /** Left and right may change places. */
  flip: boolean;
  /** Least share of each side that is kept, above 0 and up to 1. */
  crop: number;
  /** Largest change of brightness, as a share. */
  brightness: number;
  /** Largest turn, degrees. */
  rotation: number;
}

/** Small changes, for pictures whose sides may change places. */
export const SMALL_CHANGES: Augmentation = { flip: true, crop: 0.85, brightness: 0.15, rotation: 7 };

/**
 * The image flipped, cropped, turned and made brighter or darker by chance; of the same size. What comes in from outside
 * repeats the edge.
 * @param random uniform in [0, 1)
 */
export function augment(image: Pixels, changes: Augmentation, random: () => number): Pixels {
  const { width, height, channels, data } = image;
  const mirror = changes.flip && random() < 0.5 ? -1 : 1;
  const kept = changes.crop + (1 - changes.crop) * random();
  const shift = { x: (random() - 0.5) * (1 - kept) * width, y: (random() - 0.5) * (1 - kept) * height };
  const angle = ((2 * random() - 1) * changes.rotation * Math.PI) / 180;
  const gain = 1 + (2 * random() - 1) * changes.brightness;
  const [cos, sin] = [Math.cos(angle) * kept, Math.sin(angle) * kept];
  const middle = { x: (width - 1) / 2, y: (height - 1) / 2 };
  const out = new Uint8Array(data.length);
  const at = (x: number, y: number, c: number) => {
    const column = Math.min(width - 1, Math.max(0, x));
    const row = Math.min(height - 1, Math.max(0, y));
    return data[(row * width + column) * channels + c]!;
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [dx, dy] = [(x - middle.x) * mirror, y - middle.y];
      const sourceX = middle.x + shift.x + cos * dx - sin * dy;
      const sourceY = middle.y + shift.y + sin * dx + cos * dy;
      const [left, top] = [Math.floor(sourceX), Math.floor(sourceY)];
      const [right, below] = [sourceX - left, sourceY - top];
      for (let c = 0; c < channels; c++) {
        const upper = at(left, top, c) * (1 - right) + at(left + 1, top, c) * right;
        const lower = at(left, top + 1, c) * (1 - right) + at(left + 1, top + 1, c) * right;
        const value = gain * (upper * (1 - below) + lower * below);
        out[(y * width + x) * channels + c] = Math.min(255, Math.max(0, Math.round(value)));
      }
    }
  }
  return { width, height, channels, data: out };
}
