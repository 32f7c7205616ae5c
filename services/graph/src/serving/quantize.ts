/**
 * A weight [M, K] rounded to 8 bits, symmetric, a scale for each output; values [K, M], as the product reads them.
 * @returns w[m, k] = values[k, m] * scales[m] within half a scale
 */
export function packInt8(
  weight: Float32Array,
  [outputs, inputs]: readonly [number, number],
): { values: Int8Array; scales: Float32Array } {
  const values = new Int8Array(outputs * inputs);
  const scales = new Float32Array(outputs);
  // In strips of outputs: what is written to one line of the transposed values stays near.
  const strip = 64;
  for (let first = 0; first < outputs; first += strip) {
    const end = Math.min(outputs, first + strip);
    for (let o = first; o < end; o++) {
      let largest = 0;
      for (let i = o * inputs; i < (o + 1) * inputs; i++) largest = Math.max(largest, Math.abs(weight[i]!));
      scales[o] = largest / 127 || 1;
    }
    for (let i = 0; i < inputs; i++) {
      for (let o = first; o < end; o++)
        values[i * outputs + o] = Math.round(weight[o * inputs + i]! / scales[o]!);
    }
  }
  return { values, scales };
}

/**
 * A weight [M, K] rounded to 4 bits in blocks along its inputs, in the layout of com.microsoft.MatMulNBits: values
 * [M, ceil(K / block), block / 2], the lower half of a byte first, scales [M * ceil(K / block)], zero point 8. The scale
 * is that of the value farthest from zero, which is met exactly, as in llama.cpp's Q4_0.
 */
export function packInt4(
  weight: Float32Array,
  [outputs, inputs]: readonly [number, number],
  block: number,
): { values: Uint8Array; scales: Float32Array } {
  const blocks = Math.ceil(inputs / block);
  const values = new Uint8Array((outputs * blocks * block) / 2).fill(0x88);
  const scales = new Float32Array(outputs * blocks);
  for (let o = 0; o < outputs; o++) {
    for (let b = 0; b < blocks; b++) {
      const from = o * inputs + b * block;
      const end = Math.min(from + block, (o + 1) * inputs);
      let farthest = 0;
      for (let i = from; i < end; i++) if (Math.abs(weight[i]!) > Math.abs(farthest)) farthest = weight[i]!;
      const scale = farthest / -8 || 1;
      scales[o * blocks + b] = scale;
      const at = ((o * blocks + b) * block) / 2;
      for (let i = from; i < end; i++) {
        const value = Math.min(15, Math.round(weight[i]! / scale) + 8);
        const byte = at + ((i - from) >> 1);
        const high = (i - from) & 1;
        values[byte] = high ? (values[byte]! & 0x0f) | (value << 4) : (values[byte]! & 0xf0) | value;
      }
    }
  }
  return { values, scales };
}
