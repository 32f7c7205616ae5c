import { add, matmul, transpose } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import type { Value } from '../onnx/graph.ts';

/** The largest logarithm of the scale: exp of it is 100, as Radford et al. 2021 bound it. */
export const MAX_LOGIT_SCALE = Math.log(100);

/**
 * x exp(s).
 * @param s a scalar
 */
export function scaleByExp(tape: Tape, x: Tensor, s: Tensor): Tensor {
  const { graph } = tape;
  const factor = graph.node('Exp', [s]);
  const y = graph.node('Mul', [x, factor]);
  return tape.record(y, [x, s], (dy) => [
    x.needsGrad ? graph.node('Mul', [dy, factor]) : undefined,
    s.needsGrad
      ? graph.node('ReduceSum', [graph.node('Mul', [dy, y]), undefined], { keepdims: { int: 0 } })
      : undefined,
  ]);
}

/**
 * Mean over rows of the cross entropy to a distribution, nats.
 * @param logits [B, C]
 * @param targets [B, C], each row summing to 1
 */
export function softCrossEntropy(tape: Tape, logits: Tensor, targets: Value): Tensor {
  const { graph } = tape;
  const rows = graph.node('Cast', [graph.node('Shape', [logits], { start: { int: 0 }, end: { int: 1 } })], {
    to: { int: 1 },
  });
  const count = graph.node('Squeeze', [rows]);
  const log = graph.node('LogSoftmax', [logits], { axis: { int: -1 } });
  const sum = graph.node('ReduceSum', [graph.node('Mul', [log, targets]), undefined], {
    keepdims: { int: 0 },
  });
  return tape.record(graph.node('Neg', [graph.node('Div', [sum, count])]), [logits], (dy) => [
    graph.node('Mul', [
      graph.node('Sub', [graph.node('Exp', [log]), targets]),
      graph.node('Div', [dy, count]),
    ]),
  ]);
}

/**
 * How well images and texts find one another, each among those of the batch (Radford et al. 2021, figure 3).
 * @param images [B, K] of length 1
 * @param texts [B, K] of length 1
 * @param logitScale a scalar, the logarithm of the factor on their products
 * @param compared `targets` and `mask` [B, B] of `pairTargets`
 */
export function contrastiveLoss(
  tape: Tape,
  images: Tensor,
  texts: Tensor,
  logitScale: Tensor,
  { targets, mask }: { targets: Value; mask: Value },
): Tensor {
  const products = scaleByExp(tape, matmul(tape, images, texts, { transB: true }), logitScale);
  const logits = add(tape, products, tape.constant(mask));
  // Which pairs are the same is symmetric, and so is the mask: both directions have the same targets.
  const both = add(
    tape,
    softCrossEntropy(tape, logits, targets),
    softCrossEntropy(tape, transpose(tape, logits, [1, 0]), targets),
  );
  const { graph } = tape;
  const half = graph.float(0.5);
  return tape.record(graph.node('Mul', [both, half]), [both], (dy) => [graph.node('Mul', [dy, half])]);
}

/** Sum of the products of two tensors of one shape, of which one is given: its gradient is what is given. */
export function productWith(tape: Tape, x: Tensor, given: Value): Tensor {
  const { graph } = tape;
  const sum = graph.node('ReduceSum', [graph.node('Mul', [x, given]), undefined], { keepdims: { int: 0 } });
  return tape.record(sum, [x], (dy) => [graph.node('Mul', [given, dy])]);
}
