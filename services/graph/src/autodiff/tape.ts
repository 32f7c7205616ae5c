import { type Attribute, OnnxGraph, type Value } from '../onnx/graph.ts';

/** A value on the tape. Only those that lead to a parameter carry gradients. */
export interface Tensor extends Value {
  readonly needsGrad: boolean;
}

/** A gradient, or what adds it to the sum of those that are there already: cheaper where it is mostly zeros. */
export type GradientPart = Value | ((before: Value | undefined) => Value);

/** Gradients of an operation's inputs from that of its output; undefined where an input needs none. */
export type GradientRule = (dy: Value) => (GradientPart | undefined)[];

interface Entry {
  inputs: readonly Tensor[];
  output: Tensor;
  rule: GradientRule;
}

/**
 * How matrix products are computed. With float16 (mixed precision; Micikevicius et al. 2018) sums, norms, probabilities
 * and the loss stay float32, and so does everything that a graph takes and gives; `emulated` is for a processor without
 * such products: computed in float32, from rounded values to rounded values.
 */
export type Products = 'float32' | 'float16' | 'emulated float16';

/**
 * Records operations as they are built, and writes the backward pass as ordinary nodes of the same graph: one walk
 * over the records in reverse, each with its rule (reverse mode; Griewank and Walther, Evaluating Derivatives, 3.2).
 */
export class Tape {
  readonly graph: OnnxGraph;
  readonly #products: Products;
  /** The float16 form of a value, by its name. */
  readonly #halves = new Map<string, Value>();
  #entries: Entry[] = [];

  constructor(graph = new OnnxGraph(), products: Products = 'float32') {
    this.graph = graph;
    this.#products = products;
  }

  /** A value that does not train. */
  constant(value: Value): Tensor {
    return { name: value.name, needsGrad: false };
  }

  /** A value whose gradient is wanted. */
  parameter(value: Value): Tensor {
    return { name: value.name, needsGrad: true };
  }

  /** A float16 value as float32; where a float16 one is asked for, it is taken as it is. */
  fromHalf(half: Value): Value {
    const value = this.graph.cast(half, 'float32');
    this.#halves.set(value.name, half);
    return value;
  }

  /** One node with one output that multiplies matrices of float32, in the precision of this tape's products. */
  product(
    opType: 'Gemm' | 'MatMul' | 'ms.FusedMatMul',
    inputs: readonly (Value | undefined)[],
    attributes: Record<string, Attribute> = {},
  ): Value {
    if (this.#products === 'float32') return this.graph.node(opType, inputs, attributes);
    const halves = inputs.map((input) => input && this.#half(input));
    return this.fromHalf(this.#rounded(this.graph.node(opType, halves, attributes)));
  }

  /** Rows of a table [V, K] by index [N]: of its float16 form where it has one, so that the table is not converted. */
  rows(table: Value, indices: Value): Value {
    const half = this.#halves.get(table.name);
    const rows = this.graph.node('Gather', [half ?? table, indices], { axis: { int: 0 } });
    return half ? this.fromHalf(rows) : rows;
  }

  /** The CPU's runtime takes casts to float16 and back for nothing, but not past an operation that it has in float16. */
  #rounded(half: Value): Value {
    if (this.#products === 'float16') return half;
    return this.graph.node('Concat', [half], { axis: { int: 0 } });
  }

  #half(value: Value): Value {
    let half = this.#halves.get(value.name);
    if (!half) {
      half = this.#rounded(this.graph.cast(value, 'float16'));
      this.#halves.set(value.name, half);
    }
    return half;
  }

  /** Records an operation; its rule is kept only where a gradient can pass. */
  record(output: Value, inputs: readonly Tensor[], rule: GradientRule): Tensor {
    const needsGrad = inputs.some((input) => input.needsGrad);
    const tensor = { name: output.name, needsGrad };
    if (needsGrad) this.#entries.push({ inputs, output: tensor, rule });
    return tensor;
  }

  /**
   * Computes a part of the graph again in the backward pass instead of keeping what it computed (Chen et al. 2016).
   * The second time it begins from x plus nothing times the gradient: so it can't begin before the gradient is there,
   * and the runtime does not take it for the first.
   * @param part from x to a result of the same shape
   */
  checkpoint(x: Tensor, part: (x: Tensor) => Tensor): Tensor {
    const { graph } = this;
    const first = this.#apart(() => part(x));
    const made = new Set(first.entries.map(({ output }) => output.name));
    const leaves = new Map<string, Tensor>();
    for (const { inputs } of first.entries) {
      for (const input of inputs) {
        if (input.needsGrad && !made.has(input.name) && input.name !== x.name) leaves.set(input.name, input);
      }
    }
    return this.record(first.output, [x, ...leaves.values()], (dy) => {
      const nothing = graph.node('Mul', [dy, graph.float(0)]);
      const late = { name: graph.node('Add', [x, nothing]).name, needsGrad: x.needsGrad };
      const again = this.#apart(() => part(late));
      return this.#walk(again.entries, again.output, dy, [late, ...leaves.values()]);
    });
  }

  /**
   * Writes the backward pass from a scalar loss; the gradient of each parameter, in order.
   * @param scale factor on all of them, a scalar
   */
  gradients(loss: Tensor, parameters: readonly Tensor[], scale = this.graph.float(1)): Value[] {
    const found = this.#walk(this.#entries, loss, scale, parameters);
    return parameters.map((parameter, i) => {
      const gradient = found[i];
      if (!gradient) throw new Error(`the loss does not depend on ${parameter.name}`);
      return gradient;
    });
  }

  /** Records what `build` records by itself. */
  #apart(build: () => Tensor): { output: Tensor; entries: Entry[] } {
    const outer = this.#entries;
    this.#entries = [];
    try {
      return { output: build(), entries: this.#entries };
    } finally {
      this.#entries = outer;
    }
  }

  #walk(
    entries: readonly Entry[],
    from: Tensor,
    gradient: Value,
    wanted: readonly Tensor[],
  ): (Value | undefined)[] {
    const sums = new Map<string, Value>([[from.name, gradient]]);
    for (const { inputs, output, rule } of entries.toReversed()) {
      const dy = sums.get(output.name);
      // Nothing that is asked for comes of this output.
      if (!dy) continue;
      sums.delete(output.name);
      const gradients = rule(dy);
      for (const [i, input] of inputs.entries()) {
        const part = gradients[i];
        if (!input.needsGrad || !part) continue;
        const before = sums.get(input.name);
        if (typeof part === 'function') sums.set(input.name, part(before));
        else sums.set(input.name, before ? this.graph.node('Add', [before, part]) : part);
      }
    }
    return wanted.map(({ name }) => sums.get(name));
  }
}
