/** What tokens look at, against a graph of its own that has no cache and no fused attention. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tensor as OrtTensor } from 'onnxruntime-node';
import { afterAll, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { randomModel, VARIANTS } from '../../test/random-model.ts';
import { Tape } from '../autodiff/tape.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { ropeTables } from '../models/rope.ts';
import { decoder, weightShapes } from '../models/transformer.ts';
import type { Value } from '../onnx/graph.ts';
import { createSession } from '../onnx/session.ts';
import { WeightSource } from '../onnx/weights.ts';
import { CachedDecoder } from './cached-decoder.ts';
import { lookingLayers } from './image-attention.ts';

const random = generator(testSeed('what tokens look at'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-looks-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Probabilities of every query at every key in the mean over heads and the later layers [N, N]. */
async function plainAttention(checkpoint: Checkpoint, tokens: number[]): Promise<Float32Array> {
  const { config } = checkpoint;
  const { heads, keyValueHeads, headDim, slidingWindow = Number.POSITIVE_INFINITY } = config;
  const tape = new Tape();
  const { graph } = tape;
  const weights = new WeightSource(graph, checkpoint);
  const shapes = weightShapes(config);
  const ids = graph.input('ids', 'int64', ['N']);
  const cos = graph.input('cos', 'float32', [1, 'N', headDim / 2]);
  const sin = graph.input('sin', 'float32', [1, 'N', headDim / 2]);
  const mask = graph.input('mask', 'float32', ['N', 'N']);
  const byHead = (x: Value, count: number, width: number) => {
    const rows = graph.node('Reshape', [x, graph.ints([-1, count, width])]);
    return graph.node('Transpose', [rows], { perm: { ints: [1, 0, 2] } });
  };
  const hidden = decoder(tape, config, ids, {
    weight: (name) => tape.constant(weights.get(name, shapes.get(name)!)),
    rotation: { cos, sin, sinBack: sin },
    attention: {
      attend(layer, q, k, v) {
        const repeat = Array.from({ length: heads }, (_, h) => Math.floor(h / (heads / keyValueHeads)));
        const spread = (x: Value) =>
          graph.node('Gather', [byHead(x, keyValueHeads, headDim), graph.ints(repeat)], { axis: { int: 0 } });
        const keys = graph.node('Transpose', [spread(k)], { perm: { ints: [0, 2, 1] } });
        const scores = graph.node('MatMul', [byHead(q, heads, headDim), keys]);
        const scaled = graph.node('Mul', [scores, graph.float(1 / Math.sqrt(headDim))]);
        const shares = graph.node('Softmax', [graph.node('Add', [scaled, mask])], { axis: { int: -1 } });
        graph.output(shares, `shares:${layer}`);
        const mixed = graph.node('Transpose', [graph.node('MatMul', [shares, spread(v)])], {
          perm: { ints: [1, 0, 2] },
        });
        return tape.constant(graph.node('Reshape', [mixed, graph.ints([-1, heads * headDim])]));
      },
    },
  });
  graph.output(hidden, 'hidden');
  const session = await createSession(graph.serialize(), weights.files, { threads: 1 });
  const n = tokens.length;
  const tables = ropeTables(config, n);
  const rows = new Float32Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) rows[i * n + j] = j <= i && j > i - slidingWindow ? 0 : -1e9;
  const angles = (table: Float32Array) =>
    new OrtTensor('float32', table.slice(0, (n * headDim) / 2), [1, n, headDim / 2]);
  const outputs = await session.run({
    ids: new OrtTensor('int64', BigInt64Array.from(tokens, BigInt), [n]),
    cos: angles(tables.cos),
    sin: angles(tables.sin),
    mask: new OrtTensor('float32', rows, [n, n]),
  });
  const layers = lookingLayers(config);
  const mean = new Float32Array(n * n);
  for (const layer of layers) {
    const shares = outputs[`shares:${layer}`]!.data as Float32Array;
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < n * n; i++) mean[i]! += shares[h * n * n + i]! / (heads * layers.length);
  }
  await session.release();
  return mean;
}

test.each(Object.keys(VARIANTS))(
  '%s: shares of the pass that serves are those of a plain pass',
  async (name) => {
    const checkpoint = randomModel(
      join(folder, name.replaceAll(/\W/g, '-')),
      { ...VARIANTS[name], num_hidden_layers: 3 },
      random,
    );
    const { vocabSize } = checkpoint.config;
    const tokens = Array.from({ length: between(random, 10, 30) }, () => between(random, 0, vocabSize - 1));
    const expected = await plainAttention(checkpoint, tokens);
    const options = {
      threads: 1,
      cacheFolder: folder,
      blocks: 20,
      blockSize: 4,
      adapterSlots: 0,
      images: true,
    };
    const cached = await CachedDecoder.create(checkpoint, options);
    const over = [
      { from: 1, count: 3 },
      { from: 6, count: 2 },
    ];
    const width = 5;
    const table = [7, 3, 9, 12, 1, 0, 15, 4];
    // The last ones come one by one.
    const chunked = tokens.length - 2;
    for (let from = 0; from < tokens.length; ) {
      const stepwise = from >= chunked;
      const end = stepwise ? from + 1 : Math.min(chunked, from + between(random, 1, 7));
      const queries = Array.from({ length: end - from }, (_, i) => i).filter(
        (i) => from + i >= 8 && (stepwise || random() < 0.7),
      );
      const row = {
        tokens: tokens.slice(from, end),
        start: from,
        blockTable: table,
        adapterSlot: 0,
        stepwise,
        logits: 'none' as const,
        ...(queries.length > 0 ? { looks: { queries, over } } : {}),
      };
      const beside = {
        ...row,
        looks: undefined,
        start: 0,
        blockTable: [18, 19],
        tokens: tokens.slice(0, end - from),
      };
      const [, looked] = await cached.step([beside, row]);
      for (const [q, query] of queries.entries()) {
        const positions = over.flatMap((part) => Array.from({ length: part.count }, (_, i) => part.from + i));
        for (const [p, position] of positions.entries())
          expect(looked![q * width + p]).toBeCloseTo(expected[(from + query) * tokens.length + position]!, 5);
      }
      from = end;
    }
    await cached.release();
  },
);
