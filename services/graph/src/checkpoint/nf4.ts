/*
 * NF4 weights (Dettmers et al. 2023) in the layout that MatMulBnb4 reads: values of [N, K] row by row in blocks, two a
 * byte, the first in the upper half, and the largest absolute value of each block.
 */

/** The 16 values: quantiles of a normal distribution, 0 among them. */
export const NF4_VALUES = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
);

/** Between two neighbours: a value above it takes the upper one. As bitsandbytes and ONNX Runtime have them. */
const BORDERS = Float32Array.of(
  -0.8480964004993439,
  -0.6106329262256622,
  -0.4599952697753906,
  -0.33967943489551544,
  -0.23460740596055984,
  -0.1379117331504822,
  -0.045525018125772476,
  0.03979014977812767,
  0.1202552504837513,
  0.2035212516784668,
  0.2920137718319893,
  0.3893125355243683,
  0.5016634166240692,
  0.6427869200706482,
  0.8614784181118011,
);

/** A weight in NF4. */
export interface Nf4Weight {
  /** [N, K]. */
  shape: readonly [number, number];
  blockSize: number;
  /** Two values a byte, [ceil(N * K / 2)]. */
  packed: Uint8Array;
  /** Largest absolute value of each block, [ceil(N * K / blockSize)]. */
  absmax: Float32Array;
}

/** Cells to each side of 0, each narrower than any two borders are apart. */
const CELLS = 2048;
/** The value's code at each cell's lower end. */
const GUIDE = Uint8Array.from(
  { length: 2 * CELLS + 1 },
  (_, cell) => BORDERS.filter((border) => cell / CELLS - 1 > border).length,
);

/** @param value -1 to 1; equal to a border takes the lower code */
function code(value: number): number {
  const found = GUIDE[(value * CELLS + CELLS) | 0]!;
  return found < 15 && value > BORDERS[found]! ? found + 1 : found;
}

/** Packs a weight. @param data [N, K], row by row; the last block may be short */
export function quantizeNf4(data: Float32Array, shape: readonly [number, number], blockSize = 64): Nf4Weight {
  const packed = new Uint8Array(Math.ceil(data.length / 2));
  const absmax = new Float32Array(Math.ceil(data.length / blockSize));
  for (let block = 0; block < absmax.length; block++) {
    const from = block * blockSize;
    const to = Math.min(data.length, from + blockSize);
    let largest = 0;
    for (let i = from; i < to; i++) {
      const size = Math.abs(data[i]!);
      if (size > largest) largest = size;
    }
    absmax[block] = largest;
    const inverse = largest > 0 ? Math.fround(1 / largest) : 0;
    for (let i = from; i < to; i++) {
      packed[i >> 1]! |= code(Math.fround(data[i]! * inverse)) << (i % 2 === 0 ? 4 : 0);
    }
  }
  return { shape, blockSize, packed, absmax };
}

/** The weight that the packed values stand for, [N, K]. */
export function dequantizeNf4({ shape, blockSize, packed, absmax }: Nf4Weight): Float32Array {
  const data = new Float32Array(shape[0] * shape[1]);
  for (let i = 0; i < data.length; i++) {
    const byte = packed[i >> 1]!;
    data[i] = NF4_VALUES[i % 2 === 0 ? byte >> 4 : byte & 15]! * absmax[Math.floor(i / blockSize)]!;
  }
  return data;
}

/** Maxima in 8 bits: QLoRA's second quantisation, in blocks of 256 around their mean. */
export interface QuantizedMaxima {
  /** Index into `codebook`, one for each maximum. */
  codes: Uint8Array;
  /** Largest distance from the mean in each block of 256. */
  scales: Float32Array;
  /** Mean of all maxima. */
  offset: number;
}

export const MAXIMA_BLOCK = 256;

/**
 * bitsandbytes' dynamic 8-bit code (Dettmers 2015): 256 sorted values from -1 to 1, finer near 0; a sign, zeros that
 * count the decimal exponent, and a fraction.
 */
export const DYNAMIC_CODE: Float32Array = dynamicCode();

function dynamicCode(): Float32Array {
  const values: number[] = [];
  for (let i = 0; i < 7; i++) {
    const fractions = 2 ** i;
    const step = 0.9 / fractions;
    for (let k = 0; k < fractions; k++) {
      const mean = 10 ** (i - 6) * (0.1 + (k + 0.5) * step);
      values.push(mean, -mean);
    }
  }
  values.push(0, 1);
  return Float32Array.from(values).sort();
}

/** Quantises block maxima once more. */
export function quantizeMaxima(absmax: Float32Array): QuantizedMaxima {
  const offset = Math.fround(absmax.reduce((sum, x) => sum + x, 0) / Math.max(1, absmax.length));
  const codes = new Uint8Array(absmax.length);
  const scales = new Float32Array(Math.ceil(absmax.length / MAXIMA_BLOCK));
  for (let block = 0; block < scales.length; block++) {
    const from = block * MAXIMA_BLOCK;
    const to = Math.min(absmax.length, from + MAXIMA_BLOCK);
    let largest = 0;
    for (let i = from; i < to; i++) largest = Math.max(largest, Math.abs(absmax[i]! - offset));
    scales[block] = largest;
    for (let i = from; i < to; i++) codes[i] = nearest(largest > 0 ? (absmax[i]! - offset) / largest : 0);
  }
  return { codes, scales, offset };
}

/** The maxima that the codes stand for. */
export function dequantizeMaxima({ codes, scales, offset }: QuantizedMaxima): Float32Array {
  return Float32Array.from(
    codes,
    (c, i) => DYNAMIC_CODE[c]! * scales[Math.floor(i / MAXIMA_BLOCK)]! + offset,
  );
}

function nearest(value: number): number {
  let low = 0;
  let high = DYNAMIC_CODE.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (DYNAMIC_CODE[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - DYNAMIC_CODE[low - 1]! < DYNAMIC_CODE[low]! - value ? low - 1 : low;
}
