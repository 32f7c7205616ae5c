import { linear, reshape, selectRows, slice, unit } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import type { Value } from '../onnx/graph.ts';
import { norm, type TowerProduct, type TowerWeight, textTower, visionTower } from './clip.ts';
import { type ClipConfig, patchCount } from './clip-config.ts';

const under =
  (weight: TowerWeight, prefix: string): TowerWeight =>
  (name, shape) =>
    weight(`${prefix}${name}`, shape);

const productUnder = (product: TowerProduct | undefined, prefix: string): TowerProduct | undefined =>
  product && ((x, name, shape) => product(x, `${prefix}${name}`, shape));

/**
 * Images as vectors of length 1.
 * @param pixels [B, channels, imageSize, imageSize]
 * @param weight by its name in a CLIP model, such as `visual_projection.weight`
 * @param product of the tower's layers, by its name in a CLIP model; absent takes the weights as they are
 * @returns [B, projectionSize]
 */
export function imageEmbeddings(
  tape: Tape,
  config: ClipConfig,
  pixels: Value,
  weight: TowerWeight,
  product?: TowerProduct,
): Tensor {
  const { graph } = tape;
  const { vision, projectionSize } = config;
  const own = under(weight, 'vision_model.');
  const layers = productUnder(product, 'vision_model.');
  const hidden = visionTower(tape, vision, pixels, own, vision.layers, layers);
  const byImage = reshape(tape, hidden, graph.ints([-1, patchCount(vision) + 1, vision.hiddenSize]));
  const classes = reshape(
    tape,
    slice(tape, byImage, graph.ints([0]), graph.ints([1]), 1),
    graph.ints([-1, vision.hiddenSize]),
  );
  const seen = norm(tape, vision, classes, 'post_layernorm', own);
  return unit(
    tape,
    linear(tape, seen, weight('visual_projection.weight', [projectionSize, vision.hiddenSize])),
  );
}

/**
 * Texts as vectors of length 1.
 * @param inputs as `textFeeds` makes them
 * @param weight by its name in a CLIP model, such as `text_projection.weight`
 * @param product as for images
 * @returns [B, projectionSize]
 */
export function textEmbeddings(
  tape: Tape,
  config: ClipConfig,
  inputs: Record<'ids' | 'positions' | 'shape' | 'mask' | 'ends', Value>,
  weight: TowerWeight,
  product?: TowerProduct,
): Tensor {
  const { text, projectionSize } = config;
  const own = under(weight, 'text_model.');
  const hidden = textTower(tape, text, inputs, own, productUnder(product, 'text_model.'));
  const ends = selectRows(tape, hidden, inputs.ends);
  return unit(tape, linear(tape, ends, weight('text_projection.weight', [projectionSize, text.hiddenSize])));
}
