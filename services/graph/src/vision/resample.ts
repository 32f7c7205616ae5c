/** An image of 8 bits a channel, row by row. */
export interface Pixels {
  width: number;
  height: number;
  channels: number;
  /** [height, width, channels] */
  data: Uint8Array;
}

export type Filter = 'bilinear' | 'bicubic' | 'lanczos';

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** How far each filter reaches, and its weight at a distance. The cubic one has a = -0.5. */
const FILTERS: Record<Filter, { support: number; weight: (x: number) => number }> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight(x) {
      const at = Math.abs(x);
      if (at < 1) return (1.5 * at - 2.5) * at * at + 1;
      return at < 2 ? ((-0.5 * at + 2.5) * at - 4) * at + 2 : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Bits behind the point of a weight. */
const PRECISION = 22;

/** What a line of the result is made of: the place `i` of inputs from `from[i]` on, with weights from `starts[i]` on. */
interface Taps {
  from: Int32Array;
  /** [places + 1]: the weights of a place end where those of the next begin. */
  starts: Int32Array;
  weights: Int32Array;
}

/** Part of an image, in its pixels. */
export interface Window {
  left: number;
  top: number;
  width: number;
  height: number;
}

/**
 * Another size, each pixel the weighted mean of all that it covers: to the byte what Pillow's `Image.resize` gives, which
 * the reference image processors are built on. Rows first, then columns, rounded to bytes between.
 * @param window what of the result is wanted, within it: no other pixel is computed
 */
export function resize(
  image: Pixels,
  width: number,
  height: number,
  filter: Filter,
  window: Window = { left: 0, top: 0, width, height },
): Pixels {
  const rows = taps(image.height, height, filter, window.top, window.height);
  const columns = taps(image.width, width, filter, window.left, window.width);
  // Of the image just the rows that some row of the window is made of.
  const first = rows.from[0]!;
  const last = window.height - 1;
  const end = rows.from[last]! + rows.starts[last + 1]! - rows.starts[last]!;
  const same = image.width === width && window.width === width;
  const wide = same ? image : alongRows(image, columns, first, end);
  const skipped = same ? 0 : first;
  return wide.height === height && window.height === height ? wide : alongColumns(wide, rows, skipped);
}

/** @param skipped places before the first that is wanted @param count how many are */
function taps(size: number, wanted: number, name: Filter, skipped: number, count: number): Taps {
  const { support, weight } = FILTERS[name];
  const scale = size / wanted;
  // Where the result is smaller the filter is as wide as a pixel of it.
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const [from, starts] = [new Int32Array(count), new Int32Array(count + 1)];
  const weights = new Int32Array(count * (2 * Math.ceil(reach) + 1));
  for (let i = 0, at = 0; i < count; i++) {
    const centre = (i + skipped + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(centre - reach + 0.5));
    const places = Math.min(size, Math.trunc(centre + reach + 0.5)) - begin;
    const own = Array.from({ length: places }, (_, k) => weight((begin + k - centre + 0.5) / stretch));
    const sum = own.reduce((total, one) => total + one, 0);
    for (const one of own) {
      const scaled = (one / sum) * 2 ** PRECISION;
      weights[at++] = Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    }
    from[i] = begin;
    starts[i + 1] = at;
  }
  return { from, starts, weights };
}

const HALF = 1 << (PRECISION - 1);

// Sums stay within 32 bits, and are written so that the compiler sees it: with doubles this takes four times as long.

/** Rows `first` to `end` of an image of three channels, each made anew. */
function alongRows({ width, channels, data }: Pixels, columns: Taps, first: number, end: number): Pixels {
  if (channels !== 3) throw new Error(`an image of ${channels} channels is not resized`);
  const { from, starts, weights } = columns;
  const result = new Uint8Array((end - first) * from.length * 3);
  let to = 0;
  for (let y = first; y < end; y++) {
    for (let x = 0; x < from.length; x++) {
      let [r, g, b] = [HALF, HALF, HALF];
      let at = (y * width + from[x]!) * 3;
      for (let k = starts[x]!; k < starts[x + 1]!; k++, at += 3) {
        const weight = weights[k]!;
        r = (r + Math.imul(data[at]!, weight)) | 0;
        g = (g + Math.imul(data[at + 1]!, weight)) | 0;
        b = (b + Math.imul(data[at + 2]!, weight)) | 0;
      }
      result[to] = byte(r);
      result[to + 1] = byte(g);
      result[to + 2] = byte(b);
      to += 3;
    }
  }
  return { width: from.length, height: end - first, channels, data: result };
}

/** @param skipped rows that the taps count and the image has no more */
function alongColumns({ width, channels, data }: Pixels, rows: Taps, skipped: number): Pixels {
  const { from, starts, weights } = rows;
  const stride = width * channels;
  const result = new Uint8Array(from.length * stride);
  // A row of sums at a time: memory is read in its order.
  const sums = new Int32Array(stride);
  for (let y = 0; y < from.length; y++) {
    sums.fill(HALF);
    let at = (from[y]! - skipped) * stride;
    for (let k = starts[y]!; k < starts[y + 1]!; k++, at += stride) {
      const weight = weights[k]!;
      for (let x = 0; x < stride; x++) sums[x] = (sums[x]! + Math.imul(data[at + x]!, weight)) | 0;
    }
    const to = y * stride;
    for (let x = 0; x < stride; x++) result[to + x] = byte(sums[x]!);
  }
  return { width, height: from.length, channels, data: result };
}

function byte(sum: number): number {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
