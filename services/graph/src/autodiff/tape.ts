import { OnnxGraph, type Value } from '../onnx/graph.ts';

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
 * Records operations as they are built, and writes the backward pass as ordinary nodes of the same graph: one walk
 * over the records in reverse, each with its rule (reverse mode; Griewank and Walther, Evaluating Derivatives, 3.2).
 */
export class Tape {
  readonly graph: OnnxGraph;
  #entries: Entry[] = [];

  constructor(graph = new OnnxGraph()) {
    this.graph = graph;
  }

  /** A value that does not train. */
  constant(value: Value): Tensor {
    return { name: value.name, needsGrad: false };
  }

  /** A value whose gradient is wanted. */
  parameter(value: Value): Tensor {
    return { name: value.name, needsGrad: true };
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

  /** Writes the backward pass from a scalar loss; the gradient of each parameter, in order. */
  gradients(loss: Tensor, parameters: readonly Tensor[]): Value[] {
    const found = this.#walk(this.#entries, loss, this.graph.float(1), parameters);
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
