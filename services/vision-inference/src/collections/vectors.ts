import { invalidArgument } from '@landfall/common/errors/errors.ts';

/** A vector of length 1 in the same direction. @throws LandfallError INVALID_ARGUMENT for one without a direction */
export function unitVector(field: string, values: readonly number[] | Float32Array): Float32Array {
  const length = Math.hypot(...values);
  if (!(length > 0) || !Number.isFinite(length))
    throw invalidArgument(
      field,
      'must have a length: give a value that is not 0, and none that is too large',
    );
  return Float32Array.from(values, (value) => value / length);
}

/** @param share of the first, 0 to 1 */
export function mixed(field: string, first: Float32Array, second: Float32Array, share: number): Float32Array {
  return unitVector(
    field,
    first.map((value, i) => share * value + (1 - share) * second[i]!),
  );
}

export function vectorBytes({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** A copy: what a database gives may begin at any address. */
export function vectorOf({ buffer, byteOffset, byteLength }: Uint8Array): Float32Array {
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
}
