import type { Value } from '../onnx/graph.ts';
import type { Tape, Tensor } from './tape.ts';

/*
 * Each operation beside its gradient rule. Shapes: N real tokens, K inputs, M outputs, B sequences, T positions.
 */

/** a + b, equal shapes. */
export function add(tape: Tape, a: Tensor, b: Tensor): Tensor {
  return tape.record(tape.graph.node('Add', [a, b]), [a, b], (dy) => [dy, dy]);
}

/**
 * x times a factor where it is kept, 0 elsewhere (Srivastava et al. 2014).
 * @param kept of x's shape, bool
 * @param factor [1]
 */
export function dropout(tape: Tape, x: Tensor, kept: Value, factor: Value): Tensor {
  const { graph } = tape;
  const drop = (value: Value) =>
    graph.node('Where', [kept, graph.node('Mul', [value, factor]), graph.float(0)]);
  return tape.record(drop(x), [x], (dy) => [drop(dy)]);
}

/**
 * alpha * x W^T + b, with W stored [M, K] as checkpoints have it.
 * @param x [N, K]
 * @param bias [M]
 */
export function linear(tape: Tape, x: Tensor, weight: Tensor, bias?: Tensor, alpha = 1): Tensor {
  const { graph } = tape;
  const y = tape.product('Gemm', [x, weight, bias], { transB: { int: 1 }, alpha });
  const inputs = bias ? [x, weight, bias] : [x, weight];
  return tape.record(y, inputs, (dy) => [
    x.needsGrad
      ? alpha === 1
        ? tape.product('MatMul', [dy, weight])
        : tape.product('Gemm', [dy, weight], { alpha })
      : undefined,
    weight.needsGrad ? tape.product('Gemm', [dy, x], { transA: { int: 1 }, alpha }) : undefined,
    bias?.needsGrad ? graph.node('ReduceSum', [dy, graph.ints([0])], { keepdims: { int: 0 } }) : undefined,
  ]);
}

/**
 * Rows of a table [V, K] by index [N]; equal indices add up in the gradient. A table that is the head too has a gradient
 * from there: the rows are added to it in place.
 */
export function embedding(tape: Tape, table: Tensor, indices: Value): Tensor {
  const { graph } = tape;
  return tape.record(tape.rows(table, indices), [table], (dy) => {
    const rows = graph.node('Unsqueeze', [indices, graph.ints([1])]);
    return [
      (before) => {
        const sum = before ?? graph.node('ConstantOfShape', [graph.node('Shape', [table])]);
        return graph.node('ScatterND', [sum, rows, dy], { reduction: 'add' });
      },
    ];
  });
}

/** Some rows of x [N, K], none of them twice: the gradient puts them back where they came from. */
export function selectRows(tape: Tape, x: Tensor, indices: Value): Tensor {
  const { graph } = tape;
  return tape.record(graph.node('Gather', [x, indices], { axis: { int: 0 } }), [x], (dy) => {
    const zeros = graph.node('ConstantOfShape', [graph.node('Shape', [x])]);
    return [graph.node('ScatterND', [zeros, graph.node('Unsqueeze', [indices, graph.ints([1])]), dy])];
  });
}

/**
 * x [N, K] with other rows in the place of some of its own, none of them twice; those have no gradient then.
 * @param rows [R, K]
 * @param indices [R]
 */
export function replaceRows(tape: Tape, x: Tensor, rows: Tensor, indices: Value): Tensor {
  const { graph } = tape;
  const places = graph.node('Unsqueeze', [indices, graph.ints([1])]);
  return tape.record(graph.node('ScatterND', [x, places, rows]), [x, rows], (dy) => {
    const zeros = graph.node('ConstantOfShape', [graph.node('Shape', [rows])]);
    return [
      x.needsGrad ? graph.node('ScatterND', [dy, places, zeros]) : undefined,
      rows.needsGrad ? graph.node('Gather', [dy, indices], { axis: { int: 0 } }) : undefined,
    ];
  });
}

/** x / rms(x) * weight over the last axis (Zhang and Sennrich 2019). */
export function rmsNorm(tape: Tape, x: Tensor, weight: Tensor, epsilon: number): Tensor {
  const { graph } = tape;
  const [y, inverse] = graph.nodes('SimplifiedLayerNormalization', [x, weight], 2, {
    axis: { int: -1 },
    epsilon,
  });
  return tape.record(y!, [x, weight], (dy) => {
    const normal = graph.node('Mul', [x, inverse!]);
    const g = graph.node('Mul', [dy, weight]);
    const along = graph.node('ReduceMean', [graph.node('Mul', [g, normal]), graph.ints([-1])]);
    const dx = x.needsGrad
      ? graph.node('Mul', [graph.node('Sub', [g, graph.node('Mul', [normal, along])]), inverse!])
      : undefined;
    if (!weight.needsGrad) return [dx, undefined];
    // The weight is shared by all rows, whatever the number of axes before the last.
    const rows = graph.node('Reshape', [
      graph.node('Mul', [dy, normal]),
      graph.node('Concat', [graph.ints([-1]), graph.node('Shape', [weight])], { axis: { int: 0 } }),
    ]);
    return [dx, graph.node('ReduceSum', [rows, graph.ints([0])], { keepdims: { int: 0 } })];
  });
}

/** SiLU(gate) * up, the gated half of the feed-forward layer (Shazeer 2020). */
export function swiglu(tape: Tape, gate: Tensor, up: Tensor): Tensor {
  const { graph } = tape;
  const sigmoid = graph.node('Sigmoid', [gate]);
  const silu = graph.node('Mul', [gate, sigmoid]);
  return tape.record(graph.node('Mul', [silu, up]), [gate, up], (dy) => {
    // d silu / d gate = sigmoid + silu (1 - sigmoid)
    const slope = graph.node('Add', [sigmoid, graph.node('Sub', [silu, graph.node('Mul', [silu, sigmoid])])]);
    const dGate = gate.needsGrad ? graph.node('Mul', [graph.node('Mul', [dy, up]), slope]) : undefined;
    return [dGate, up.needsGrad ? graph.node('Mul', [dy, silu]) : undefined];
  });
}

/** Angles of the rotary embedding for each token, and those of its inverse. */
export interface Rotation {
  /** [1, N, headDim / 2] */
  cos: Value;
  sin: Value;
  /** -sin: turns back. */
  sinBack: Value;
}

/**
 * Rotary position embedding on x [N, heads * headDim], halves paired as in LLaMA (Su et al. 2021). Its gradient is the
 * rotation back.
 */
export function rotate(tape: Tape, x: Tensor, rotation: Rotation, heads: number): Tensor {
  const { graph } = tape;
  const turn = (value: Value, sin: Value) => {
    const batched = graph.node('Unsqueeze', [value, graph.ints([0])]);
    const turned = graph.node('RotaryEmbedding', [batched, rotation.cos, sin], { num_heads: { int: heads } });
    return graph.node('Squeeze', [turned, graph.ints([0])]);
  };
  return tape.record(turn(x, rotation.sin), [x], (dy) => [turn(dy, rotation.sinBack)]);
}

/** alpha * a b over the last two axes, either side transposed. */
export function matmul(
  tape: Tape,
  a: Tensor,
  b: Tensor,
  options: { transB?: boolean; alpha?: number } = {},
): Tensor {
  const { transB = false, alpha = 1 } = options;
  const product = (x: Value, y: Value, transA: boolean, transY: boolean) =>
    tape.product('ms.FusedMatMul', [x, y], {
      transA: { int: Number(transA) },
      transB: { int: Number(transY) },
      alpha,
    });
  return tape.record(product(a, b, false, transB), [a, b], (dy) => [
    a.needsGrad ? product(dy, b, false, !transB) : undefined,
    b.needsGrad ? (transB ? product(dy, a, true, false) : product(a, dy, true, false)) : undefined,
  ]);
}

/** softmax(x + mask) over the last axis; the mask has no gradient. */
export function maskedSoftmax(tape: Tape, x: Tensor, mask: Value): Tensor {
  const { graph } = tape;
  const y = graph.node('Softmax', [graph.node('Add', [x, mask])], { axis: { int: -1 } });
  return tape.record(y, [x], (dy) => {
    const weighted = graph.node('Mul', [dy, y]);
    const sum = graph.node('ReduceSum', [weighted, graph.ints([-1])]);
    return [graph.node('Sub', [weighted, graph.node('Mul', [y, sum])])];
  });
}

/**
 * Shape as given (0 keeps an axis, -1 takes the rest); back to the old one in the gradient.
 * @param back the old shape, where it is known without a look at x
 */
export function reshape(tape: Tape, x: Tensor, shape: Value, back?: Value): Tensor {
  const { graph } = tape;
  return tape.record(graph.node('Reshape', [x, shape]), [x], (dy) => [
    graph.node('Reshape', [dy, back ?? graph.node('Shape', [x])]),
  ]);
}

/** Axes in another order. */
export function transpose(tape: Tape, x: Tensor, perm: readonly number[]): Tensor {
  const { graph } = tape;
  const back = perm.map((_, i) => perm.indexOf(i));
  return tape.record(graph.node('Transpose', [x], { perm: { ints: perm } }), [x], (dy) => [
    graph.node('Transpose', [dy], { perm: { ints: back } }),
  ]);
}

/** x before y along an axis; `lengths` are their sizes along it. */
export function concat(tape: Tape, x: Tensor, y: Tensor, axis: number, lengths: Value): Tensor {
  const { graph } = tape;
  return tape.record(graph.node('Concat', [x, y], { axis: { int: axis } }), [x, y], (dy) =>
    graph.nodes('Split', [dy, lengths], 2, { axis: { int: axis } }),
  );
}

/**
 * Mean cross entropy over M rows, in nats.
 * @param logits [M, V]
 * @param labels [M], each a token
 */
export function crossEntropy(tape: Tape, logits: Tensor, labels: Value): Tensor {
  const { graph } = tape;
  const [loss, logProbabilities] = graph.nodes('SoftmaxCrossEntropyLoss', [logits, labels], 2, {
    reduction: 'mean',
  });
  return tape.record(loss!, [logits], (dy) => {
    const count = graph.node('Cast', [graph.node('Shape', [labels])], { to: { int: 1 } });
    const scale = graph.node('Div', [dy, count]);
    const probabilities = graph.node('Mul', [graph.node('Exp', [logProbabilities!]), scale]);
    const column = graph.node('Unsqueeze', [labels, graph.ints([1])]);
    const minus = graph.node('Expand', [graph.node('Neg', [scale]), graph.node('Shape', [column])]);
    return [
      graph.node('ScatterElements', [probabilities, column, minus], { axis: { int: 1 }, reduction: 'add' }),
    ];
  });
}

/**
 * LayerNorm over the last axis (Ba et al. 2016).
 * @param x [N, K]
 * @param weight [K]
 * @param bias [K]
 */
export function layerNorm(tape: Tape, x: Tensor, weight: Tensor, bias: Tensor, epsilon: number): Tensor {
  const { graph } = tape;
  const [y, mean, inverse] = graph.nodes('LayerNormalization', [x, weight, bias], 3, {
    axis: { int: -1 },
    epsilon,
  });
  return tape.record(y!, [x, weight, bias], (dy) => {
    const normal = graph.node('Mul', [graph.node('Sub', [x, mean!]), inverse!]);
    const along = (value: Value) => graph.node('ReduceMean', [value, graph.ints([-1])]);
    const over = (value: Value) =>
      graph.node('ReduceSum', [value, graph.ints([0])], { keepdims: { int: 0 } });
    const g = graph.node('Mul', [dy, weight]);
    const centred = graph.node('Sub', [g, along(g)]);
    const turned = graph.node('Mul', [normal, along(graph.node('Mul', [g, normal]))]);
    return [
      x.needsGrad ? graph.node('Mul', [graph.node('Sub', [centred, turned]), inverse!]) : undefined,
      weight.needsGrad ? over(graph.node('Mul', [dy, normal])) : undefined,
      bias.needsGrad ? over(dy) : undefined,
    ];
  });
}

/** x sigmoid(1.702 x), CLIP's approximation of GELU. */
export function quickGelu(tape: Tape, x: Tensor): Tensor {
  const { graph } = tape;
  const sigmoid = graph.node('Sigmoid', [graph.node('Mul', [x, graph.float(1.702)])]);
  return tape.record(graph.node('Mul', [x, sigmoid]), [x], (dy) => {
    const bend = graph.node('Mul', [sigmoid, graph.node('Sub', [graph.float(1), sigmoid])]);
    const part = graph.node('Mul', [graph.node('Mul', [x, graph.float(1.702)]), bend]);
    return [graph.node('Mul', [dy, graph.node('Add', [sigmoid, part])])];
  });
}

/** GELU with the error function (Hendrycks and Gimpel 2016). */
export function gelu(tape: Tape, x: Tensor): Tensor {
  const { graph } = tape;
  return tape.record(graph.node('Gelu', [x]), [x], (dy) => {
    const erf = graph.node('Erf', [graph.node('Mul', [x, graph.float(Math.SQRT1_2)])]);
    const below = graph.node('Mul', [graph.node('Add', [erf, graph.float(1)]), graph.float(0.5)]);
    const square = graph.node('Mul', [graph.node('Mul', [x, x]), graph.float(-0.5)]);
    const density = graph.node('Mul', [graph.node('Exp', [square]), graph.float(1 / Math.sqrt(2 * Math.PI))]);
    return [graph.node('Mul', [dy, graph.node('Add', [below, graph.node('Mul', [x, density])])])];
  });
}

/** Each row of x [N, K] divided by its length. */
export function unit(tape: Tape, x: Tensor): Tensor {
  const { graph } = tape;
  const length = graph.node('ReduceL2', [x, graph.ints([-1])]);
  const y = graph.node('Div', [x, length]);
  return tape.record(y, [x], (dy) => {
    const along = graph.node('ReduceSum', [graph.node('Mul', [dy, y]), graph.ints([-1])]);
    return [graph.node('Div', [graph.node('Sub', [dy, graph.node('Mul', [y, along])]), length])];
  });
}

/** tanh(x). */
export function tanh(tape: Tape, x: Tensor): Tensor {
  const { graph } = tape;
  const y = graph.node('Tanh', [x]);
  return tape.record(y, [x], (dy) => [
    graph.node('Mul', [dy, graph.node('Sub', [graph.float(1), graph.node('Mul', [y, y])])]),
  ]);
}

/** x from `begin` up to `end`, both int64 [1], along an axis; zeros beside it in the gradient. */
export function slice(tape: Tape, x: Tensor, begin: Value, end: Value, axis: number): Tensor {
  const { graph } = tape;
  const axes = graph.ints([axis]);
  return tape.record(graph.node('Slice', [x, begin, end, axes]), [x], (dy) => {
    const length = graph.node('Shape', [x], { start: { int: axis }, end: { int: axis + 1 } });
    const pads = graph.node('Concat', [begin, graph.node('Sub', [length, end])], { axis: { int: 0 } });
    return [graph.node('Pad', [dy, pads, undefined, axes])];
  });
}

/** The slice x[index] along axis 0 of x [count, ...], that axis kept with size 1. */
export function sliceOne(tape: Tape, x: Tensor, index: number, count: number): Tensor {
  const { graph } = tape;
  const y = graph.node('Slice', [x, graph.ints([index]), graph.ints([index + 1]), graph.ints([0])]);
  return tape.record(y, [x], (dy) => [
    graph.node('Pad', [dy, graph.ints([index, count - 1 - index]), undefined, graph.ints([0])]),
  ]);
}

/** x with axis 0, of size 1, repeated; `shape` is the whole shape of the result. */
export function expandFirst(tape: Tape, x: Tensor, shape: Value): Tensor {
  const { graph } = tape;
  return tape.record(graph.node('Expand', [x, shape]), [x], (dy) => [
    graph.node('ReduceSum', [dy, graph.ints([0])]),
  ]);
}
