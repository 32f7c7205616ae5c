import { Tensor as OrtTensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { createSession } from '../onnx/session.ts';
import * as ops from './ops.ts';
import { Tape, type Tensor } from './tape.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`gradient checks: LANDFALL_TEST_SEED=${seed}\n`);

/** mulberry32 */
function generator(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Build = (tape: Tape, inputs: Tensor[], ints: Record<string, { name: string }>) => Tensor;
interface Case {
  /** Shapes of the inputs whose gradients are checked. */
  shapes: number[][];
  ints?: Record<string, number[]>;
  build: Build;
}

const size = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);

/** Number of values that an operation gives out. */
async function outputSize({ shapes, ints = {}, build }: Case): Promise<number> {
  const tape = new Tape();
  const { graph } = tape;
  const inputs = shapes.map((shape, i) =>
    tape.constant(graph.weight(`x${i}`, shape, new Float32Array(size(shape)))),
  );
  const indices = Object.fromEntries(
    Object.entries(ints).map(([name, values]) => [name, graph.ints(values)]),
  );
  graph.output(build(tape, inputs, indices), 'y');
  const session = await createSession(graph.serialize(), new Map(), { threads: 1 });
  const { y } = await session.run({});
  await session.release();
  return y!.size;
}

/**
 * Compares the written backward pass with central differences of the forward pass. The loss is a fixed random
 * combination of the output's values, so every one of them is looked at.
 */
async function check({ shapes, ints = {}, build }: Case, random: () => number): Promise<number> {
  const tape = new Tape();
  const { graph } = tape;
  const parameters = shapes.map((shape, i) => tape.parameter(graph.input(`x${i}`, 'float32', shape)));
  const indices = Object.fromEntries(
    Object.entries(ints).map(([name, values]) => [name, graph.input(name, 'int64', [values.length])]),
  );
  const y = build(tape, parameters, indices);
  const flat = graph.node('Reshape', [y, graph.ints([-1])]);
  const weights = graph.input('weights', 'float32', ['W']);
  const loss = tape.record(
    graph.node('ReduceSum', [graph.node('Mul', [flat, weights])], { keepdims: { int: 0 } }),
    [y],
    (dy) => [graph.node('Reshape', [graph.node('Mul', [weights, dy]), graph.node('Shape', [y])])],
  );
  graph.output(flat, 'y');
  graph.output(loss, 'loss');
  for (const [i, gradient] of tape.gradients(loss, parameters).entries()) graph.output(gradient, `g${i}`);
  const session = await createSession(graph.serialize(), new Map(), { threads: 1 });

  const values = shapes.map((shape) => Float32Array.from({ length: size(shape) }, () => 2 * random() - 1));
  const feeds = (mix: Float32Array) => ({
    ...Object.fromEntries(values.map((data, i) => [`x${i}`, new OrtTensor('float32', data, shapes[i]!)])),
    ...Object.fromEntries(
      Object.entries(ints).map(([name, list]) => [
        name,
        new OrtTensor('int64', BigInt64Array.from(list.map(BigInt)), [list.length]),
      ]),
    ),
    weights: new OrtTensor('float32', mix, [mix.length]),
  });
  const mix = Float32Array.from(
    { length: await outputSize({ shapes, ints, build }) },
    () => 2 * random() - 1,
  );
  const outputs = await session.run(feeds(mix));
  // Summed here in double precision: the difference of two nearby losses must not drown in rounding.
  const lossAt = async () => {
    const y = (await session.run(feeds(mix), ['y'])).y!.data as Float32Array;
    return y.reduce((sum, value, i) => sum + value * mix[i]!, 0);
  };
  let worst = 0;
  const step = 1 / 128;
  for (const [i, data] of values.entries()) {
    const gradient = outputs[`g${i}`]!.data as Float32Array;
    expect(gradient.length).toBe(data.length);
    for (let k = 0; k < data.length; k++) {
      const before = data[k]!;
      data[k] = before + step;
      const above = await lossAt();
      data[k] = before - step;
      const below = await lossAt();
      data[k] = before;
      const numeric = (above - below) / (2 * step);
      worst = Math.max(worst, Math.abs(numeric - gradient[k]!) / (1 + Math.abs(numeric)));
    }
  }
  await session.release();
  return worst;
}

const random = generator(seed);
const dim = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
const [n, k, m] = [dim(1, 4), dim(2, 5), dim(2, 4)];
const rows = (count: number, below: number) =>
  Array.from({ length: count }, () => Math.floor(random() * below));

const CASES: Record<string, Case> = {
  add: {
    shapes: [
      [n, k],
      [n, k],
    ],
    build: (tape, [a, b]) => ops.add(tape, a!, b!),
  },
  'add of a value to itself': { shapes: [[n, k]], build: (tape, [a]) => ops.add(tape, a!, a!) },
  multiply: {
    shapes: [
      [n, k],
      [n, k],
    ],
    build: (tape, [a, b]) => ops.multiply(tape, a!, b!),
  },
  linear: {
    shapes: [
      [n, k],
      [m, k],
    ],
    build: (tape, [x, w]) => ops.linear(tape, x!, w!),
  },
  'linear with bias and factor': {
    shapes: [[n, k], [m, k], [m]],
    build: (tape, [x, w, b]) => ops.linear(tape, x!, w!, b),
  },
  'linear with factor': {
    shapes: [
      [n, k],
      [m, k],
    ],
    build: (tape, [x, w]) => ops.linear(tape, x!, w!, undefined, 1.7),
  },
  'embedding, rows repeated': {
    shapes: [[m, k]],
    ints: { ids: rows(6, m) },
    build: (tape, [table], { ids }) => ops.embedding(tape, table!, ids!),
  },
  selectRows: {
    shapes: [[5, k]],
    ints: { rows: [3, 0, 4] },
    build: (tape, [x], ints) => ops.selectRows(tape, x!, ints.rows!),
  },
  rmsNorm: { shapes: [[n, k], [k]], build: (tape, [x, w]) => ops.rmsNorm(tape, x!, w!, 1e-5) },
  'rmsNorm over heads': {
    shapes: [[n, 2, k], [k]],
    build: (tape, [x, w]) => ops.rmsNorm(tape, x!, w!, 1e-5),
  },
  swiglu: {
    shapes: [
      [n, k],
      [n, k],
    ],
    build: (tape, [gate, up]) => ops.swiglu(tape, gate!, up!),
  },
  matmul: {
    shapes: [
      [2, n, k],
      [2, k, m],
    ],
    build: (tape, [a, b]) => ops.matmul(tape, a!, b!, { alpha: 0.3 }),
  },
  'matmul, second transposed': {
    shapes: [
      [2, n, k],
      [2, m, k],
    ],
    build: (tape, [a, b]) => ops.matmul(tape, a!, b!, { transB: true, alpha: 1.3 }),
  },
  maskedSoftmax: {
    shapes: [[2, n, k]],
    build: (tape, [x]) => ops.maskedSoftmax(tape, x!, tape.graph.float(0)),
  },
  reshape: { shapes: [[n, 6]], build: (tape, [x]) => ops.reshape(tape, x!, tape.graph.ints([-1, 3])) },
  transpose: { shapes: [[n, k, m]], build: (tape, [x]) => ops.transpose(tape, x!, [1, 2, 0]) },
  concat: {
    shapes: [
      [2, n, m],
      [2, k, m],
    ],
    build: (tape, [x, y]) => ops.concat(tape, x!, y!, 1, tape.graph.ints([n, k])),
  },
  crossEntropy: {
    shapes: [[4, m]],
    ints: { labels: rows(4, m) },
    build: (tape, [logits], { labels }) => ops.crossEntropy(tape, logits!, labels!),
  },
  rotate: {
    shapes: [[3, 8]],
    build: (tape, [x]) => {
      const angles = Array.from({ length: 6 }, () => random() * 6);
      const table = (of: (angle: number) => number, name: string) =>
        tape.graph.weight(name, [1, 3, 2], Float32Array.from(angles, of));
      const rotation = {
        cos: table(Math.cos, 'cos'),
        sin: table(Math.sin, 'sin'),
        sinBack: table((a) => -Math.sin(a), 'back'),
      };
      return ops.rotate(tape, x!, rotation, 2);
    },
  },
};

test.each(Object.keys(CASES))('gradient of %s agrees with central differences', async (name) => {
  expect(await check(CASES[name]!, random)).toBeLessThan(2e-3);
});

test('a loss that does not reach a parameter is an error, not a zero', () => {
  const tape = new Tape();
  const used = tape.parameter(tape.graph.input('a', 'float32', [1]));
  const unused = tape.parameter(tape.graph.input('b', 'float32', [1]));
  const loss = ops.add(tape, used, used);
  expect(() => tape.gradients(loss, [unused])).toThrow('does not depend on b');
});
