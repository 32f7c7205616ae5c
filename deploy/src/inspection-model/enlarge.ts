/**
 * A model that sees more of a picture: the same patches, more of them. Positions are interpolated (Dosovitskiy et al.
 * 2021), all else is taken over, so that training can go on from there.
 *
 *   node deploy/src/inspection-model/enlarge.ts --from MODEL --out DIR
 */
import { parseArgs } from 'node:util';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { trainedLlava } from '@landfall/graph/checkpoint/trained-llava.ts';
import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { writeModel } from '@landfall/graph/checkpoint/write-model.ts';
import { VISION } from './config.ts';
import { writeAround } from './folder.ts';

/** @param table [1 + side², size], the class first @returns [1 + wanted², size] */
export function resizedPositions({ shape, data }: NamedTensor, wanted: number): NamedTensor {
  const [count = 0, size = 0] = shape;
  const side = Math.sqrt(count - 1);
  const out = new Float32Array((1 + wanted ** 2) * size);
  out.set(data.subarray(0, size));
  const between = (at: number) => {
    const place = Math.min(side - 1, Math.max(0, ((at + 0.5) * side) / wanted - 0.5));
    const low = Math.min(side - 2, Math.floor(place));
    return [low, place - low] as const;
  };
  for (let y = 0; y < wanted; y++) {
    const [top, down] = between(y);
    for (let x = 0; x < wanted; x++) {
      const [left, right] = between(x);
      const row = out.subarray((1 + y * wanted + x) * size).subarray(0, size);
      for (const [dy, wy] of [[0, 1 - down] as const, [1, down] as const])
        for (const [dx, wx] of [[0, 1 - right] as const, [1, right] as const]) {
          const from = (1 + (top + dy) * side + left + dx) * size;
          for (let i = 0; i < size; i++) row[i]! += wy * wx * data[from + i]!;
        }
    }
  }
  return { shape: [1 + wanted ** 2, size], data: out };
}

function main(): void {
  const { values } = parseArgs({ options: { from: { type: 'string' }, out: { type: 'string' } } });
  if (!values.from || !values.out) throw new Error('--from MODEL and --out DIR are wanted');
  const weights = new Map(
    [...trainedLlava(openLlava(values.from), new Map())].map(
      ([name, { shape, read }]): [string, NamedTensor] => {
        const tensor = { shape: [...shape], data: Float32Array.from(read()) };
        const isTable = name.endsWith('.position_embedding.weight');
        return [name, isTable ? resizedPositions(tensor, VISION.image_size / VISION.patch_size) : tensor];
      },
    ),
  );
  writeModel(values.out, writeAround(values.out), weights);
}

if (import.meta.main) main();
