import { gelu, linear } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import type { Value } from '../onnx/graph.ts';
import { norm, type TowerProduct, type TowerWeight, visionTower } from './clip.ts';
import { patchCount, type VisionTowerConfig } from './clip-config.ts';
import type { LlavaConfig } from './llava-config.ts';
import { weightsOf } from './weights-of.ts';

/** Tokens that an image takes. */
export function imageTokenCount({ vision, withClass }: LlavaConfig): number {
  return patchCount(vision) + Number(withClass);
}

/**
 * From what a tower saw to what the decoder reads.
 * @param rows [R, hidden size of the tower]
 * @param weight of the projector, such as `linear_1.weight`
 * @returns [R, hidden size of the decoder]
 */
export function projector(tape: Tape, config: LlavaConfig, rows: Tensor, weight: TowerWeight): Tensor {
  const { vision, language, projectorBias } = config;
  const layer = (x: Tensor, name: string, inputs: number) => {
    const outputs = language.hiddenSize;
    const bias = projectorBias ? weight(`${name}.bias`, [outputs]) : undefined;
    return linear(tape, x, weight(`${name}.weight`, [outputs, inputs]), bias);
  };
  const first = gelu(tape, layer(rows, 'linear_1', vision.hiddenSize));
  return layer(first, 'linear_2', language.hiddenSize);
}

/**
 * What the decoder reads in the place of images: tower, the layer that is read of it, projector.
 * @param pixels [B, channels, imageSize, imageSize], normalised
 * @param product of the tower's layers; absent takes the weights as they are
 * @returns [B * imageTokenCount, hidden size of the decoder]
 */
export function imageTokens(
  tape: Tape,
  config: LlavaConfig,
  pixels: Value,
  weights: { tower: TowerWeight; projector: TowerWeight },
  product?: TowerProduct,
): Tensor {
  const { graph } = tape;
  const { vision, featureLayer, withClass } = config;
  const hidden = visionTower(tape, vision, pixels, weights.tower, featureLayer, product);
  const positions = patchCount(vision) + 1;
  const byImage = graph.node('Reshape', [hidden, graph.ints([-1, positions, vision.hiddenSize])]);
  const ends = [graph.ints([withClass ? 0 : 1]), graph.ints([positions]), graph.ints([1])];
  const taken = graph.node('Slice', [byImage, ...ends]);
  const rows = tape.constant(graph.node('Reshape', [taken, graph.ints([-1, vision.hiddenSize])]));
  return projector(tape, config, rows, weights.projector);
}

/** Shapes of the tower's weights up to the layer that is read, in the order in which they are used. */
export function towerShapes(config: LlavaConfig): Map<string, readonly number[]> {
  return weightsOf((tape, weight) =>
    visionTower(tape, config.vision, { name: 'pixels' }, weight, config.featureLayer),
  );
}

/** Shapes of all weights of an image tower, those included that nothing here reads. */
export function visionShapes(config: VisionTowerConfig): Map<string, readonly number[]> {
  return weightsOf((tape, weight) => {
    const hidden = visionTower(tape, config, { name: 'pixels' }, weight);
    norm(tape, config, hidden, 'post_layernorm', weight);
  });
}

/** Shapes of the projector's weights. */
export function projectorShapes(config: LlavaConfig): Map<string, readonly number[]> {
  return weightsOf((tape, weight) => projector(tape, config, tape.constant({ name: 'rows' }), weight));
}
