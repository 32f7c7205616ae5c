import sharp from 'sharp';
import type { Quad } from './reading.ts';

/** Upright pixels, [height, width, 3], sRGB. */
export interface Pixels {
  width: number;
  height: number;
  rgb: Uint8Array;
}

/** An image resized, with a frame of its own edges around it. */
export async function resized({ width, height, rgb }: Pixels, scale: number, frame = 0): Promise<Pixels> {
  let image = sharp(rgb, { raw: { width, height, channels: 3 }, limitInputPixels: false });
  if (scale !== 1)
    image = image.resize(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)), {
      fit: 'fill',
    });
  if (frame > 0)
    image = image.extend({ top: frame, bottom: frame, left: frame, right: frame, extendWith: 'copy' });
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  return {
    width: info.width,
    height: info.height,
    rgb: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

/** An image and its halves, quarters and so on, each made once it is asked for: large letters are sampled of a small one. */
export class Levels {
  readonly #levels: Promise<Pixels>[];

  constructor(pixels: Pixels) {
    this.#levels = [Promise.resolve(pixels)];
  }

  /**
   * The part of the image under a quad, straight: `height` rows of `width` pixels.
   * @returns [3, height, width], blue first, from -1 to 1, as PaddleOCR's recognisers take it
   */
  async straight(quad: Quad, width: number, height: number): Promise<Float32Array> {
    const [begin, end, , below] = quad;
    const rows = Math.hypot(below.x - begin.x, below.y - begin.y);
    const level = Math.max(0, Math.round(Math.log2(rows / height)));
    const { width: across, height: down, rgb } = await this.#level(level);
    const scale = 2 ** -level;
    const out = new Float32Array(3 * width * height);
    for (let row = 0; row < height; row++) {
      const v = (row + 0.5) / height;
      for (let column = 0; column < width; column++) {
        const u = (column + 0.5) / width;
        const x = (begin.x + u * (end.x - begin.x) + v * (below.x - begin.x)) * scale - 0.5;
        const y = (begin.y + u * (end.y - begin.y) + v * (below.y - begin.y)) * scale - 0.5;
        const [left, top] = [clamped(Math.floor(x), across - 1), clamped(Math.floor(y), down - 1)];
        const [right, bottom] = [Math.min(left + 1, across - 1), Math.min(top + 1, down - 1)];
        const [dx, dy] = [clamped(x - left, 1), clamped(y - top, 1)];
        for (let channel = 0; channel < 3; channel++) {
          const at = (px: number, py: number) => rgb[(py * across + px) * 3 + channel]!;
          const above = at(left, top) * (1 - dx) + at(right, top) * dx;
          const under = at(left, bottom) * (1 - dx) + at(right, bottom) * dx;
          out[(2 - channel) * width * height + row * width + column] =
            (above * (1 - dy) + under * dy) / 127.5 - 1;
        }
      }
    }
    return out;
  }

  async #level(wanted: number): Promise<Pixels> {
    for (let made = this.#levels.length; made <= wanted; made++)
      this.#levels.push(this.#levels[made - 1]!.then((pixels) => resized(pixels, 0.5)));
    return this.#levels[wanted]!;
  }
}

const clamped = (value: number, most: number) => Math.min(Math.max(value, 0), most);
