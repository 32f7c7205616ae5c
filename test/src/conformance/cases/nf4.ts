import { readFileSync } from 'node:fs';
import { quantizeNf4 } from '@landfall/graph/checkpoint/nf4.ts';
import { Differences, type Outcome, UnsupportedCase } from '../outcome.ts';

interface Expected {
  K: number;
  N: number;
  block_size: number;
  /** In the order in which it was packed: row by row. */
  weight: number[][];
  packed: number[];
  absmax: number[];
}

/** The weights are written with six decimals. */
const MAXIMUM = 2e-6;

/** A weight's packing: every byte, and each block's largest absolute value. */
export async function nf4Case({ file }: { file: string }): Promise<Outcome> {
  const {
    K,
    N,
    block_size: blockSize,
    weight,
    packed,
    absmax,
  } = JSON.parse(readFileSync(file, 'utf8')) as Expected;
  if (!Array.isArray(weight?.[0])) throw new UnsupportedCase('an NF4 case without a weight');
  const ours = quantizeNf4(Float32Array.from(weight.flat()), [N, K], blockSize);
  const differences = new Differences();
  differences.addAll('packed', [...ours.packed], packed, 0);
  differences.addAll('absmax', ours.absmax, absmax, MAXIMUM);
  return differences.outcome();
}
