/** IEEE 754 half precision to single, all values included. */
export function float16ToFloat32(source: Uint16Array, target: Float32Array): void {
  // Node's own Float16Array reads the same bits.
  target.set(new Float16Array(source.buffer, source.byteOffset, source.length));
}

/** Single to half precision, rounded to nearest even. */
export function float32ToFloat16(source: Float32Array): Uint16Array {
  const half = new Float16Array(source);
  return new Uint16Array(half.buffer);
}

/** bfloat16 is the upper half of a single. */
export function bfloat16ToFloat32(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

/** Single to bfloat16, rounded to nearest even; what is not a number stays so. */
export function float32ToBfloat16(source: Float32Array): Uint16Array {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  const target = new Uint16Array(source.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    // Rounding up would turn some of them into an infinity.
    if ((b & 0x7fffffff) > 0x7f800000) target[i] = (b >>> 16) | 0x40;
    else target[i] = (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return target;
}
