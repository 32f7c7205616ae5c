import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Tensor as OrtTensor } from 'onnxruntime-node';
import { afterAll, describe, expect, test } from 'vitest';
import { checkGradient, type GradientCase, rulesOf } from '../../test/gradient-check.ts';
import { between, generator, testSeed } from '../../test/random.ts';
import { SMALL } from '../../test/random-model.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { readSafetensorsHeader, writeSafetensors } from '../checkpoint/safetensors.ts';
import { readModelConfig } from '../models/config.ts';
import { contrastiveLoss, productWith, scaleByExp, softCrossEntropy } from '../training/contrastive-loss.ts';
import { keepMask } from '../training/dropout.ts';
import { FrozenWeights, int8Linear, nf4Linear } from '../training/frozen-linear.ts';
import { loraAdapter, loraNames } from '../training/lora.ts';
import { packedAttention } from '../training/packed-attention.ts';
import { packSequences } from '../training/packing.ts';
import { pairTargets } from '../training/pair-targets.ts';
import { prefixEncoder, prefixShapes } from '../training/prefix.ts';
import { chunkBounds, frozenHeadLoss } from './head-loss.ts';
import * as ops from './ops.ts';
import { Tape, type Tensor } from './tape.ts';

const random = generator(testSeed('gradient checks'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-gradients-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const normal = (length: number) => Float32Array.from({ length }, () => 2 * random() - 1);
const rows = (count: number, below: number) =>
  Array.from({ length: count }, () => between(random, 0, below - 1));

/** Each with other sizes every time it is asked. N rows, K inputs, M outputs. */
const CASES: Record<string, (n: number, k: number, m: number) => GradientCase> = {
  add: (n, k) => ({ shapes: pair([n, k]), build: (tape, [a, b]) => ops.add(tape, a!, b!) }),
  'add of a value to itself': (n, k) => ({ shapes: [[n, k]], build: (tape, [a]) => ops.add(tape, a!, a!) }),
  dropout: (n, k) => {
    const mask = keepMask(n * k, 0.6, between(random, 0, 1e6));
    return {
      shapes: [[n, k]],
      build: (tape, [x]) => {
        const kept = tape.graph.input('keep', 'bool', [n, k]);
        return ops.dropout(tape, x!, kept, tape.graph.float(1 / 0.6));
      },
      feeds: () => ({ keep: new OrtTensor('bool', mask, [n, k]) }),
    };
  },
  linear: (n, k, m) => ({
    shapes: [
      [n, k],
      [m, k],
    ],
    build: (tape, [x, w]) => ops.linear(tape, x!, w!),
  }),
  'linear with bias': (n, k, m) => ({
    shapes: [[n, k], [m, k], [m]],
    build: (tape, [x, w, b]) => ops.linear(tape, x!, w!, b),
  }),
  'linear with factor': (n, k, m) => ({
    shapes: [
      [n, k],
      [m, k],
    ],
    build: (tape, [x, w]) => ops.linear(tape, x!, w!, undefined, 1.7),
  }),
  'linear of a frozen weight and of a frozen input': (n, k, m) => {
    const [weight, input] = [normal(m * k), normal(n * m)];
    return {
      shapes: [
        [n, k],
        [k, m],
      ],
      build: (tape, [x, w]) => {
        const y = ops.linear(tape, x!, tape.constant(tape.graph.weight('w', [m, k], weight)));
        const fixed = tape.constant(tape.graph.weight('x', [n, m], input));
        return ops.linear(tape, ops.add(tape, y, fixed), w!);
      },
    };
  },
  'embedding, its table the head too': (n, k, m) => ({
    shapes: [[m, k]],
    ints: { ids: rows(n, m) },
    build: (tape, [table], { ids }) => ops.linear(tape, ops.embedding(tape, table!, ids!), table!),
  }),
  'embedding, rows repeated': (_, k, m) => ({
    shapes: [[m, k]],
    ints: { ids: rows(6, m) },
    build: (tape, [table], { ids }) => ops.embedding(tape, table!, ids!),
  }),
  selectRows: (n, k) => ({
    shapes: [[n + 3, k]],
    ints: { rows: [n + 2, 0, n] },
    build: (tape, [x], ints) => ops.selectRows(tape, x!, ints.rows!),
  }),
  replaceRows: (n, k) => ({
    shapes: [
      [n + 3, k],
      [3, k],
    ],
    ints: { rows: [n + 2, 0, n] },
    build: (tape, [x, other], ints) => ops.replaceRows(tape, x!, other!, ints.rows!),
  }),
  rmsNorm: (n, k) => ({ shapes: [[n, k], [k]], build: (tape, [x, w]) => ops.rmsNorm(tape, x!, w!, 0.1) }),
  'rmsNorm over heads': (n, k, m) => ({
    shapes: [[n, m, k], [k]],
    build: (tape, [x, w]) => ops.rmsNorm(tape, x!, w!, 0.1),
  }),
  swiglu: (n, k) => ({ shapes: pair([n, k]), build: (tape, [gate, up]) => ops.swiglu(tape, gate!, up!) }),
  layerNorm: (n, k) => ({
    shapes: [[n, k + 1], [k + 1], [k + 1]],
    build: (tape, [x, w, b]) => ops.layerNorm(tape, x!, w!, b!, 0.1),
  }),
  quickGelu: (n, k) => ({ shapes: [[n, k]], build: (tape, [x]) => ops.quickGelu(tape, x!) }),
  gelu: (n, k) => ({ shapes: [[n, k]], build: (tape, [x]) => ops.gelu(tape, x!) }),
  unit: (n, k) => ({ shapes: [[n, k + 1]], build: (tape, [x]) => ops.unit(tape, x!) }),
  scaleByExp: (n, k) => ({ shapes: [[n, k], []], build: (tape, [x, s]) => scaleByExp(tape, x!, s!) }),
  softCrossEntropy: (n, k) => {
    const targets = normal(n * k).map(Math.abs);
    for (let row = 0; row < n; row++) {
      const own = targets.subarray(row * k, (row + 1) * k);
      const sum = own.reduce((a, b) => a + b);
      for (let i = 0; i < k; i++) own[i]! /= sum;
    }
    return {
      shapes: [[n, k]],
      build: (tape, [x]) => softCrossEntropy(tape, x!, tape.graph.weight('targets', [n, k], targets)),
    };
  },
  contrastiveLoss: (n, k) => ({
    shapes: [[n + 1, k], [n + 1, k], []],
    build: (tape, [images, texts, scale]) => {
      // Three texts, two of one class: right answers, wrong ones, and some that are neither.
      const keys = Array.from({ length: n + 1 }, (_, i) => ({
        text: `${i % 3}`,
        image: `${i}`,
        label: `${i % 3 && 1}`,
      }));
      const { targets, mask } = pairTargets(keys, -1e4);
      const square = (name: string, data: Float32Array) => tape.graph.weight(name, [n + 1, n + 1], data);
      const compared = { targets: square('targets', targets), mask: square('left_out', mask) };
      return contrastiveLoss(tape, images!, texts!, scale!, compared);
    },
  }),
  productWith: (n, k) => {
    const given = Float32Array.from({ length: n * k }, () => 2 * random() - 1);
    return {
      shapes: [[n, k]],
      build: (tape, [x]) => productWith(tape, x!, tape.graph.weight('given', [n, k], given)),
    };
  },
  tanh: (n, k) => ({ shapes: [[n, k]], build: (tape, [x]) => ops.tanh(tape, x!) }),
  matmul: (n, k, m) => ({
    shapes: [
      [2, n, k],
      [2, k, m],
    ],
    build: (tape, [a, b]) => ops.matmul(tape, a!, b!, { alpha: 0.3 }),
  }),
  'matmul, second transposed': (n, k, m) => ({
    shapes: [
      [2, n, k],
      [2, m, k],
    ],
    build: (tape, [a, b]) => ops.matmul(tape, a!, b!, { transB: true, alpha: 1.3 }),
  }),
  maskedSoftmax: (n, k) => {
    // The first of each row is seen: a row that sees nothing does not occur.
    const mask = Float32Array.from({ length: n * k }, (_, i) => (i % k > 0 && random() < 0.3 ? -1e9 : 0));
    return {
      shapes: [[2, n, k]],
      build: (tape, [x]) => ops.maskedSoftmax(tape, x!, tape.graph.weight('mask', [n, k], mask)),
    };
  },
  reshape: (n) => ({
    shapes: [[n, 6]],
    build: (tape, [x]) => ops.reshape(tape, x!, tape.graph.ints([-1, 3])),
  }),
  transpose: (n, k, m) => ({
    shapes: [[n, k, m]],
    build: (tape, [x]) => ops.transpose(tape, x!, [1, 2, 0]),
  }),
  concat: (n, k, m) => ({
    shapes: [
      [2, n, m],
      [2, k, m],
    ],
    build: (tape, [x, y]) => ops.concat(tape, x!, y!, 1, tape.graph.ints([n, k])),
  }),
  slice: (n, k, m) => {
    const begin = between(random, 0, k);
    const end = between(random, begin, k);
    return {
      shapes: [[n, k, m]],
      ints: { begin: [begin], end: [end] },
      // Twice, so that there is a gradient where the slice is empty.
      build: (tape, [x], { begin, end }) =>
        ops.concat(
          tape,
          ops.slice(tape, x!, begin!, end!, 1),
          x!,
          1,
          tape.graph.node('Concat', [tape.graph.node('Sub', [end!, begin!]), tape.graph.ints([k])], {
            axis: { int: 0 },
          }),
        ),
    };
  },
  sliceOne: (n, k, m) => {
    const index = between(random, 0, m - 1);
    return { shapes: [[m, n, k]], build: (tape, [x]) => ops.sliceOne(tape, x!, index, m) };
  },
  'sliceOne, the first and the last': (n, k, m) => ({
    shapes: [[m, n, k]],
    build: (tape, [x]) => ops.swiglu(tape, ops.sliceOne(tape, x!, 0, m), ops.sliceOne(tape, x!, m - 1, m)),
  }),
  expandFirst: (n, k, m) => ({
    shapes: [[1, n, k]],
    ints: { shape: [m, n, k] },
    build: (tape, [x], { shape }) => ops.expandFirst(tape, x!, shape!),
  }),
  crossEntropy: (n, _, m) => ({
    shapes: [[n, m]],
    ints: { labels: rows(n, m) },
    build: (tape, [logits], { labels }) => ops.crossEntropy(tape, logits!, labels!),
  }),
  'frozenHeadLoss of few rows': (n, k, m) => headLoss(n, k, m),
  // Full parts, the last of them short, none empty but one.
  'frozenHeadLoss in parts': () => headLoss(between(random, 129, 300), 2, 3),
  rotate: (n) => {
    const angles = normal(n * 2).map((x) => 3 * x);
    return {
      shapes: [[n, 8]],
      build: (tape, [x]) => {
        const table = (of: (angle: number) => number, name: string) =>
          tape.graph.weight(name, [1, n, 2], angles.map(of));
        const sinBack = table((a) => -Math.sin(a), 'back');
        const rotation = { cos: table(Math.cos, 'cos'), sin: table(Math.sin, 'sin'), sinBack };
        return ops.rotate(tape, x!, rotation, 2);
      },
    };
  },
  'a part that is computed again': (n, k) => ({
    shapes: [[n, k], [k, k], [k]],
    build: (tape, [x, w, norm]) => {
      const part = (of: Tensor) =>
        ops.add(tape, of, ops.tanh(tape, ops.linear(tape, ops.rmsNorm(tape, of, norm!, 0.1), w!)));
      // Twice, with the same weights in both.
      return tape.checkpoint(tape.checkpoint(x!, part), part);
    },
  }),
  'a part that is computed again, of an input that does not train': (n, k) => {
    const input = normal(n * k);
    return {
      shapes: [[k, k]],
      build: (tape, [w]) =>
        tape.checkpoint(tape.constant(tape.graph.weight('x', [n, k], input)), (x) =>
          ops.tanh(tape, ops.linear(tape, x, w!)),
        ),
    };
  },
  'a linear layer in NF4': (n, k, m) => {
    // Sizes whose last block of 64 is short, odd ones too.
    const inputs = 8 * k + (n % 2);
    const shape = [m, inputs] as const;
    const frozen = frozenWeights(shape);
    frozen.addNf4(new Map([['w', shape]]));
    return {
      shapes: [[n, inputs], [m]],
      build: (tape, [x, bias]) => nf4Linear(tape, new Map([['w', [...shape]]]))('w', x!, bias!),
      feeds: () => frozen.feeds,
    };
  },
  'a linear layer with an INT8 forward pass': (n, k, m) => {
    const frozen = frozenWeights([m, k]);
    const exact = (tape: Tape) => tape.constant(tape.graph.weight('w.weight', [m, k], frozen.data));
    return {
      shapes: [[n, k], [m]],
      build: (tape, [x, bias]) =>
        int8Linear(tape, new Map([['w', [m, k]]]), frozen, () => exact(tape))('w', x!, bias!),
      // The rounding is passed straight through: the gradient is that of the product without it.
      differentiable: (tape, [x, bias]) => ops.linear(tape, x!, exact(tape), bias),
    };
  },
  'attention over packed sequences, heads shared, with a window': () => attention(2),
  'attention over packed sequences, after a prefix': () => attention(undefined, 3),
  'a LoRA adapter with dropout': (n, k) => lora(n, k),
  'a prefix': () => prefix(false),
  'a prefix of a projection': () => prefix(true),
};

function pair(shape: number[]): number[][] {
  return [shape, shape];
}

function headLoss(n: number, k: number, m: number): GradientCase {
  const weight = normal(m * k);
  return {
    shapes: [[n, k]],
    ints: { labels: rows(n, m), bounds: [...chunkBounds(n)].map(Number) },
    build: (tape, [x], { labels, bounds }) =>
      frozenHeadLoss(tape, x!, tape.graph.weight('w', [m, k], weight), labels!, bounds!),
  };
}

/** Frozen weights of a checkpoint with one linear layer. */
function frozenWeights(shape: readonly [number, number]): FrozenWeights & { data: Float32Array } {
  const data = normal(shape[0] * shape[1]);
  const file = join(folder, `frozen-${between(random, 0, 1e9)}.safetensors`);
  writeSafetensors(file, new Map([['w.weight', { shape: [...shape], data }]]));
  const tensors = new Map(
    [...readSafetensorsHeader(file).tensors].map(([name, entry]) => [name, { ...entry, file }]),
  );
  const checkpoint: Checkpoint = { folder, config: readModelConfig(SMALL), tensors };
  return Object.assign(new FrozenWeights(checkpoint), { data });
}

function attention(window: number | undefined, prefixTokens = 0): GradientCase {
  const config = { ...readModelConfig({ ...SMALL, head_dim: 4 }), heads: 4, keyValueHeads: 2 };
  const sequences = [3, 1, between(random, 2, 4)].map((n) => ({ ids: rows(n, 9), labels: rows(n, 9) }));
  const batch = packSequences(sequences, window, prefixTokens);
  const { tokens, longest } = batch;
  const floats = {
    slot_mask: new OrtTensor('float32', batch.slotMask, [3 * longest, 1]),
    mask: new OrtTensor('float32', batch.mask, [3, 1, 1, longest, prefixTokens + longest]),
  };
  const shape = [3, 2, prefixTokens, 4];
  return {
    shapes: [[tokens, 16], [tokens, 8], [tokens, 8], ...(prefixTokens > 0 ? pair(shape) : [])],
    ints: {
      slotRows: [...batch.slotRows].map(Number),
      rowSlots: [...batch.rowSlots].map(Number),
      slotShape: [3, longest, -1, 4],
    },
    build: (tape, [q, k, v, keys, values], { slotRows, rowSlots, slotShape }) => {
      const layout = {
        slotRows: slotRows!,
        rowSlots: rowSlots!,
        slotShape: slotShape!,
        slotMask: tape.graph.input('slot_mask', 'float32', [3 * longest, 1]),
        mask: tape.graph.input('mask', 'float32', [3, 1, 1, longest, prefixTokens + longest]),
      };
      const before = keys && { tokens: prefixTokens, layer: () => ({ keys, values: values! }) };
      return packedAttention(tape, config, layout, before).attend(0, q!, k!, v!);
    },
    feeds: () => floats,
    step: 1 / 64,
  };
}

function lora(n: number, r: number): GradientCase {
  const config = readModelConfig(SMALL);
  const module = 'model.layers.1.self_attn.k_proj';
  const { a, b } = loraNames(module);
  const mask = keepMask(n * 32, 0.7, between(random, 0, 1e6));
  const options = { r, loraAlpha: 5, targetModules: ['k_proj'], useRslora: true };
  return {
    shapes: [
      [n, 32],
      [n, 16],
      [r, 32],
      [16, r],
    ],
    build: (tape, [x, y, first, second]) => {
      const parameter = (name: string) => ({ [a]: first!, [b]: second! })[name]!;
      const dropped = () => ({
        kept: tape.graph.input('keep', 'bool', [n, 32]),
        factor: tape.graph.float(1 / 0.7),
      });
      return loraAdapter(tape, config, options, parameter, dropped)(module, x!, y!);
    },
    feeds: () => ({ keep: new OrtTensor('bool', mask, [n, 32]) }),
  };
}

function prefix(prefixProjection: boolean): GradientCase {
  const config = { ...readModelConfig({ ...SMALL, head_dim: 4 }), keyValueHeads: 1 };
  const options = { numVirtualTokens: between(random, 1, 3), prefixProjection, encoderHiddenSize: 5 };
  const shapes = prefixShapes(config, options);
  return {
    shapes: [...shapes.values()],
    ints: { batch: [2] },
    build: (tape, inputs, { batch }) => {
      const parameters = new Map([...shapes.keys()].map((name, i) => [name, inputs[i]!]));
      const layerOf = prefixEncoder(tape, config, options, (name) => parameters.get(name)!, batch!);
      // All of what the two layers are given.
      const [first, second] = [layerOf(0), layerOf(1)];
      const product = ops.swiglu(tape, first.keys, second.values);
      return ops.add(tape, product, ops.swiglu(tape, first.values, second.keys));
    },
  };
}

const sized = (name: string) =>
  CASES[name]!(between(random, 1, 4), between(random, 2, 5), between(random, 2, 4));

describe('gradients agree with central differences', () => {
  test.each(Object.keys(CASES))('%s', async (name) => {
    for (let round = 0; round < 3; round++) {
      const check = sized(name);
      expect(await checkGradient(check, random)).toBeLessThan(2e-3);
    }
  });
});

/** Every place where the sources record a gradient rule, as `file:line`. */
function recordedRules(): string[] {
  const sources = join(import.meta.dirname, '..');
  return readdirSync(sources, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .flatMap((file) =>
      readFileSync(join(sources, file), 'utf8')
        .split('\n')
        .flatMap((line, i) => (/\.record\($|\.record\(\w/.test(line) ? [`${basename(file)}:${i + 1}`] : [])),
    );
}

test('every gradient rule of the sources is checked', () => {
  const used = new Set(Object.keys(CASES).flatMap((name) => [...rulesOf(sized(name))]));
  const rules = recordedRules();
  expect(rules.length).toBeGreaterThanOrEqual(22);
  expect(rules.filter((site) => !used.has(site))).toEqual([]);
});

test('a loss that does not reach a parameter is an error, not a zero', () => {
  const tape = new Tape();
  const reached = tape.parameter(tape.graph.input('a', 'float32', [1]));
  const unused = tape.parameter(tape.graph.input('b', 'float32', [1]));
  const loss = ops.add(tape, reached, reached);
  expect(() => tape.gradients(loss, [unused])).toThrow('does not depend on b');
});
