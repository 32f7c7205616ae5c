import { Tensor as OrtTensor } from 'onnxruntime-node';

/** A condition that a graph reads [1]. */
export const bool = (value: boolean) => new OrtTensor('bool', Uint8Array.of(Number(value)), [1]);

export function int64(values: readonly number[], shape: readonly number[] = [values.length]): OrtTensor {
  return new OrtTensor('int64', BigInt64Array.from(values, BigInt), shape);
}
