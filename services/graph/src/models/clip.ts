import {
  add,
  concat,
  embedding,
  expandFirst,
  gelu,
  layerNorm,
  linear,
  maskedSoftmax,
  matmul,
  quickGelu,
  reshape,
  transpose,
} from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import type { Value } from '../onnx/graph.ts';
import { patchCount, type TextTowerConfig, type TowerConfig, type VisionTowerConfig } from './clip-config.ts';

/** A weight of a tower by its name within it, such as `encoder.layers.0.layer_norm1.weight`, and its shape. */
export type TowerWeight = (name: string, shape: readonly number[]) => Tensor;

/** Product with a weight of a tower, by its name without `.weight`, and its bias; [N, outputs] of [N, inputs]. */
export type TowerProduct = (x: Tensor, name: string, shape: readonly [number, number]) => Tensor;

/**
 * Hidden states of an image tower.
 * @param pixels [B, channels, imageSize, imageSize], normalised
 * @param layer whose output is wanted, 0 for what goes into the first
 * @param product of the layers; absent takes the weights as they are
 * @returns [B * (1 + patches), hiddenSize], the class position of each image first; without the last norm
 */
export function visionTower(
  tape: Tape,
  config: VisionTowerConfig,
  pixels: Value,
  weight: TowerWeight,
  layer = config.layers,
  product: TowerProduct = plainProduct(tape, weight),
): Tensor {
  const embedded = visionEmbeddings(tape, config, pixels, weight);
  return visionLayers(tape, config, embedded, weight, 0, layer, product);
}

/** What goes into the first layer of an image tower, as `visionTower` gives it for layer 0. */
export function visionEmbeddings(
  tape: Tape,
  config: VisionTowerConfig,
  pixels: Value,
  weight: TowerWeight,
): Tensor {
  const { graph } = tape;
  const { channels, patchSize, hiddenSize } = config;
  const side = Math.floor(config.imageSize / patchSize);
  const patches = patchCount(config);
  // What does not fill a patch is not looked at.
  const whole = graph.ints([side * patchSize]);
  const cut = [2, 3].reduce(
    (x: Value, axis) => graph.node('Slice', [x, graph.ints([0]), whole, graph.ints([axis])]),
    pixels,
  );
  const squares = graph.node('Reshape', [cut, graph.ints([-1, channels, side, patchSize, side, patchSize])]);
  const byPatch = graph.node('Transpose', [squares], { perm: { ints: [0, 2, 4, 1, 3, 5] } });
  const inputs = channels * patchSize ** 2;
  const rows = tape.constant(graph.node('Reshape', [byPatch, graph.ints([-1, inputs])]));
  const kernel = weight('embeddings.patch_embedding.weight', [hiddenSize, channels, patchSize, patchSize]);
  const seen = linear(tape, rows, reshape(tape, kernel, graph.ints([hiddenSize, inputs])));
  const images = graph.node('Shape', [pixels], { start: { int: 0 }, end: { int: 1 } });
  const each = (count: number) =>
    graph.node('Concat', [images, graph.ints([count, hiddenSize])], { axis: { int: 0 } });
  const first = reshape(
    tape,
    weight('embeddings.class_embedding', [hiddenSize]),
    graph.ints([1, 1, hiddenSize]),
  );
  const placed = concat(
    tape,
    expandFirst(tape, first, each(1)),
    reshape(tape, seen, graph.ints([-1, patches, hiddenSize])),
    1,
    graph.ints([1, patches]),
  );
  const table = weight('embeddings.position_embedding.weight', [patches + 1, hiddenSize]);
  const positions = reshape(tape, table, graph.ints([1, patches + 1, hiddenSize]));
  const joined = add(tape, placed, expandFirst(tape, positions, each(patches + 1)));
  const positioned = reshape(tape, joined, graph.ints([-1, hiddenSize]));
  return norm(tape, config, positioned, 'pre_layrnorm', weight);
}

/**
 * Layers `from` up to, and not including, `to` of an image tower.
 * @param hidden [B * (1 + patches), hiddenSize]
 * @returns the same shape
 */
export function visionLayers(
  tape: Tape,
  config: VisionTowerConfig,
  hidden: Tensor,
  weight: TowerWeight,
  from: number,
  to: number,
  product: TowerProduct = plainProduct(tape, weight),
): Tensor {
  const shape = tape.graph.ints([-1, patchCount(config) + 1, config.heads, headDim(config)]);
  return encoder(tape, config, hidden, shape, { from, to }, weight, product);
}

/**
 * Hidden states of a text tower, last norm included: each token sees itself and those before it.
 * @param ids [B * T]
 * @param positions [B * T]
 * @param shape [4], B, T, heads, headDim
 * @param mask [T, T], added to the scores
 * @returns [B * T, hiddenSize]
 */
export function textTower(
  tape: Tape,
  config: TextTowerConfig,
  { ids, positions, shape, mask }: { ids: Value; positions: Value; shape: Value; mask: Value },
  weight: TowerWeight,
  product: TowerProduct = plainProduct(tape, weight),
): Tensor {
  const { hiddenSize } = config;
  const tokens = weight('embeddings.token_embedding.weight', [config.vocabSize, hiddenSize]);
  const places = weight('embeddings.position_embedding.weight', [config.maxPositions, hiddenSize]);
  const x = add(tape, embedding(tape, tokens, ids), embedding(tape, places, positions));
  const hidden = encoder(tape, config, x, shape, { from: 0, to: config.layers }, weight, product, mask);
  return norm(tape, config, hidden, 'final_layer_norm', weight);
}

/** A LayerNorm of a tower. */
export function norm(tape: Tape, config: TowerConfig, x: Tensor, name: string, weight: TowerWeight): Tensor {
  const size = [config.hiddenSize];
  return layerNorm(
    tape,
    x,
    weight(`${name}.weight`, size),
    weight(`${name}.bias`, size),
    config.layerNormEps,
  );
}

const plainProduct =
  (tape: Tape, weight: TowerWeight): TowerProduct =>
  (x, name, [outputs, inputs]) =>
    linear(tape, x, weight(`${name}.weight`, [outputs, inputs]), weight(`${name}.bias`, [outputs]));

function encoder(
  tape: Tape,
  config: TowerConfig,
  x: Tensor,
  shape: Value,
  { from, to }: { from: number; to: number },
  weight: TowerWeight,
  dense: TowerProduct,
  mask?: Value,
): Tensor {
  const { graph } = tape;
  const { hiddenSize, intermediateSize } = config;
  const square = [hiddenSize, hiddenSize] as const;
  let hidden = x;
  for (let i = from; i < to; i++) {
    const at = `encoder.layers.${i}`;
    const input = norm(tape, config, hidden, `${at}.layer_norm1`, weight);
    const [q, k, v] = ['q', 'k', 'v'].map((name) => {
      const y = dense(input, `${at}.self_attn.${name}_proj`, square);
      return transpose(tape, reshape(tape, y, shape), [0, 2, 1, 3]);
    });
    const scores = matmul(tape, q!, k!, { transB: true, alpha: 1 / Math.sqrt(headDim(config)) });
    const shares = maskedSoftmax(tape, scores, mask ?? graph.float(0));
    const mixed = transpose(tape, matmul(tape, shares, v!), [0, 2, 1, 3]);
    const attended = dense(
      reshape(tape, mixed, graph.ints([-1, hiddenSize])),
      `${at}.self_attn.out_proj`,
      square,
    );
    hidden = add(tape, hidden, attended);
    const z = norm(tape, config, hidden, `${at}.layer_norm2`, weight);
    const inner = dense(z, `${at}.mlp.fc1`, [intermediateSize, hiddenSize]);
    const active = config.activation === 'gelu' ? gelu(tape, inner) : quickGelu(tape, inner);
    hidden = add(tape, hidden, dense(active, `${at}.mlp.fc2`, [hiddenSize, intermediateSize]));
  }
  return hidden;
}

const headDim = ({ hiddenSize, heads }: TowerConfig) => hiddenSize / heads;
