import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tensor as OrtTensor } from 'onnxruntime-node';
import { afterAll, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { SMALL } from '../../test/random-model.ts';
import { Tape } from '../autodiff/tape.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { dequantizeMaxima, dequantizeNf4, quantizeMaxima, quantizeNf4 } from '../checkpoint/nf4.ts';
import { readSafetensorsHeader, writeSafetensors } from '../checkpoint/safetensors.ts';
import { readModelConfig } from '../models/config.ts';
import { createSession } from '../onnx/session.ts';
import { FrozenWeights, int8Linear, nf4Linear } from './frozen-linear.ts';

const random = generator(testSeed('frozen linear layers'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-frozen-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As trained weights lie: about normal. */
const numbers = (length: number) =>
  Float32Array.from({ length }, () => random() + random() + random() + random() - 2);

function oneWeight(shape: readonly [number, number], data: Float32Array): Checkpoint {
  const file = join(folder, `${between(random, 0, 1e9)}.safetensors`);
  writeSafetensors(file, new Map([['w.weight', { shape: [...shape], data }]]));
  const entry = readSafetensorsHeader(file).tensors.get('w.weight')!;
  return { folder, config: readModelConfig(SMALL), tensors: new Map([['w.weight', { ...entry, file }]]) };
}

/** x W^T by the layer that `write` adds to a graph. */
async function product(
  x: Float32Array,
  inputs: number,
  frozen: FrozenWeights,
  write: (tape: Tape, x: ReturnType<Tape['constant']>) => { name: string },
): Promise<Float32Array> {
  const tape = new Tape();
  const value = tape.constant(tape.graph.input('x', 'float32', ['N', inputs]));
  tape.graph.output(write(tape, value), 'y');
  const session = await createSession(tape.graph.serialize(), new Map(), { threads: 1 });
  const rows = new OrtTensor('float32', x, [x.length / inputs, inputs]);
  const { y } = await session.run({ x: rows, ...frozen.feeds });
  await session.release();
  return y!.data as Float32Array;
}

function exactProduct(x: Float32Array, weight: Float32Array, inputs: number, outputs: number): Float32Array {
  const y = new Float32Array((x.length / inputs) * outputs);
  for (let i = 0; i < y.length; i++) {
    const [row, output] = [Math.floor(i / outputs), i % outputs];
    for (let k = 0; k < inputs; k++) y[i]! += x[row * inputs + k]! * weight[output * inputs + k]!;
  }
  return y;
}

const largest = (a: Float32Array, b: Float32Array) =>
  a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

test('an NF4 layer multiplies with the weight that its packed values stand for', async () => {
  for (let round = 0; round < 4; round++) {
    const [outputs, inputs] = [between(random, 1, 9), between(random, 1, 300)];
    const data = numbers(outputs * inputs);
    const frozen = new FrozenWeights(oneWeight([outputs, inputs], data));
    const x = numbers(3 * inputs);
    const modules = new Map<string, [number, number]>([['w', [outputs, inputs]]]);
    frozen.addNf4(modules);
    const y = await product(x, inputs, frozen, (tape, value) =>
      nf4Linear(tape, modules)('w', value, undefined),
    );
    const packed = quantizeNf4(data, [outputs, inputs]);
    const absmax = dequantizeMaxima(quantizeMaxima(packed.absmax));
    const wanted = exactProduct(x, dequantizeNf4({ ...packed, absmax }), inputs, outputs);
    expect(largest(y, wanted), `[${outputs}, ${inputs}]`).toBeLessThan(1e-3);
  }
});

test('an NF4 weight takes half a byte a value, and little for its maxima', () => {
  const frozen = new FrozenWeights(oneWeight([256, 512], numbers(256 * 512)));
  frozen.addNf4(new Map([['w', [256, 512]]]));
  expect(frozen.byteLength / (256 * 512)).toBeLessThan(0.52);
  const before = frozen.byteLength;
  frozen.addNf4(new Map([['w', [256, 512]]]));
  expect(frozen.byteLength).toBe(before);
});

test('an INT8 layer is within its rounding, whatever the sizes of the rows beside', async () => {
  const [outputs, inputs] = [between(random, 1, 9), between(random, 2, 100)];
  const data = numbers(outputs * inputs);
  const frozen = new FrozenWeights(oneWeight([outputs, inputs], data));
  const modules = new Map<string, [number, number]>([['w', [outputs, inputs]]]);
  const layer = (tape: Tape, value: ReturnType<Tape['constant']>) =>
    int8Linear(tape, modules, frozen, () => value)('w', value, undefined);
  const small = numbers(inputs);
  const beside = numbers(2 * inputs).map((value) => 1000 * value);
  const alone = await product(small, inputs, frozen, layer);
  const all = await product(Float32Array.of(...beside, ...small), inputs, frozen, layer);
  expect(all.subarray(2 * outputs)).toEqual(alone);
  const wanted = exactProduct(small, data, inputs, outputs);
  // Half a step of either side of each product, of 127 steps to the largest.
  expect(largest(alone, wanted)).toBeLessThan((inputs * 2 * 2) / 127);
  const nothing = await product(new Float32Array(inputs), inputs, frozen, layer);
  expect(nothing).toEqual(new Float32Array(outputs));
});
