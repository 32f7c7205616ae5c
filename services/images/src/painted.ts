import sharp from 'sharp';
import { finish, open } from './decode.ts';
import { ENCODE } from './encode.ts';
import { IMAGE_LIMITS, type ImageLimits } from './limits.ts';

/** A place in pixels of the upright image; fractions lie within a pixel. */
export interface Point {
  x: number;
  y: number;
}

/** A convex polygon, its corners in order. */
export type Area = readonly Point[];

/**
 * The image with areas of it painted black, encoded anew in its own type: upright, with nothing kept but pixels. What lies
 * under an area is gone.
 * @throws ImageError as decodeImage
 */
export async function paintedImage(
  bytes: Uint8Array,
  areas: readonly Area[],
  limits: ImageLimits = IMAGE_LIMITS,
): Promise<Uint8Array> {
  const { header, image } = open(bytes, limits);
  const { data, info } = await finish(image.removeAlpha().raw({ depth: 'uchar' }));
  const { width, height, channels } = info;
  for (const area of areas) {
    for (let y = 0; y < height; y++) {
      const [from, to] = spanOf(area, y);
      const [first, last] = [Math.max(0, Math.floor(from)), Math.min(width - 1, Math.ceil(to))];
      if (first <= last) data.fill(0, (y * width + first) * channels, (y * width + last + 1) * channels);
    }
  }
  const painted = sharp(data, { raw: { width, height, channels } });
  return (await finish(ENCODE[header.mediaType](painted))).data;
}

/** From where to where an area covers anything of a row of pixels; an empty span where it covers nothing. */
function spanOf(area: Area, row: number): [number, number] {
  let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const add = (x: number) => {
    from = Math.min(from, x);
    to = Math.max(to, x);
  };
  for (const [i, a] of area.entries()) {
    const b = area[(i + 1) % area.length]!;
    if (a.y >= row && a.y <= row + 1) add(a.x);
    for (const y of [row, row + 1]) {
      if ((a.y < y && b.y > y) || (b.y < y && a.y > y)) add(a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x));
    }
  }
  return [from, to];
}
