import type { Value } from '../onnx/graph.ts';
import type { Tape, Tensor } from './tape.ts';

/** Parts that a batch's rows are taken in. */
const CHUNKS = 8;
/** Fewer rows than this are not worth another pass over the vocabulary's weights. */
const MIN_ROWS = 128;

/** [9]: where each part of M rows begins, and where the last one ends. Small batches leave the last parts empty. */
export function chunkBounds(rows: number): BigInt64Array {
  const size = Math.max(MIN_ROWS, Math.ceil(rows / CHUNKS));
  return BigInt64Array.from({ length: CHUNKS + 1 }, (_, i) => BigInt(Math.min(rows, i * size)));
}

/**
 * Mean cross entropy, in nats, of x W^T over M rows, for a W that does not train.
 *
 * Logits are most of what a small batch keeps, so they are made a part of the rows at a time, and each part's gradient
 * is taken before the next part's logits are made: x's gradient is (softmax(x W^T) - onehot) W / M, and onehot W is a
 * row of W.
 * @param x [M, K]
 * @param weight [V, K]
 * @param labels [M], each a row of the weight
 * @param bounds of `chunkBounds`
 */
export function frozenHeadLoss(tape: Tape, x: Tensor, weight: Value, labels: Value, bounds: Value): Tensor {
  const { graph } = tape;
  const rows = { axis: { int: 0 } } as const;
  const losses: Value[] = [];
  const gradients: Value[] = [];
  let begin: Value = part(bounds, 0);
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    const end = part(bounds, chunk + 1);
    const taken = graph.node('Slice', [x, begin, end, graph.ints([0])]);
    const targets = graph.node('Slice', [labels, begin, end, graph.ints([0])]);
    const logits = tape.product('Gemm', [taken, weight], { transB: { int: 1 } });
    const total = graph.node('ReduceLogSumExp', [logits, graph.ints([1])]);
    const chosen = graph.node(
      'GatherElements',
      [logits, graph.node('Unsqueeze', [targets, graph.ints([1])])],
      {
        axis: { int: 1 },
      },
    );
    losses.push(graph.node('ReduceSum', [graph.node('Sub', [total, chosen])], { keepdims: { int: 0 } }));
    begin = end;
    if (!x.needsGrad) continue;
    const expected = tape.product('MatMul', [graph.node('Softmax', [logits], { axis: { int: -1 } }), weight]);
    gradients.push(graph.node('Sub', [expected, tape.rows(weight, targets)]));
    // Nothing times the number of rows that are done: the next part waits for this one.
    const done = graph.node('Mul', [part(graph.node('Shape', [gradients.at(-1)!]), 0), graph.ints([0])]);
    begin = graph.node('Add', [end, done]);
  }
  const count = graph.node('Cast', [graph.node('Shape', [labels])], { to: { int: 1 } });
  const sum = losses.reduce((a, b) => graph.node('Add', [a, b]));
  const loss = graph.node('Div', [sum, graph.node('Squeeze', [count])]);
  return tape.record(loss, [x], (dy) => [
    graph.node('Mul', [graph.node('Concat', gradients, rows), graph.node('Div', [dy, count])]),
  ]);

  function part(of: Value, index: number): Value {
    return graph.node('Slice', [of, graph.ints([index]), graph.ints([index + 1])]);
  }
}
